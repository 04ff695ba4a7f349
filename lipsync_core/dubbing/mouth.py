"""Whether a mouth can be seen where an aligned face has it.

Lips are redder than the skin around them; a hand shows none. Thresholds are from 36 real clips and
hands composited over their mouths; docs/log.md has the figures on these and on 28 other clips.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np

from lipsync_core.dubbing.face_memory import ellipse

ROWS, COLUMNS = slice(21, 41), slice(10, 38)  # of the grid: from the nose to the chin
SHIFT_ROWS, SHIFT_COLUMNS = 5, 4  # pixels by which a mouth may lie elsewhere
LIPS, BLUR = (0.745, 0.16, 0.07), 1.2  # center and radii as of `ellipse`; pixels
# Lips have vanished below the first contrast, and below a share of the usual one. Before lips are
# seen at all: below the third, until they are above the fourth, for a few seconds at most (lips of
# some people are hardly redder than their skin).
VANISHED, SHARE, ABSENT, PRESENT = 0.38, 0.65, 0.26, 0.35
ABSENT_SECONDS = 4.0
VANISHED_SECONDS = 0.08
USUAL_FRAMES = 40  # the usual contrast is their median
COLORED_V = 132  # mean V of an upper face; 128 is gray
UPPER_ROWS = 17  # of the grid
CHROMA_WEIGHTS = np.array([[0.0, 1.0, 2.0]], np.float32)  # of Y, U, V: lips are redder than skin


def lip_contrast(face: np.ndarray) -> float:
    """Correlation of the redness around the mouth with an ellipse of lips, from -1 to 1.

    face: uint8 (SIDE, SIDE, 3) YUV of the grid. On real clips 90 % of the frames with a free mouth
    are above 0.38, and 2 % of those with a hand over it.
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


class MouthWatch:
    """The lips of one face in consecutive frames.

    contrast: `lip_contrast` of the last frame. vanished: the lips of this frame cannot be seen.
    covered: for longer than VANISHED_SECONDS: something covers them. fps: frames a second.
    """

    def __init__(self, fps: float) -> None:
        self.contrast = 0.0
        self.vanished = self.covered = False
        self._usual: deque[float] = deque(maxlen=USUAL_FRAMES)
        self._delay, self._patience = VANISHED_SECONDS * fps, ABSENT_SECONDS * fps
        self._seen = self._vanished_frames = 0

    @property
    def usual(self) -> float:
        """Median contrast of the lips that were seen; 0 before."""
        return float(np.median(self._usual)) if self._usual else 0.0

    def see(self, face: np.ndarray, changed: Callable[[], bool]) -> None:
        """Look at the next frame.

        face: uint8 (SIDE, SIDE, 3) YUV of the grid. changed: whether the lower face looks as it did
        not before: lips that vanish without a change are pressed or badly lit.
        """
        self._seen += 1
        self.contrast = lip_contrast(face)
        least = PRESENT if self.covered else ABSENT
        if self._usual:
            least = min(VANISHED, SHARE * self.usual)
        colored = float(face[:UPPER_ROWS, :, 2].mean()) > COLORED_V
        self.vanished = colored and self.contrast < least
        if self.vanished and not self.covered:
            self.vanished = changed()
        self._vanished_frames = self._vanished_frames + 1 if self.vanished else 0
        self.covered = self._vanished_frames > self._delay
        if not self._usual and self._seen >= self._patience:
            self.vanished = self.covered = False

    def remember(self) -> None:
        """Take the contrast of the last frame, which shows no object, for usual."""
        if not self.vanished:
            self._usual.append(self.contrast)
