"""Detect the cuts of a video at which face tracks end, while its frames are decoded.

A cut counts when the frame changes at once and the face does not continue: its box jumps, or
another face is in its place. Logos, head turns, flashes, fades and keyframes of the codec do not
count. The frames are the scaled-down ones of the face detector, so that nothing is decoded twice.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from lipsync_core.faces.boxes import area, iou

if TYPE_CHECKING:
    from lipsync_core.faces.detection import Detections

LONG_SIDE_PX = 160  # pixels; enough to compare faces of 5 % of the frame, at 0.1 ms a frame
CELLS = 4  # changes are measured in CELLS x CELLS cells: a head may be all that changes
CONTEXT_FRAMES = 3  # frames on either side that give the usual amount of change
# Lowest mean difference (of 255) of a cell to the frame before, and ratio to the frames around. On
# 143 real clips of one shot each, 9 minutes, the cells with the head reach 4.8 (head turns, missing
# frames) and 6.5 where a logo appears; at cuts it is 6.1 to 140.
MIN_CHANGE, MIN_RATIO, MIN_RATIO_FAR = 6.0, 5.0, 2.5
CODING_NOISE = 1.0  # of 255: noise of the encoding, added to the changes around
COMPARED_FRAMES = 2  # frames on either side whose faces are compared: a flash is no longer
# Largest movement (in face widths) and growth (natural logarithm of the side) of one face from
# frame to frame. Head turns of these clips reach 0.22 and 0.06.
MAX_JUMP, MAX_GROWTH = 0.22, 0.22
FAR_JUMP = 0.3  # a box that jumps further needs MIN_RATIO_FAR only
# Lowest correlation of the gray levels of one face and its surroundings across a sudden change. It
# is 0.93 or more for one face, 0.72 or less for two people in one place.
MIN_CORRELATION = 0.82
MIN_CONTRAST = 10.0  # gray levels; less is a fade, a flash or damage (2 to 4; faces: 20 to 65)
FACE_PX = 24  # pixels to which faces are scaled
FACE_MARGIN = 0.2  # around the face, as a fraction of its size
MIN_RELATIVE_AREA = 0.25  # of the largest face in the frame: smaller faces do not count
HEAD_MARGIN = 0.25  # extent of a head beyond its face on either side, in sizes of the face
MIN_IOU = 0.3  # of the boxes of one face in two consecutive frames
WHOLE_FRAME_FRACTION = 0.75  # fraction of the cells that change when the whole frame does
MAX_ABSENCE_FRAMES = 50  # 2 s: a face that returns later begins a new track anyway


class _Change(NamedTuple):
    """A sudden change from the frame before to `frame`.

    ratio: float32 (CELLS, CELLS), the change of each cell relative to the frames around; 0 where
    it is less than MIN_CHANGE. images: JPEG data of the frames around, by number.
    """

    frame: int
    ratio: np.ndarray
    images: dict[int, bytes]


class ShotDetector:
    """Takes the frames of one video in order; then finds the cuts of its face tracks.

    Keeps about ten kilobytes of each sudden change; real clips have one in five seconds.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._frames: deque[np.ndarray] = deque(maxlen=CONTEXT_FRAMES + COMPARED_FRAMES + 1)
        self._steps: deque[np.ndarray] = deque(maxlen=2 * CONTEXT_FRAMES + 1)
        self._changes: list[_Change] = []
        self._shape = (1, 1)

    def add(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3) BGR, of any size that stays the same."""
        self._shape = frame.shape[:2]
        scale = min(1.0, LONG_SIDE_PX / max(self._shape))
        height, width = (max(CELLS, round(side * scale)) for side in self._shape)
        # Halving first is as smooth as INTER_AREA in one step and three times as fast; INTER_LINEAR
        # alone skips pixels, and misses a tenth of the jump cuts.
        while frame.shape[1] >= 2 * width and frame.shape[0] >= 2 * height:
            half = (frame.shape[1] // 2, frame.shape[0] // 2)
            frame = cv2.resize(frame, half, interpolation=cv2.INTER_AREA)
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        if self._frames:
            step = cv2.absdiff(small, self._frames[-1])
            cells = cv2.resize(step, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
            self._steps.append(cells.mean(axis=2, dtype=np.float32))
        self._frames.append(small)
        self.frames += 1
        self._record_change(CONTEXT_FRAMES)

    def cuts(self, found: Detections) -> tuple[int, ...]:
        """First frames of all shots but the first, rising; `found`: the faces of all frames added.

        Absences of more than MAX_ABSENCE_FRAMES end tracks anyway and give no cut. Call it once,
        after the last frame.
        """
        for later in range(min(CONTEXT_FRAMES, len(self._steps)) - 1, 0, -1):
            self._record_change(later)
        table = found.faces
        numbers = table["frame"].to_numpy(np.int64)
        scale = self._shape[1] / found.width if found.width else 1.0
        boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64) * scale
        return tuple(
            change.frame for change in self._changes if _is_cut(change, numbers, boxes, self._shape)
        )

    def _record_change(self, later: int) -> None:
        """Record the change at the frame `later` frames ago, if it is sudden."""
        at = len(self._steps) - 1 - later
        if at < 0:
            return
        others = [
            step for place, step in enumerate(self._steps) if 0 < abs(place - at) <= CONTEXT_FRAMES
        ]
        if len(others) < 2:
            return
        # The second largest change: another cut, or the end of a flash, may be near.
        usual = np.sort(others, axis=0)[-2]
        step = self._steps[at]
        ratio = np.where(step >= MIN_CHANGE, step / (usual + CODING_NOISE), 0)
        if ratio.max() < MIN_RATIO_FAR:
            return
        frame = self.frames - 1 - later
        oldest = self.frames - len(self._frames)
        around = range(
            max(oldest, frame - COMPARED_FRAMES), min(frame + COMPARED_FRAMES, self.frames)
        )
        images = {number: _encode_jpeg(self._frames[number - oldest]) for number in around}
        self._changes.append(_Change(frame, ratio, images))


def _encode_jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _is_cut(
    change: _Change, numbers: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]
) -> bool:
    """True when a large face does not continue after a change.

    numbers: int (n,), the frame of each of the `boxes` (n, 4), in pixels of frames of `shape`.
    """
    first, middle, last = np.searchsorted(
        numbers,
        (change.frame - MAX_ABSENCE_FRAMES, change.frame, change.frame + MAX_ABSENCE_FRAMES),
    )
    if first == middle or middle == last:
        return False  # no face before, or none after
    faces: dict[int, list[_Face]] = {}
    for number, data in change.images.items():
        start, stop = np.searchsorted(numbers, (number, number + 1))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        near = boxes[start:stop] * (image.shape[1] / shape[1])
        near = near[area(near) > 0]
        if len(near):
            faces[number] = [_Face(image, box) for box in near]
    before = [faces[number] for number in sorted(faces) if number < change.frame]
    after = [face for number in faces if number >= change.frame for face in faces[number]]
    if not before or not after:
        # Faces only further before or after: only a change of nearly the whole frame counts.
        return float((change.ratio >= MIN_RATIO).mean()) >= WHOLE_FRAME_FRACTION
    largest = max(face.area for face in before[-1])
    return any(
        _track_ends(face, list(itertools.chain(*before)), after, change.ratio)
        for face in before[-1]
        if face.area >= MIN_RELATIVE_AREA * largest
    )


def _track_ends(face: _Face, before: list[_Face], after: list[_Face], ratio: np.ndarray) -> bool:
    """True when a face does not continue after a change.

    `before` holds the faces of earlier frames, that face among them.
    """
    pairs = [
        (one, other)
        for one in before
        if iou(one.box[None], face.box[None])[0, 0] >= MIN_IOU
        for other in after
    ]
    sudden = max(float(ratio[one.cells()].max()) for one in (face, *after))
    if all(one.distance(other) > FAR_JUMP for one, other in pairs):
        return sudden >= MIN_RATIO_FAR
    return sudden >= MIN_RATIO and not any(_is_same_face(one, other) for one, other in pairs)


class _Face:
    """A face: its box in a small gray image, uint8 (H, W)."""

    def __init__(self, image: np.ndarray, box: np.ndarray) -> None:
        self.image = image
        self.box = box
        self.area = float(area(box[None])[0])

    def cells(self) -> tuple[slice, slice]:
        """The cells that its head covers: slices of rows and columns of CELLS x CELLS."""
        grow = HEAD_MARGIN * (self.box[2:] - self.box[:2])
        ends = np.array(self.image.shape[::-1])
        low = np.clip((self.box[:2] - grow) / ends * CELLS, 0, CELLS - 1).astype(int)
        high = np.clip((self.box[2:] + grow) / ends * CELLS, 0, CELLS - 1).astype(int)
        return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)

    def distance(self, other: _Face) -> float:
        """Distance of the centers, in widths of the narrower face."""
        width = min(self.box[2] - self.box[0], other.box[2] - other.box[0])
        offset = self.box[:2] + self.box[2:] - other.box[:2] - other.box[2:]
        return float(np.hypot(*offset) / 2 / width)

    @functools.cached_property
    def appearance(self) -> np.ndarray:
        """The face and its surroundings: float32 (FACE_PX * FACE_PX,)."""
        sides = (self.box[2:] - self.box[:2]) * (1 + 2 * FACE_MARGIN)
        corner = (self.box[:2] + self.box[2:] - sides) / 2
        step = sides / FACE_PX
        matrix = np.array(
            [
                [step[0], 0, corner[0] + step[0] / 2 - 0.5],
                [0, step[1], corner[1] + step[1] / 2 - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REPLICATE
        pixels = cv2.warpAffine(
            self.image, matrix, (FACE_PX, FACE_PX), flags=flags, borderMode=border
        )
        return pixels.ravel().astype(np.float32)


def _is_same_face(one: _Face, other: _Face) -> bool:
    """True when two faces of consecutive frames are one face."""
    if one.distance(other) > MAX_JUMP or abs(np.log(one.area / other.area)) / 2 > MAX_GROWTH:
        return False
    contrast = min(one.appearance.std(), other.appearance.std())
    if contrast < MIN_CONTRAST:
        return True  # too little contrast to decide
    return float(np.corrcoef(one.appearance, other.appearance)[0, 1]) >= MIN_CORRELATION


def split_shots(cuts: Sequence[int], frames: int) -> list[range]:
    """The frames of each shot of a video that has `frames` frames and these cuts."""
    edges = [0, *(cut for cut in cuts if 0 < cut < frames), frames]
    return [range(first, last) for first, last in itertools.pairwise(edges)]
