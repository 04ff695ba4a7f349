"""The face file of a dubbing, a picture or a video, as a stream of frames with their own times."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.dubbing.timeline import SourceFrame, usual_gap
from lipsync_core.errors import LipsyncError
from lipsync_core.media.color import ColorTags, to_planes
from lipsync_core.media.native_frames import SourceFormat, read_format, read_native_frames
from lipsync_core.media.timestamps import FPS
from lipsync_core.media.video import is_image, read_image

MAX_CHUNK_BYTES = 256 << 20  # of frames that are held to be shown backwards
MAX_CHUNK_FRAMES = 250  # as many as usually lie between two key frames
PICTURE_COLOR = ColorTags("smpte170m", "bt709", "bt709", "tv")


@dataclass(frozen=True)
class FaceSource:
    """The frames of a face file between `start` and `end` (seconds; None: its end).

    geometry: changes of the frames; static: the first frame only.
    """

    path: Path
    geometry: Geometry
    static: bool = False
    start: float = 0.0
    end: float | None = None

    @cached_property
    def still(self) -> bool:
        """True when the file is a still picture, whatever its name."""
        return is_image(self.path)

    @cached_property
    def _format(self) -> SourceFormat:
        return read_format(self.path)

    @cached_property
    def tick(self) -> Fraction:
        """Seconds of one unit of the time stamps."""
        return Fraction(1, FPS) if self.still else self._format.tick

    @cached_property
    def color(self) -> ColorTags:
        """Color tags of the frames."""
        return PICTURE_COLOR if self.still else self._format.color

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel by its height, after the rotation."""
        aspect = Fraction(1) if self.still else self._format.pixel_aspect
        return 1 / aspect if self.geometry.rotate else aspect

    @property
    def bits(self) -> int:
        """Bits of a sample in the file; the frames have 8."""
        return 8 if self.still else self._format.bits

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames that `play` yields."""
        if self.still:
            height, width = self._picture.shape[0] * 2 // 3, self._picture.shape[1]
            return width, height
        found = self._format
        side = self.geometry.long_side(found.width, found.height)
        return self.geometry.size(*found.scaled(side))

    @cached_property
    def gap(self) -> int:
        """Ticks from one frame to the next: the median."""
        return 1 if self.still else usual_gap(self._format.stamps, self.tick, FPS)

    @property
    def seconds(self) -> float:
        """Length of what `play` yields, by the file's packets; 0 for a single frame."""
        if self.still or self.static:
            return 0.0
        end = self._format.seconds if self.end is None else min(self.end, self._format.seconds)
        return max(0.0, end - max(self.start, float(int(self._format.stamps[0]) * self.tick)))

    @property
    def frames_a_second(self) -> float:
        """The usual rate of the frames."""
        return float(1 / (self.gap * self.tick))

    def play(self) -> Iterator[SourceFrame]:
        """The frames, in order, uint8 (H * 3 / 2, W) I420; each may be drawn upon.

        Raises ClipError, and LipsyncError when there is no frame between `start` and `end`.
        """
        if self.still:
            yield SourceFrame(0, self._picture.copy())
            return
        length = self._format.seconds
        if self.start >= length or (self.end is not None and self.end <= self.start):
            end = "its end" if self.end is None else f"{self.end:g} s"
            raise LipsyncError(
                f"{self.path}: no frame between {self.start:g} s and {end}; it has {length:.2f} s"
            )
        yield from itertools.islice(self._decoded(self.start, self.end), 1 if self.static else None)

    def backwards(self, stamps: Sequence[int]) -> Iterator[SourceFrame]:
        """The frames of these time stamps (rising), from the last to the first.

        Decodes parts of the file, of at most `MAX_CHUNK_BYTES`, from the end to the beginning.
        """
        width, height = self.size
        most = max(2, min(MAX_CHUNK_FRAMES, MAX_CHUNK_BYTES // (width * height * 3 // 2)))
        for last in range(len(stamps), 0, -most):
            part = array("q", stamps[max(0, last - most) : last])
            wanted = set(part)
            start, end = float(part[0] * self.tick), float((part[-1] + 1) * self.tick)
            # A tick earlier: the time stamps are exact, the seconds are not.
            chunk = list(self._decoded(max(0.0, start - float(self.tick)), end))
            yield from (frame for frame in reversed(chunk) if frame.time in wanted)

    def _decoded(self, start: float, end: float | None) -> Iterator[SourceFrame]:
        found = self._format
        side = self.geometry.long_side(found.width, found.height)
        for stamp, frame in read_native_frames(self.path, found, start, end, side):
            yield SourceFrame(stamp, self.geometry.apply(frame))

    @cached_property
    def _picture(self) -> np.ndarray:
        picture = read_image(self.path)
        if picture is None:
            raise LipsyncError(f"{self.path}: this picture cannot be decoded; is it damaged?")
        height, width = (max(2, side // self.geometry.resize_factor) for side in picture.shape[:2])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        edges = 0, height % 2, 0, width % 2  # even sides
        picture = cv2.copyMakeBorder(picture, *edges, cv2.BORDER_REPLICATE)
        parts = to_planes(picture, PICTURE_COLOR)
        frame = np.concatenate([part.ravel() for part in parts]).reshape(-1, picture.shape[1])
        return self.geometry.apply(frame)
