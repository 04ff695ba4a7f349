"""Write frames to an MP4 in which each is shown at exactly its own time, with a sound beside them.

The frames go to ffmpeg as a stream of raw video in Matroska, the simplest container that carries a
time stamp for each frame.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import ffmpeg
import numpy as np

from lipsync_core.media import raw_matroska
from lipsync_core.media.color import ColorTags
from lipsync_core.media.encoding import (
    CRF,
    EncoderProcess,
    aac_options,
    encoder_options,
    pcm_input,
)
from lipsync_core.media.native_frames import SourceFormat
from lipsync_core.media.sound_copy import copied_sound
from lipsync_core.media.soundtrack import soundtrack
from lipsync_core.runtime.files import PathLike

NANOSECONDS = 1_000_000_000  # a second; the time stamps of the Matroska stream are in these
MIN_TIMESCALE = 10_000  # ticks a second of a track: ends of sounds are rounded to them
MAX_TIMESCALE = (1 << 31) - 1
FALLBACK_TIMESCALE = 90_000  # of a source whose own does not fit
COPIED, ENCODED = "copied", "encoded"


class StampedWriter(EncoderProcess):
    """Write I420 frames with time stamps to a widely playable MP4.

    Parameters
    ----------
    path: the file to write; it appears, whole, when the writer is closed without an error.
    source: size, tick, pixel aspect and color tags of the frames, which the file keeps.
    sound: any file with audio, or None. Its first audio track is copied packet by packet where an
        MP4 takes it as it is (see `sound_copy`), else decoded and encoded as AAC at its own rate
        and with its channels.
    seconds: the end of a sound that is longer: within half a frame where it is copied. None: the
        sound's own. The last frame has the usual duration (with ffmpeg 5 the average one).
    metadata: container tags such as {"comment": "..."}.
    crf: constant rate factor, 0 to 51.
    threads: encoder threads; 1 makes the bytes independent of the machine's core count.

    `sound_mode` is "copied", "encoded", or None without a sound. Use as a context manager. Raises
    LipsyncError when ffmpeg fails, and for the sound as `soundtrack.soundtrack` does.
    """

    def __init__(
        self,
        path: PathLike,
        source: SourceFormat,
        sound: PathLike | None = None,
        seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
        crf: int = CRF,
        threads: int | None = None,
    ) -> None:
        self.source = source
        self.sound_mode: str | None = None
        self._last: int | None = None
        self._usual = _nanoseconds(source.duration, source.tick)
        timescale = track_timescale(source.tick)
        options = encoder_options(crf, metadata, threads) | _color_options(source.color)
        options |= {
            "fps_mode": "passthrough",
            "enc_time_base": f"1:{timescale}",
            "video_track_timescale": timescale,
            # Delays and lengths of tracks are in this unit.
            "movie_timescale": timescale,
        }
        if options["vcodec"] != "mpeg4":
            # The encoder notes its time base as the frame rate, by which ffmpeg 5 takes the last
            # frame for one tick long, and resampling drops it.
            rate = 2 / (source.duration * source.tick)
            options["bsf:v"] = f"h264_metadata=tick_rate={rate.numerator}/{rate.denominator}"
        with contextlib.ExitStack() as stack:
            streams, descriptors = [_frames_input(source)], []
            if sound is not None:
                stream, descriptor = self._sound(stack, sound, seconds, options)
                streams.append(stream)
                descriptors.append(descriptor)
            super().__init__(path, streams, options, descriptors)
            self.hold(stack.pop_all())
        self.send(raw_matroska.header(source.width, source.height, _mean_duration(source)))

    def write(self, stamp: int, frame: np.ndarray) -> None:
        """Append one frame.

        stamp: when it is shown, in `source.tick`s, above that of the frame before, at least 0.
        frame: uint8 (H * 3 // 2, W) I420 of the source's even size.
        """
        shape = self.source.height * 3 // 2, self.source.width
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.dtype} {frame.shape}, wanted uint8 {shape}")
        if stamp <= (-1 if self._last is None else self._last):
            raise ValueError(f"time stamp {stamp} after {self._last}: wanted increasing ones")
        self._last = stamp
        begin = _nanoseconds(stamp, self.source.tick)
        # The usual duration, not one that reaches the sound's end: with B-frames, the packet that
        # ffmpeg prolongs is not the one that is shown last.
        self.send(raw_matroska.frame_head(begin, self._usual, frame.nbytes))
        self.send(np.ascontiguousarray(frame).reshape(-1).data)

    def _sound(
        self,
        stack: contextlib.ExitStack,
        sound: PathLike,
        seconds: float | None,
        options: dict[str, Any],
    ) -> tuple[ffmpeg.nodes.FilterableStream, int]:
        """The input of the sound and its descriptor; its options are added to `options`."""
        half_a_frame = float(self.source.duration * self.source.tick) / 2
        copied = stack.enter_context(copied_sound(sound, seconds, half_a_frame))
        if copied is not None:
            self.sound_mode = COPIED
            options["acodec"] = "copy"
            return ffmpeg.input(copied.name, format="mp4").audio, copied.descriptor
        self.sound_mode = ENCODED
        # Decoded first, with limits: the encoder gets samples, not the user's file.
        track = stack.enter_context(soundtrack(sound))
        options |= aac_options(track)
        if seconds is not None:
            track.cut(seconds)
        return pcm_input(track), track.pcm.fileno()


def track_timescale(tick: Fraction) -> int:
    """Ticks a second of a track in which multiples of `tick` seconds are whole numbers.

    At least `MIN_TIMESCALE`. 90,000 when there is none of 31 bits; time stamps are rounded then.
    """
    timescale = tick.denominator * math.ceil(MIN_TIMESCALE / tick.denominator)
    return timescale if timescale <= MAX_TIMESCALE else FALLBACK_TIMESCALE


def _frames_input(source: SourceFormat) -> ffmpeg.nodes.FilterableStream:
    """Input of the Matroska stream from the standard input, with the source's tags."""
    # copyts (an option of all inputs): a first frame after time zero is not moved to it.
    probing = {"probesize": 32, "analyzeduration": 0, "copyts": None}
    frames = ffmpeg.input("pipe:", format="matroska", **probing).video
    color = source.color
    tagged = frames.filter(
        "setparams",
        range=color.range,
        color_primaries=color.primaries,
        color_trc=color.transfer,
        colorspace=color.matrix,
    )
    aspect = source.pixel_aspect
    return tagged.filter("setsar", f"{aspect.numerator}/{aspect.denominator}", max=1 << 30)


def _color_options(color: ColorTags) -> dict[str, str]:
    """Tags of the encoder, of which those that are unknown are left out."""
    options = {
        "colorspace": color.matrix,
        "color_primaries": color.primaries,
        "color_trc": color.transfer,
        "color_range": color.range,
    }
    return {name: value for name, value in options.items() if value != "unknown"}


def _nanoseconds(stamp: int, tick: Fraction) -> int:
    return round(stamp * tick * NANOSECONDS)


def _mean_duration(source: SourceFormat) -> int:
    """Mean time between two frames in ns."""
    gaps = max(1, len(source.stamps) - 1)
    span = int(source.stamps[-1] - source.stamps[0]) or source.duration
    return max(1, _nanoseconds(span, source.tick) // gaps)
