"""Keyframe detection: detect faces in every n-th frame and interpolate between matching ones.

Where the faces of two keyframes match, the faces between are interpolated; where a face was lost,
appeared or moved fast, every frame between is detected too. The result depends on the frames
alone, not on batches.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.boxes import area, iou
from lipsync_core.faces.detectors.base import Faces

MIN_IOU = 0.3  # of the boxes of one face in two keyframes
MIN_RELATIVE_AREA = 0.25  # of the largest face: faces this large must not be lost
Request = tuple[int, np.ndarray]


def match_faces(first: Faces, second: Faces, motion: float) -> np.ndarray | None:
    """Match the faces of two keyframes: row pairs (n, 2), or None when they do not match.

    Only faces of MIN_RELATIVE_AREA count. They do not match when one of them is in one frame only,
    when two of them touch, or when a side of a box moves by more than `motion` times the box's
    longer side.
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
        if (iou(part, part) > 0).sum() > len(part):  # faces that cross are easily confused
            return None
    before, after = one[pairs[:, 0]], other[pairs[:, 1]]
    longer = np.maximum(before[:, 2:] - before[:, :2], 1e-6).max(axis=1, initial=1e-6)
    moved = np.abs(after - before).max(axis=1, initial=0.0) > motion * longer
    if (moved & (areas[0][pairs[:, 0]] >= enough)).any():
        return None
    return pairs


class StridedFaces:
    """The faces of one clip, from detections in some of its frames.

    Parameters
    ----------
    stride: frames from one keyframe to the next; 1 detects every frame.
    motion: see `match_faces`.

    `push` and `add_faces` return requests (index, frame) for detections; answer each by
    `add_faces`, in order. Only frames that may still be requested are kept. `detected_frames`
    counts the answers.
    """

    def __init__(self, stride: int, motion: float) -> None:
        self.stride = stride
        self.motion = motion
        self.frames = 0
        self.detected_frames = 0
        self._between: dict[int, np.ndarray] = {}  # frames between keyframes, not yet decided
        self._requested: deque[int] = deque()  # keyframes without an answer yet
        self._key: tuple[int, Faces] | None = None  # the last keyframe answered
        self._waiting = 0
        self._rows: list[np.ndarray] = []

    def push(self, frame: np.ndarray) -> list[Request]:
        """Take the next frame of the clip."""
        index, self.frames = self.frames, self.frames + 1
        if index % self.stride == 0:
            return [self._request_keyframe(index, frame)]
        self._between[index] = frame
        return []

    def end(self) -> list[Request]:
        """The clip has no more frames: its last one becomes a keyframe."""
        last = self.frames - 1
        if last in self._between:
            return [self._request_keyframe(last, self._between.pop(last))]
        return []

    @property
    def complete(self) -> bool:
        """True when every request is answered."""
        return self._waiting == 0

    def add_faces(self, index: int, faces: Faces) -> list[Request]:
        """Take the faces of a requested frame; return further requests."""
        self._waiting -= 1
        self.detected_frames += 1
        self._add(np.full(len(faces.boxes), index), faces, detected=True)
        if not self._requested or self._requested[0] != index:
            return []
        self._requested.popleft()
        last, self._key = self._key, (index, faces)
        if last is None or index - last[0] < 2:
            return []
        pairs = match_faces(last[1], faces, self.motion)
        between = range(last[0] + 1, index)
        frames = [(middle, self._between.pop(middle)) for middle in between]
        if pairs is None:
            self._waiting += len(frames)
            return frames
        if len(pairs):
            self._interpolate(last[0], last[1], index, faces, pairs)
        return []

    def table(self) -> np.ndarray:
        """float32 (n, 7 + landmarks): frame, detected (0/1), box, score, landmarks; a row a face.

        In order of frame and falling score.
        """
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 7), np.float32)
        return rows[np.lexsort((-rows[:, 6], rows[:, 0]))]

    def _request_keyframe(self, index: int, frame: np.ndarray) -> Request:
        self._requested.append(index)
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
            # Not -1: there may be no landmarks, and so no values.
            return mixed.reshape(len(middle) * len(pairs), one.shape[1]).astype(np.float32)

        faces = Faces(blend(first.boxes, last.boxes), blend(first.landmarks, last.landmarks))
        self._add(np.repeat(middle, len(pairs)), faces, detected=False)

    def _add(self, frames: np.ndarray, faces: Faces, detected: bool) -> None:
        if len(frames):
            mark = np.full(len(frames), detected)
            self._rows.append(
                np.column_stack((frames, mark, faces.boxes, faces.landmarks)).astype(np.float32)
            )
