"""Recent looks of one face on a grid that is aligned to it, and how a frame differs from them."""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_core.dubbing.mask import face_transform
from lipsync_core.media.color import Box

SIDE = 48  # pixels of the grid, which spans one side of an aligned face
V_START = 0.12  # of its first row: it shows the eyes, and what is below the chin
MEMORY_FRAMES = 20
SHIFT = 3  # pixels; faces may be misaligned by half of it
TOLERANCE = 2  # levels of 255
CHANNEL_WEIGHTS = np.array([[1.0, 2.0, 2.0]], np.float32)  # chroma of skin varies less
PATCH = 7  # pixels
ANCHORS = 10  # frames that stay: a hand that is taken for the face must not replace all of it
MOUTH_ROWS, MOUTH_COLUMNS = slice(25, 39), slice(12, 36)  # of the grid
MOUTH_SHIFT = 3  # pixels


class FaceMemory:
    """Frames of a face, as the range of levels around each pixel.

    The first ANCHORS stay; of the others, the newest replace the oldest.
    """

    def __init__(self) -> None:
        self._low = np.empty((MEMORY_FRAMES, SIDE, SIDE, 3), np.uint8)
        self._high = np.empty((MEMORY_FRAMES, SIDE, SIDE, 3), np.uint8)
        self._faces = np.empty((MEMORY_FRAMES, SIDE, SIDE, 3), np.float32)
        self._count = 0

    @property
    def empty(self) -> bool:
        return self._count == 0

    def add(self, face: np.ndarray) -> None:
        """Remember `face`, uint8 (SIDE, SIDE, 3) YUV."""
        kernel = np.ones((SHIFT, SHIFT), np.uint8)
        tolerance = np.full_like(face, TOLERANCE)
        place = self._count
        if place >= MEMORY_FRAMES:
            place = ANCHORS + (place - ANCHORS) % (MEMORY_FRAMES - ANCHORS)
        self._faces[place] = face * CHANNEL_WEIGHTS[0]
        self._low[place] = cv2.subtract(cv2.erode(face, kernel), tolerance)
        self._high[place] = cv2.add(cv2.dilate(face, kernel), tolerance)
        self._count += 1

    def novelty(self, face: np.ndarray) -> np.ndarray:
        """Levels by which each pixel's neighborhood differs from all frames: float32 (SIDE, SIDE).

        face: uint8 (SIDE, SIDE, 3) YUV. The mean over a patch of the levels outside of a frame's
        ranges, and the least of it over the frames. The memory must not be empty.
        """
        used = min(self._count, MEMORY_FRAMES)
        low = self._low[:used].reshape(-1, SIDE, 3)
        high = self._high[:used].reshape(-1, SIDE, 3)
        tiled = np.tile(face, (used, 1, 1))
        outside = cv2.add(cv2.subtract(low, tiled), cv2.subtract(tiled, high))
        levels = cv2.transform(outside, CHANNEL_WEIGHTS).astype(np.float32)
        blurred = [cv2.blur(frame, (PATCH, PATCH)) for frame in levels.reshape(-1, SIDE, SIDE)]
        return np.min(blurred, axis=0)

    def resemblance(self, face: np.ndarray) -> float:
        """Correlation of the mouth with the most similar one of all frames, from -1 to 1.

        face: uint8 (SIDE, SIDE, 3) YUV. Brightness, contrast and small shifts do not count.
        """
        mouth = face[MOUTH_ROWS, MOUTH_COLUMNS] * CHANNEL_WEIGHTS[0]
        if mouth.std(axis=(0, 1)).max() < TOLERANCE / 2:
            return 0.0  # a black microphone; OpenCV says 1
        rows, columns = (
            slice(part.start - MOUTH_SHIFT, part.stop + MOUTH_SHIFT)
            for part in (MOUTH_ROWS, MOUTH_COLUMNS)
        )
        return max(
            float(cv2.matchTemplate(known, mouth, cv2.TM_CCOEFF_NORMED).max())
            for known in self._faces[: min(self._count, MEMORY_FRAMES), rows, columns]
        )


def ellipse(center_v: float, radius_u: float, radius_v: float) -> np.ndarray:
    """An ellipse around the middle line, in aligned coordinates: bool (SIDE, SIDE) of the grid."""
    axis = (np.arange(SIDE) + 0.5) / SIDE
    u, v = axis[None, :] - 0.5, axis[:, None] + V_START - center_v
    return (u / radius_u) ** 2 + (v / radius_v) ** 2 < 1


def aligned(image: np.ndarray, box: Box, landmarks: np.ndarray | None) -> np.ndarray:
    """The face of a region, scaled to (n, n, 3), on the grid: (SIDE, SIDE, 3)."""
    return cv2.warpAffine(
        image,
        grid_transform(box, landmarks, image.shape[:2]),
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def on_region(
    values: np.ndarray, box: Box, landmarks: np.ndarray | None, shape: tuple[int, int]
) -> np.ndarray:
    """Values of the grid, float32 (SIDE, SIDE), on the region scaled to `shape` (h, w); else 1."""
    return cv2.warpAffine(
        values,
        grid_transform(box, landmarks, shape),
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=1,
    )


def grid_transform(box: Box, landmarks: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Map from indices of the grid to those of the region scaled to `shape` (h, w): (2, 3)."""
    x1, y1, x2, y2 = box
    transform = face_transform(box, landmarks)
    matrix = transform.copy()
    matrix[:, :2] /= SIDE
    matrix[:, 2] += transform[:, :2] @ (0.5 / SIDE, 0.5 / SIDE + V_START)  # centers of pixels
    matrix *= np.array([[shape[1] / (x2 - x1)], [shape[0] / (y2 - y1)]])
    matrix[:, 2] -= 0.5
    return matrix
