"""Match the colors of a generated face to the frame around the mask.

The generator draws the whole region, not only the mouth; where the mask fades, generated face and
frame show the same skin. Their difference there, spread smoothly over the mask, is added to the
generated face, so that no step of color is left at the edge of the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

GRID = 64  # side of the images that colors are compared in
# A spread of a sixth of the region: wide enough to be free of the texture of the ring, narrow
# enough to follow the light across a face.
SPREAD = 0.06
OUTLIER_LEVELS = 30.0  # differences far from the mean by more count little: lips, teeth, hair
FLOOR = 1e-3  # of the weight; far from the ring the mean difference takes over
SMOOTHING_SECONDS = 0.12
STIFFNESS = 8.0  # of the membrane's hold on the outline
OUTLINE = 0.3  # of the mask: there the membrane meets the frame's colors
COARSE_STEPS, FINE_STEPS = 40, 12
_NEIGHBORS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


class ColorMatch:
    """Differences of color between frame and generated face over time; one object a face.

    fps: frames a second. harmonic: the correction equals the difference along the outline of the
    mask and solves Laplace's equation inside (Poisson image editing: Pérez et al., 2003, in the
    form of a membrane); otherwise it is a weighted mean of the differences around each place.
    """

    def __init__(self, fps: float = 25.0, harmonic: bool = False) -> None:
        self.harmonic = harmonic
        self.keep = float(np.exp(-1 / (SMOOTHING_SECONDS * max(fps, 1.0))))
        self._state: np.ndarray | None = None  # (n, n, 4): weighted differences, weights
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
        if visible is None:
            visible = np.ones_like(mask)
        difference = frame - generated
        ring = (4 * mask * (1 - mask) * visible)[:, :, None]
        mean = np.zeros(3, np.float32)
        weight = ring
        for _ in range(3):  # a mean that outliers do not move
            total = float(weight.sum())
            if total < FLOOR:
                break
            mean = (weight * difference).sum(axis=(0, 1)) / total
            distance = np.abs(difference - mean).max(axis=2, keepdims=True) / OUTLIER_LEVELS
            trust = visible[:, :, None] / (1 + distance * distance)
            weight = ring * trust
        stack = np.concatenate((weight * difference, weight), axis=2)
        stack = cv2.resize(stack, (GRID // 2, GRID // 2), interpolation=cv2.INTER_AREA)
        stack = cv2.GaussianBlur(stack, (0, 0), SPREAD * GRID / 2, borderType=cv2.BORDER_CONSTANT)
        if self._state is not None:
            stack += self.keep * (self._state - stack)
        self._state = stack
        weights = stack[:, :, 3:]
        floor = 0.02 * float(weights.max()) + 1e-6
        total = float(weights.sum())
        mean = stack[:, :, :3].sum(axis=(0, 1)) / max(total, 1e-6)
        field = (stack[:, :, :3] + floor * mean) / (weights + floor)
        if self.harmonic:
            return self._harmonic(field, difference, weight, mask)
        return cv2.resize(field, (GRID, GRID), interpolation=cv2.INTER_LINEAR)

    def _harmonic(
        self, start: np.ndarray, difference: np.ndarray, weight: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """The membrane through the differences along the outline, from a smooth guess."""
        along = np.clip(1 - np.abs(mask - OUTLINE) / OUTLINE, 0, 1)[:, :, None]
        fixed = STIFFNESS * along * weight
        values = cv2.blur(difference, (3, 3))
        half = (GRID // 2, GRID // 2)
        coarse = cv2.resize(fixed, half, interpolation=cv2.INTER_AREA)[:, :, None]
        coarse_values = cv2.resize(fixed * values, half, interpolation=cv2.INTER_AREA)
        coarse_values /= np.maximum(coarse, 1e-6)
        field = _relax(start, coarse_values, coarse, COARSE_STEPS)
        field = cv2.resize(field, (GRID, GRID), interpolation=cv2.INTER_LINEAR)
        field = _relax(field, values, fixed, FINE_STEPS)
        if self._membrane is not None:
            field += self.keep * (self._membrane - field)
        self._membrane = field
        return field


def _relax(field: np.ndarray, values: np.ndarray, weight: np.ndarray, steps: int) -> np.ndarray:
    """Jacobi steps of Laplace's equation, drawn to `values` by `weight`."""
    free = 1 / (1 + weight)
    drawn = (1 - free) * values
    for _ in range(steps):
        field = drawn + free * cv2.filter2D(field, -1, _NEIGHBORS, borderType=cv2.BORDER_REPLICATE)
    return field
