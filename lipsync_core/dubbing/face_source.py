"""The face file of a dubbing: a still or a video as a stream of pictures, and the face in them.

Knows the options that change the picture before anything looks for a face in it. What is done with
the face is left to others.
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
import pandas as pd

from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detection
from lipsync_core.faces.boxes import area
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.tracking import tracks
from lipsync_core.faces.tracking.shots import ShotDetector
from lipsync_core.media.video import FPS, is_image, probe, read_frames, read_image
from lipsync_core.runtime.progress import Progress

Sides = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class FaceSource:
    """The pictures of the face file, made smaller, turned and cut, in this order.

    `resize_factor` divides both sides; `rotate` turns by 90 degrees clockwise; `crop` is (top,
    bottom, left, right) in pixels, -1 for the picture's own edge; `static` keeps the first
    picture only; `fps` is the constant rate at which a video is read.
    """

    path: Path
    resize_factor: int = 1
    rotate: bool = False
    crop: Sides | None = None
    static: bool = False
    fps: Fraction = Fraction(FPS)

    @property
    def still(self) -> bool:
        """True when the file holds one picture, whatever its name."""
        return is_image(self.path)

    @property
    def length(self) -> int:
        """How many pictures there are, by what the file says: good for a progress bar."""
        if self.static or self.still:
            return 1
        return max(1, round(probe(self.path).seconds * self.fps))

    def frames(self) -> Iterator[np.ndarray]:
        """Yield uint8 (H, W, 3) BGR: every picture once, at `fps` a second."""
        pictures = self._decoded()
        with contextlib.closing(pictures):
            for picture in itertools.islice(pictures, 1 if self.static else None):
                if self.rotate:
                    picture = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
                yield self._cut(picture)

    def loop(self, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield `count` pairs (index in the file, frame), from the start again after the end."""
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

    def _cut(self, frame: np.ndarray) -> np.ndarray:
        if self.crop is None:
            return frame
        top, bottom, left, right = self.crop
        height, width = frame.shape[:2]
        bottom, right = (height if bottom == -1 else bottom), (width if right == -1 else right)
        cut = frame[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if min(cut.shape[:2]) < 2:
            raise LipsyncError(
                f"{self.path}: crop {list(self.crop)} (top bottom left right) leaves nothing of "
                f"its {width}x{height} picture"
            )
        return np.ascontiguousarray(cut)


def track_face(
    source: FaceSource,
    count: int,
    detector: Detector,
    long_side: int = detection.LONG_SIDE,
    batch_size: int = detection.BATCH_SIZE,
    max_gap: int = tracks.MAX_GAP_FRAMES,
    smooth: int = tracks.SMOOTHING_WINDOW,
) -> np.ndarray:
    """Where the speaker's face is: float32 (n, 4) x1, y1, x2, y2, NaN in frames without one.

    n is the number of pictures of the source, at most `count`. No face is followed across a cut
    from one shot to the next. `long_side` and `batch_size` as for
    `detection.detect_videos`, `max_gap` and `smooth` as for `tracks.main_track`, where they count
    frames of 1/25 s: at another rate they last as long. Keeps boxes only.
    Raises LipsyncError when no frame has a face.
    """
    max_gap, smooth = (round(frames * source.fps / FPS) for frames in (max_gap, smooth))
    rows: list[np.ndarray] = []
    done, finder, width = 0, ShotDetector(), 0
    with (
        contextlib.closing(source.frames()) as frames,
        Progress(min(count, source.length), f"find the face in {source.path.name}", "frame") as bar,
    ):
        pictures = itertools.islice(frames, count)
        while batch := [
            _shrunk(frame, long_side) for frame in itertools.islice(pictures, batch_size)
        ]:
            found = detector.detect(np.stack([small for small, _ in batch]))
            for number, (boxes, (_, scale)) in enumerate(
                zip(found, batch, strict=True), start=done
            ):
                rows.append(np.insert(boxes[:, :4] / scale, 0, number, axis=1))
            for small, scale in batch:
                finder.add(small)
                width = round(small.shape[1] / scale[0])
            done += len(batch)
            bar.advance(len(batch))
    table = np.concatenate(rows)
    if not len(table):
        raise LipsyncError(
            f"{source.path}: no face in any of its {done} frames; turn it with --rotate, search "
            "larger frames with --long_side, or give its place with --box TOP BOTTOM LEFT RIGHT"
        )
    faces = pd.DataFrame(table, columns=["frame", "x1", "y1", "x2", "y2"])
    faces = faces.astype({"frame": np.int32})
    whole = detection.Detections(done, width, 0, faces)
    linked = tracks.link(replace(whole, cuts=finder.cuts(whole)))
    result = np.full((done, 4), np.nan, np.float32)
    for track in reversed(_speaker(linked)):
        track = tracks.smooth_boxes(tracks.fill_gaps(track, max_gap), smooth)
        result[track.frames] = track.boxes
    return result


def _shrunk(frame: np.ndarray, long_side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture for the detector, and the factors that take x, y, x, y into its pixels."""
    height, width = frame.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    x, y = size[0] / width, size[1] / height
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
    return small, np.array([x, y, x, y], np.float32)


def _speaker(linked: Sequence[tracks.Track]) -> list[tracks.Track]:
    """The tracks to dub, largest first: the main one, and those never seen together with another.

    A cut or a jump ends a track, so one track would leave the other shots silent; a second person
    beside the speaker shares frames with them and stays out.
    """
    chosen: list[tracks.Track] = []
    taken: set[int] = set()
    for track in sorted(linked, key=lambda track: -float(area(track.boxes).sum())):
        frames = set(track.frames.tolist())
        if not frames & taken:
            chosen.append(track)
            taken |= frames
    return chosen
