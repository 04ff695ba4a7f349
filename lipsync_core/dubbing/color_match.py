"""Match the colors of a generated face to the frame around the mask.

The generator draws the whole region, not only the mouth; where the mask fades, generated face and
frame show the same skin. Their difference there, spread smoothly over the mask, is added to the
generated face, so that no step of color is left at the edge of the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

GRID = 32  # side of the images in which colors are compared
# Standard deviation of the spread, as a fraction of the region: as narrow as the ring, so that the
# correction follows the light across a face.
SPREAD = 0.06
OUTLIER_LEVELS = 30.0  # differences that are farther from the mean count little: lips, hair
MIN_WEIGHT = 1e-3
GLOBAL_WEIGHT = 0.02  # of the mean difference, relative to the ring's: far from the ring it rules
SMOOTHING_SECONDS = 0.12
OUTLINE = 0.3  # opacity of the mask where the membrane meets the frame's colors
STIFFNESS = 8.0  # of the membrane's hold on the outline
STEPS = 40  # of Jacobi's iteration, from a good guess
_NEIGHBORS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


class ColorMatch:
    """Differences of color between frame and generated face over time; one object a face.

    fps: frames a second. harmonic: the correction follows the differences along the outline of the
    mask and solves Laplace's equation inside, which is Poisson image editing (Pérez et al., 2003)
    in the form of a membrane; otherwise it is a weighted mean of the differences around each place.
    """

    def __init__(self, fps: float = 25.0, harmonic: bool = False) -> None:
        self._harmonic = harmonic
        self._keep = float(np.exp(-1 / (SMOOTHING_SECONDS * max(fps, 1.0))))
        self._sums: np.ndarray | None = None  # (GRID, GRID, 4): weighted differences, weights
        self._membrane: np.ndarray | None = None

    def correction(
        self,
        frame: np.ndarray,
        generated: np.ndarray,
        mask: np.ndarray,
        visible: np.ndarray | None = None,
    ) -> np.ndarray:
        """What to add to the generated face: float32 (GRID, GRID, 3), in the frame's levels.

        frame: uint8 (GRID, GRID, 3), the region in any color space; generated: float32, likewise.
        mask: float32 (GRID, GRID), opacity of the generated face. visible: likewise, 0 where an
        object covers the face; None: nowhere.
        """
        difference = frame - generated
        ring = 4 * mask * (1 - mask)
        if visible is not None:
            ring = ring * visible
        weight = _trusted(difference, ring)
        sums = np.dstack((weight[:, :, None] * difference, weight))
        sums = cv2.GaussianBlur(sums, (0, 0), SPREAD * GRID, borderType=cv2.BORDER_CONSTANT)
        if self._sums is not None:
            sums += self._keep * (self._sums - sums)
        self._sums = sums
        weights = sums[:, :, 3:]
        totals = np.ones(GRID * GRID, np.float32) @ sums.reshape(-1, 4)
        mean = totals[:3] / max(float(totals[3]), 1e-6)
        floor = GLOBAL_WEIGHT * float(weights.max()) + 1e-6
        field = (sums[:, :, :3] + floor * mean) / (weights + floor)
        return self._relaxed(field, difference, weight, mask) if self._harmonic else field

    def _relaxed(
        self, field: np.ndarray, difference: np.ndarray, weight: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """The membrane through the differences along the outline, from the guess `field`."""
        along = np.clip(1 - np.abs(mask - OUTLINE) / OUTLINE, 0, 1)
        free = (1 / (1 + STIFFNESS * along * weight))[:, :, None]
        drawn = (1 - free) * difference
        for _ in range(STEPS):
            mean = cv2.filter2D(field, -1, _NEIGHBORS, borderType=cv2.BORDER_REPLICATE)
            field = drawn + free * mean
        if self._membrane is not None:
            field += self._keep * (self._membrane - field)
        self._membrane = field
        return field


def _trusted(difference: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """`ring`, lowered where the difference is far from its mean: float32 (GRID, GRID)."""
    flat, weight = difference.reshape(-1, 3), ring.reshape(-1)
    for _ in range(3):
        total = float(weight.sum())
        if total < MIN_WEIGHT:
            break
        mean = (weight @ flat) / total
        distance = (flat - mean) / OUTLIER_LEVELS
        weight = ring.reshape(-1) / (1 + np.einsum("ij,ij->i", distance, distance))
    return weight.reshape(ring.shape)
