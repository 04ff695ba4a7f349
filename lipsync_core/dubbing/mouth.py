"""Whether a mouth can be seen where an aligned face has it."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from lipsync_core.dubbing.face_memory import ellipse

ROWS, COLUMNS = slice(21, 41), slice(10, 38)  # of the grid: from the nose to the chin
SHIFT_ROWS, SHIFT_COLUMNS = 5, 4  # pixels by which a mouth may lie elsewhere
LIPS, BLUR = (0.745, 0.16, 0.07), 1.2  # center and radii as of `ellipse`; pixels
CHROMA_WEIGHTS = np.array([[0.0, 1.0, 2.0]], np.float32)  # of Y, U, V: lips are redder than skin


def lip_contrast(face: np.ndarray) -> float:
    """Correlation of the redness around the mouth with an ellipse of lips, from -1 to 1.

    face: uint8 (SIDE, SIDE, 3) YUV of the grid. On real clips 90 % of the frames with a free mouth
    are above 0.38, and 2 % of those with a hand over it; see docs/log.md.
    """
    around = face[
        ROWS.start - SHIFT_ROWS : ROWS.stop + SHIFT_ROWS,
        COLUMNS.start - SHIFT_COLUMNS : COLUMNS.stop + SHIFT_COLUMNS,
    ]
    redness = cv2.transform(around.astype(np.float32), CHROMA_WEIGHTS)
    return float(cv2.matchTemplate(redness, _lips(), cv2.TM_CCOEFF_NORMED).max())


@functools.cache
def _lips() -> np.ndarray:
    lips = ellipse(*LIPS)[ROWS, COLUMNS].astype(np.float32)
    return cv2.GaussianBlur(lips, (0, 0), BLUR)
