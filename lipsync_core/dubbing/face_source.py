"""The face file of a dubbing (a still picture or a video) as a stream of frames with tracked faces.

Applies the options that change the frames (resize, rotate, crop) before detection. `dub` renders
the faces.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detection
from lipsync_core.faces.boxes import area
from lipsync_core.faces.decoding import FrameStream, downscale
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, tracks
from lipsync_core.faces.tracking.shots import ShotDetector
from lipsync_core.media.video import FPS, is_image, probe, read_frames, read_image
from lipsync_core.runtime.progress import Progress

CropSides = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class FaceSource:
    """The frames of the face file, resized, rotated and cropped, in this order.

    `resize_factor` divides both sides; `rotate` turns by 90 degrees clockwise; `crop` is (top,
    bottom, left, right) in pixels, -1 for the frame's own edge; `static` keeps the first
    frame only; `fps` is the constant rate at which a video is read.
    """

    path: Path
    resize_factor: int = 1
    rotate: bool = False
    crop: CropSides | None = None
    static: bool = False
    fps: Fraction = Fraction(FPS)

    @property
    def still(self) -> bool:
        """True when the file is a still picture, whatever its name."""
        return is_image(self.path)

    @property
    def length(self) -> int:
        """Number of frames by the file's header: an estimate for a progress bar."""
        if self.static or self.still:
            return 1
        return max(1, round(probe(self.path).seconds * self.fps))

    def frames(self) -> Iterator[np.ndarray]:
        """Yield every frame once at `fps`: uint8 (H, W, 3) BGR."""
        decoded = self._decoded()
        with contextlib.closing(decoded):
            for frame in itertools.islice(decoded, 1 if self.static else None):
                if self.rotate:
                    frame = cv2.rotate(frame, cv2.ROTATE_90_CLOCKWISE)
                yield self._cropped(frame)

    def loop(self, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield `count` pairs (index in the file, frame); starts again after the end."""
        left = count
        while left > 0:
            shown = 0
            with contextlib.closing(self.frames()) as frames:
                for shown, frame in enumerate(itertools.islice(frames, left), start=1):
                    yield shown - 1, frame
            if shown == 1:  # a still: no need to decode it again
                for _ in range(left - 1):
                    yield 0, frame.copy()
                return
            left -= shown

    def _decoded(self) -> Iterator[np.ndarray]:
        if self.still:
            picture = read_image(self.path)
            if picture is None:
                raise LipsyncError(f"{self.path}: this picture cannot be decoded; is it damaged?")
            height, width = (max(2, side // self.resize_factor) for side in picture.shape[:2])
            yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            return
        long_side = None
        if self.resize_factor > 1:
            shape = probe(self.path)
            long_side = max(2, max(shape.width, shape.height) // self.resize_factor)
        yield from read_frames(self.path, self.fps, long_side, exact_color=True)

    def _cropped(self, frame: np.ndarray) -> np.ndarray:
        if self.crop is None:
            return frame
        top, bottom, left, right = self.crop
        height, width = frame.shape[:2]
        bottom, right = (height if bottom == -1 else bottom), (width if right == -1 else right)
        region = frame[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if min(region.shape[:2]) < 2:
            raise LipsyncError(
                f"{self.path}: crop {list(self.crop)} (top bottom left right) leaves nothing of "
                f"its {width}x{height} frame"
            )
        return np.ascontiguousarray(region)


def track_face(
    source: FaceSource,
    count: int,
    detector: Detector,
    long_side: int = detection.LONG_SIDE,
    batch_size: int = detection.BATCH_SIZE,
    max_gap: int = tracks.MAX_GAP_FRAMES,
    smooth: int = tracks.SMOOTHING_WINDOW,
) -> np.ndarray:
    """Boxes of the speaker's face: float32 (n, 4) x1, y1, x2, y2, NaN in frames without one.

    n is the number of frames of the source, at most `count`. No face is followed across a cut
    from one shot to the next. `long_side` and `batch_size` as for `detection.detect_videos`,
    `max_gap` and `smooth` as for `tracks.fill_and_smooth`, in frames of 1/25 s; at any rate they
    last as long. Keeps boxes only. Raises LipsyncError when no frame has a face.
    """
    max_gap, smooth = (round(frames * source.fps / FPS) for frames in (max_gap, smooth))
    stream, shots = FrameStream(source.path), ShotDetector()
    with (
        contextlib.closing(source.frames()) as frames,
        Progress(min(count, source.length), f"find the face in {source.path.name}", "frame") as bar,
    ):

        def scaled_down() -> Iterator[np.ndarray]:
            for frame in itertools.islice(frames, count):
                stream.height, stream.width = frame.shape[:2]
                yield downscale(frame, long_side)
                bar.advance()

        [(_, found)] = detection.detect_streams(
            [(stream, scaled_down())],
            detector,
            batch_size,
            on_frame=lambda _, frame: shots.add(frame),
        )
    if not len(found.faces):
        raise LipsyncError(
            f"{source.path}: no face in any of its {found.frames} frames; turn it with --rotate, "
            "search larger frames with --long_side, or give its place with --box TOP BOTTOM LEFT "
            "RIGHT"
        )
    linked = association.link(replace(found, cuts=shots.cuts(found)))
    result = np.full((found.frames, 4), np.nan, np.float32)
    for track in reversed(_speaker_tracks(linked)):
        track = tracks.fill_and_smooth(track, max_gap, smooth)
        result[track.frames] = track.boxes
    return result


def _speaker_tracks(linked: Sequence[Track]) -> list[Track]:
    """The tracks to dub, largest first: the main one, and those never seen together with another.

    A cut or a jump ends a track, so that one track alone would leave the other shots undubbed; a
    second person beside the speaker shares frames with the speaker and is left out.
    """
    chosen: list[Track] = []
    taken: set[int] = set()
    for track in sorted(linked, key=lambda track: -float(area(track.boxes).sum())):
        frames = set(track.frames.tolist())
        if not frames & taken:
            chosen.append(track)
            taken |= frames
    return chosen
