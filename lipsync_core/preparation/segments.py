"""Segments of longer videos (AVSpeech), extracted to files of their own in `results/cuts`.

They are re-encoded, not stream-copied: a copy could start at key frames only, with audio and video
out of sync. The video keeps its frame rate; the audio is stored as PCM.
"""

from __future__ import annotations

from pathlib import Path

from lipsync_core.corpus.clips import Clip
from lipsync_core.media.encoding import h264_encoder
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.runtime.files import atomic_path

CRF = "12"  # visually lossless


def ensure_segment(clip: Clip, data_root: Path) -> None:
    """Extract the clip's file unless it exists; its name contains the source's signature.

    Raises ClipError: unreadable, timed_out (see `ffmpeg.Decoder`).
    """
    target = clip.source(data_root)
    if clip.interval is None or target.is_file():
        return
    start, end = clip.interval
    encoder = h264_encoder()
    quality = ["-crf", CRF, "-preset", "veryfast"] if encoder == "libx264" else ["-q:v", "2"]
    # Before the input: ffmpeg seeks to the previous key frame, decodes, and drops up to the start.
    # In microseconds: a start rounded up to a millisecond would lose the frame it names.
    seek = ["-ss", f"{start:.6f}", "-t", f"{end - start:.6f}"]
    with atomic_path(target) as temporary:
        outputs = [
            *("-map", "0:V:0", "-map", "0:a:0?", "-fps_mode", "passthrough", "-threads", "1"),
            *("-c:v", encoder, *quality, "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"),
            *("-fflags", "+bitexact", "-map_metadata", "-1", "-y", str(temporary.absolute())),
            *("-progress", "pipe:1"),
        ]
        with Decoder(clip.origin_source(data_root), outputs, before=seek) as decoder:
            _follow_progress(decoder)
            status = decoder.finish()
            if status or not temporary.is_file() or not temporary.stat().st_size:
                raise decoder.failure(f"nothing between {clip.segment} s could be decoded")
    _remove_older(target)


def _follow_progress(decoder: Decoder) -> None:
    """Extend the deadline by what ffmpeg reports as written, until it ends."""
    done = 0.0
    for line in decoder.lines():
        key, _, value = line.partition("=")
        if key == "out_time_us" and value.isdecimal():
            seconds = int(value) / 1e6
            decoder.extend_deadline(max(0.0, seconds - done))
            done = max(done, seconds)


def _remove_older(target: Path) -> None:
    """Remove segments of earlier versions of the video, which differ in the signature."""
    for other in target.parent.iterdir():
        if other != target and other.suffix == target.suffix and _stem(other) == _stem(target):
            other.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    return path.name.rsplit(".", 2)[0]
