"""Audio and measures of one video from a single run of ffmpeg.

Starting ffmpeg takes longer than reading a clip of a few seconds. Where the single run fails in
anything, the video is read step by step to find the cause.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lipsync_core.errors import ClipError, Reason, add_measures
from lipsync_core.media import audio, pcm
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.timestamps import PACKET_OUTPUT, Timeline, parse_timeline, read_timeline
from lipsync_core.media.video import FIRST_FRAME_OUTPUT, parse_first_frame, probe
from lipsync_core.preparation.stages import Measures


def extract(source: Path, audio_source: Path, wav_path: Path) -> Measures:
    """Write the audio as `audio.extract_audio` does; return the measures of the video.

    source: the video. audio_source: the file that holds the audio, mostly the video itself.

    Measures: width, height (pixels, as displayed), fps_in, seconds (of the video), frames_dropped,
    frames_duplicated (by the constant rate), audio_seconds.
    Raises ClipError (unreadable, no_video, no_audio, timed_out, too_long) with the measures that
    were found.
    """
    measures = _in_one_run(source, wav_path if audio_source == source else None)
    if measures is None:
        measures = _step_by_step(source, needs_audio=audio_source == source)
    if "audio_seconds" in measures:
        return measures
    with add_measures(measures):
        seconds = audio.extract_audio(audio_source, wav_path)
    return measures | {"audio_seconds": round(seconds, 3)}


def _in_one_run(source: Path, wav_path: Path | None) -> Measures | None:
    """The measures and, where a path is given, the audio; None when anything failed."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        first_frame, stamps, samples = files
        outputs = [*FIRST_FRAME_OUTPUT, f"pipe:{first_frame.fileno()}", *PACKET_OUTPUT]
        if wav_path is not None:
            outputs += pcm.pcm_output(f"pipe:{stamps.fileno()}", samples)
        descriptors = [file.fileno() for file in files]
        # One thread: a single frame is decoded.
        decoder = stack.enter_context(Decoder(source, outputs, pass_fds=descriptors, threads=1))
        try:
            timeline = parse_timeline(decoder)
            status = decoder.finish()
        except ClipError as error:
            if error.reason == Reason.TIMED_OUT:
                raise
            return None
        (width, height), _, decoded = parse_first_frame(_lines(first_frame))
        packets = pcm.parse_packets(_lines(stamps))
        if status or not decoded or (wav_path is not None and not len(packets.stamps)):
            return None
        measures: Measures = {"width": width, "height": height} | _timing(timeline)
        if wav_path is not None:
            with add_measures(measures):
                seconds = audio.write_aligned_wav(wav_path, source, samples, packets)
            measures["audio_seconds"] = round(seconds, 3)
        return measures


def _step_by_step(source: Path, needs_audio: bool) -> Measures:
    """The measures of the video from two runs of ffmpeg; raises ClipError without audio."""
    video = probe(source)
    measures: Measures = {"width": video.width, "height": video.height}
    with add_measures(measures):
        measures |= _timing(read_timeline(source))
    if needs_audio and not video.has_audio:
        raise ClipError(Reason.NO_AUDIO, f"{source}: it has no audio track", measures)
    return measures


def _timing(timeline: Timeline) -> Measures:
    return {
        "fps_in": round(float(timeline.fps), 3),
        "seconds": round(timeline.seconds, 3),
        "frames_dropped": timeline.dropped,
        "frames_duplicated": timeline.duplicated,
    }


def _lines(file: IO[bytes]) -> Iterator[str]:
    file.seek(0)
    return (line.decode(errors="replace").rstrip("\n") for line in file)
