"""Which frames a dubbing has, in which format, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from lipsync_core.config import DubOptions
from lipsync_core.dubbing.inputs import rate_of
from lipsync_core.dubbing.source import FaceSource
from lipsync_core.dubbing.timeline import TimedFrame, at_rate, filled, timed_frames
from lipsync_core.media.native_frames import SourceFormat
from lipsync_core.media.timestamps import FPS, MIN_RATE


@dataclass(frozen=True)
class Schedule:
    """The frames of a result: those of `source` at their own times, or at a constant rate.

    sound: the file that is heard; sound_seconds: its length.
    """

    source: FaceSource
    options: DubOptions
    sound: Path
    sound_seconds: float

    @property
    def seconds(self) -> float:
        """Length of the result: that of the sound, or of the video where it ends before (trim)."""
        own = self.source.seconds
        trimmed = self.options.length == "trim" and own
        return min(self.sound_seconds, own) if trimmed else self.sound_seconds

    @cached_property
    def rate(self) -> Fraction | None:
        """The constant rate of the result, None for the source's own times.

        A source with too few frames for a mouth to move smoothly (a slide show) gets 25 a second.
        """
        slow = self.source.frames_a_second < MIN_RATE
        return rate_of(self.options) or (Fraction(FPS) if slow else None)

    @cached_property
    def shown(self) -> SourceFormat:
        """The format of the result's frames."""
        rate, source = self.rate, self.source
        width, height = source.size
        return SourceFormat(
            width=width,
            height=height,
            shown_width=width,
            shown_height=height,
            pixel_aspect=source.pixel_aspect,
            tick=source.tick if rate is None else 1 / rate,
            stamps=np.arange(2) * (source.gap if rate is None else 1),
            duration=source.gap if rate is None else 1,
            color=source.color,
            bits=8,
            pixel_format="yuv420p",
        )

    @property
    def frame_seconds(self) -> float:
        """The usual time for which a frame is shown."""
        return float(self.shown.duration * self.shown.tick)

    @property
    def total(self) -> int:
        """About the number of frames."""
        return max(1, round(self.seconds / self.frame_seconds))

    def frames(self) -> Iterator[TimedFrame]:
        """The frames, at their times in ticks of `shown`."""
        source, seconds = self.source, self.seconds
        # A frame is shown when more than half of it is before the end.
        until = max(1, math.ceil(seconds / float(source.tick) - source.gap / 2))
        keeps_clock = source.start == 0 and source.path.samefile(self.sound)
        frames = timed_frames(
            source.play, source.backwards, self.options.length, source.gap, until, keeps_clock
        )
        if self.rate is None:
            yield from filled(frames, source.gap, until)
        else:
            count = max(1, round(seconds * self.rate))
            yield from at_rate(frames, source.tick, self.rate, count)
