"""The mask of a dubbed face: which pixels of the face region take the generated face.

The mask covers the lower face, from the tip of the nose to below the chin, inside an oval that
follows the landmarks. It is drawn once in the coordinates of an aligned face
(`faces.crops.ALIGNED_LANDMARKS`) and warped to each frame.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from lipsync_core.faces.crops import fit_similarity
from lipsync_core.media.color import Box

# All in fractions of the side of an aligned face, v down from its top.
TEMPLATE_SIZE = 160
TEMPLATE_MARGIN = 0.2  # around the aligned face: the chin may lie below it
# The tip of the nose lies at 0.575 and the upper lip at 0.69. The oval is as wide as the cheeks
# at the height of the mouth; its lowest point (1.08) is below a dropped chin.
TOP_FADE = (0.55, 0.67)
OVAL_CENTER, OVAL_RADII = (0.5, 0.56), (0.41, 0.52)
TURN_FACTOR, MAX_NARROWING = 1.5, 0.14
OVAL_FEATHER = 0.28  # of the radius
# In fractions of the region. The generator is given the rows above 0.5, and networks with little
# training draw a visible line there; the other three edges must not show either.
REGION_FADE_IN = (0.51, 0.59)
REGION_FADE_OUT = 0.06


def lower_face_mask(box: Box, landmarks: np.ndarray | None = None) -> np.ndarray:
    """Opacity of the generated face in a region of the frame: float32 (h, w) in [0, 1].

    Parameters
    ----------
    box: the region that the generator was given, in whole pixels.
    landmarks: float (10,) or (5, 2), x and y in pixels of the frame: left eye, right eye (as seen),
        tip of the nose, left and right corner of the mouth. None (or NaN): the box is taken for
        that of a face.

    0 on the upper half and on the outermost pixels of the region, 1 around mouth and chin, smooth
    between.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    mask = cv2.warpAffine(
        _template(),
        template_transform(box, landmarks),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    rows, columns = _region_fades(height, width)
    mask *= rows
    mask *= columns
    return mask


def face_transform(box: Box, landmarks: np.ndarray | None) -> np.ndarray:
    """Affine map from aligned face coordinates (u, v) to pixels of the region: float64 (2, 3).

    (0, 0) and (1, 1) are the corners of an aligned face; pixel (0, 0) of the region is the square
    from 0 to 1. Arguments as for `lower_face_mask`.
    """
    x1, y1, x2, y2 = box
    if landmarks is None or not np.isfinite(landmarks).all():
        return np.array([[x2 - x1, 0, 0], [0, y2 - y1, 0]], np.float64)
    factor, shift = fit_similarity(np.asarray(landmarks, np.float64).reshape(1, 5, 2))[0]
    return np.array(
        [[factor.real, -factor.imag, shift.real - x1], [factor.imag, factor.real, shift.imag - y1]]
    )


def template_transform(box: Box, landmarks: np.ndarray | None) -> np.ndarray:
    """Map from pixel indices of the region to indices of the template: float64 (2, 3)."""
    inverse = cv2.invertAffineTransform(face_transform(box, landmarks))
    turn = _turn(inverse, box, landmarks)
    inverse[:, 2] += inverse[:, :2] @ (0.5, 0.5)  # centers of pixels
    # On a turned face the cheek ends closer to the mouth on the side that it turns to.
    narrow = min(TURN_FACTOR * abs(turn), MAX_NARROWING)
    center = 0.5 - np.sign(turn) * narrow / 2
    stretch = OVAL_RADII[0] / (OVAL_RADII[0] - narrow / 2)
    inverse[0] *= stretch
    inverse[0, 2] += 0.5 - stretch * center
    scale = TEMPLATE_SIZE / (1 + 2 * TEMPLATE_MARGIN)
    inverse *= scale
    inverse[:, 2] += scale * TEMPLATE_MARGIN - 0.5
    return inverse


def _turn(inverse: np.ndarray, box: Box, landmarks: np.ndarray | None) -> float:
    """How far the tip of the nose lies to the right of the middle line, in sides of the face."""
    if landmarks is None or not np.isfinite(landmarks).all():
        return 0.0
    nose = np.reshape(landmarks, (5, 2))[2] - box[:2]
    return float(inverse[0] @ (*nose, 1)) - 0.5


def smoothstep(ramp: np.ndarray) -> np.ndarray:
    """3 r² - 2 r³ of `ramp` clipped to [0, 1]: no corner at either end."""
    ramp = np.clip(ramp, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


@functools.cache
def _template() -> np.ndarray:
    extent = 1 + 2 * TEMPLATE_MARGIN
    axis = (np.arange(TEMPLATE_SIZE, dtype=np.float32) + 0.5) / TEMPLATE_SIZE * extent
    axis -= TEMPLATE_MARGIN
    u, v = axis[None, :], axis[:, None]
    radius = np.hypot((u - OVAL_CENTER[0]) / OVAL_RADII[0], (v - OVAL_CENTER[1]) / OVAL_RADII[1])
    top = (v - TOP_FADE[0]) / (TOP_FADE[1] - TOP_FADE[0])
    return (smoothstep(top) * smoothstep((1 - radius) / OVAL_FEATHER)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _region_fades(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors (height, 1) and (1, width) that end the mask inside the region."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    columns = np.arange(width, dtype=np.float32) / max(width - 1, 1)
    start, full = REGION_FADE_IN
    last = np.arange(height - 1, -1, -1, dtype=np.float32) / max(height - 1, 1)
    down = smoothstep((rows - start) / (full - start)) * smoothstep(last / REGION_FADE_OUT)
    across = smoothstep(columns / REGION_FADE_OUT) * smoothstep((1 - columns) / REGION_FADE_OUT)
    return down[:, None], across[None, :]
