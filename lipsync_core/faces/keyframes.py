"""Which frames of a clip the detector looks at, and the faces of the frames between them.

Every `stride`-th frame is looked at. Where the faces of two such frames agree, those between are
interpolated; where one was lost, appeared or moved fast, each frame between is looked at too. So
the outcome depends on the pictures alone, not on batches. Knows no detector and no file.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.boxes import area, iou
from lipsync_core.faces.detectors.base import Faces

MIN_IOU = 0.3  # lowest overlap of two boxes of one face
MIN_RELATIVE_AREA = 0.25  # of the largest face: faces this large must not be lost
ROWS_PER_BLOCK = 1024  # frames whose rows are kept apart, before they are joined to one array
Request = tuple[int, np.ndarray]


def match_faces(first: Faces, second: Faces, motion: float) -> np.ndarray | None:
    """Rows (n, 2) of the same face in both, or None when the two pictures disagree.

    They disagree when a face that matters is in one of them only, when two such faces touch, or
    when a side of the box moves by more than `motion` times the box's longer side.
    """
    one, other = first.boxes[:, :4], second.boxes[:, :4]
    overlaps = iou(one, other)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    same = overlaps[rows, columns] >= MIN_IOU
    pairs = np.stack((rows[same], columns[same]), axis=1)
    areas = [area(one), area(other)]
    enough = MIN_RELATIVE_AREA * max(
        (float(part.max()) for part in areas if len(part)), default=0.0
    )
    for side, part in enumerate(areas):
        if len(np.setdiff1d(np.flatnonzero(part >= enough), pairs[:, side])):
            return None
    for part in (one[areas[0] >= enough], other[areas[1] >= enough]):
        if (iou(part, part) > 0).sum() > len(part):  # people who cross are easily confused
            return None
    before, after = one[pairs[:, 0]], other[pairs[:, 1]]
    longer = np.maximum(before[:, 2:] - before[:, :2], 1e-6).max(axis=1, initial=1e-6)
    moved = np.abs(after - before).max(axis=1, initial=0.0) > motion * longer
    if (moved & (areas[0][pairs[:, 0]] >= enough)).any():
        return None
    return pairs


class StridedFaces:
    """The faces of one clip, from a few of its frames. Frames go in, requests to detect come out.

    Parameters
    ----------
    stride: frames from one detection to the next; 1 looks at every frame.
    motion: see `match_faces`.

    A request is (index, frame); each is to be answered by `add_faces`, in the order they came. Only
    frames that may still be asked for are kept. `detected_frames` counts the frames that were.
    """

    def __init__(self, stride: int, motion: float) -> None:
        self.stride = stride
        self.motion = motion
        self.frames = 0
        self.detected_frames = 0
        self._between: dict[int, np.ndarray] = {}  # frames not yet looked at nor passed over
        self._asked: deque[int] = deque()  # key frames without an answer yet
        self._key: tuple[int, Faces] | None = None  # the last key frame answered
        self._waiting = 0
        self._rows: list[np.ndarray] = []
        self._joined: list[np.ndarray] = []

    def push(self, frame: np.ndarray) -> list[Request]:
        """Take the next frame of the clip."""
        index, self.frames = self.frames, self.frames + 1
        if index % self.stride == 0:
            return [self._ask_key(index, frame)]
        self._between[index] = frame
        return []

    def end(self) -> list[Request]:
        """The clip has no more frames: its last one is looked at, too."""
        last = self.frames - 1
        if last in self._between:
            return [self._ask_key(last, self._between.pop(last))]
        return []

    @property
    def complete(self) -> bool:
        """True when every request is answered."""
        return self._waiting == 0

    def add_faces(self, index: int, faces: Faces) -> list[Request]:
        """Take the faces of a frame that was asked for; perhaps ask for more."""
        self._waiting -= 1
        self.detected_frames += 1
        self._add(np.full(len(faces.boxes), index), faces, detected=True)
        if not self._asked or self._asked[0] != index:
            return []
        self._asked.popleft()
        last, self._key = self._key, (index, faces)
        if last is None or index - last[0] < 2:
            return []
        pairs = match_faces(last[1], faces, self.motion)
        between = range(last[0] + 1, index)
        pictures = [(middle, self._between.pop(middle)) for middle in between]
        if pairs is None:
            self._waiting += len(pictures)
            return pictures
        if len(pairs):
            self._interpolate(last[0], last[1], index, faces, pairs)
        return []

    def table(self) -> np.ndarray:
        """float32 (n, 7 + landmarks): frame, looked at (0/1), box, score, landmarks; a row a face.

        In order of frame and falling score.
        """
        self._join()
        rows = np.concatenate(self._joined) if self._joined else np.zeros((0, 7), np.float32)
        return rows[np.lexsort((-rows[:, 6], rows[:, 0]))]

    def _ask_key(self, index: int, frame: np.ndarray) -> Request:
        self._asked.append(index)
        self._waiting += 1
        return index, frame

    def _interpolate(
        self, start: int, first: Faces, end: int, last: Faces, pairs: np.ndarray
    ) -> None:
        middle = np.arange(start + 1, end)
        weight = ((middle - start) / (end - start))[:, None, None]

        def blend(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            one, other = one[pairs[:, 0]], other[pairs[:, 1]]
            mixed = (1 - weight) * one + weight * other
            return mixed.reshape(-1, one.shape[1]).astype(np.float32)

        faces = Faces(blend(first.boxes, last.boxes), blend(first.landmarks, last.landmarks))
        self._add(np.repeat(middle, len(pairs)), faces, detected=False)

    def _add(self, frames: np.ndarray, faces: Faces, detected: bool) -> None:
        if len(frames):
            mark = np.full(len(frames), detected)
            self._rows.append(
                np.column_stack((frames, mark, faces.boxes, faces.landmarks)).astype(np.float32)
            )
        if len(self._rows) >= ROWS_PER_BLOCK:
            self._join()

    def _join(self) -> None:
        if self._rows:
            self._joined.append(np.concatenate(self._rows))
            self._rows = []
