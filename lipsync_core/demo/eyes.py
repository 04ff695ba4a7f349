"""Render blinks: the eyelid texture of a still and its position in a frame."""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_core.demo.portraits import Still

LID_TOP, LID_BOTTOM = 0.90, 0.40  # opening above and below the line of the corners, half eye widths


class Eye:
    """One eye of a still; `corners`: indices of its center, outer and inner landmark."""

    def __init__(self, still: Still, corners: tuple[int, int, int]) -> None:
        middle, outer, inner = (still.points[index] for index in corners)
        half = self._half = float(abs(inner[0] - outer[0])) / 2
        self._x = float(inner[0] + outer[0]) / 2
        self._y = float(outer[1] + inner[1]) / 2
        self._slope = float((inner[1] - outer[1]) / (inner[0] - outer[0]))
        rows, columns = (
            np.round(middle[1] + half * np.array([-1.5, 1.5])),
            np.round(self._x + half * np.array([-1.6, 1.6])),
        )
        self._box = slice(*rows.astype(int).tolist()), slice(*columns.astype(int).tolist())
        self._skin = self._shut(still)

    def _place(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How round the eye is at `at` (..., 2) (0 beyond its corners), offset below the line."""
        bow = np.clip(1 - ((at[..., 0] - self._x) / (1.12 * self._half)) ** 2, 0, None)
        return bow, at[..., 1] - self._y - self._slope * (at[..., 0] - self._x)

    def _shut(self, still: Still) -> np.ndarray:
        """The still with this eye shut, uint8 (H, W, 3).

        The lid is skin from below the eye, mirrored: closer in tone than the skin above the eye,
        and free of glasses.
        """
        height, width = still.image.shape[:2]
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        bow, below = self._place(np.stack([xs, ys], axis=-1))
        lower = LID_BOTTOM * self._half * bow
        mirrored = lower + 0.3 * self._half + 0.55 * (lower - below)
        at = np.stack([xs, ys + mirrored - below], axis=-1).astype(np.float32)
        lid = cv2.remap(still.image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lid = cv2.GaussianBlur(lid, (0, 0), 0.6).astype(np.float32)
        round_ = np.clip((below / self._half + LID_TOP * bow) / (LID_TOP + LID_BOTTOM), 0, 1)
        shade = 0.93 - 0.10 * round_**2  # darkest at the lashes
        lid *= shade[..., None] * np.float32([0.98, 0.99, 1.01])
        inside = (bow > 0.02) & (below > -LID_TOP * self._half * bow) & (below < lower)
        soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.0)[..., None]
        return np.clip(still.image + soft * (lid - still.image), 0, 255).astype(np.uint8)

    def lid(
        self, at: np.ndarray, amount: float
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """The lid, lowered by `amount` (1 = shut), for the backward map `at` (H, W, 2).

        Returns a patch: (rows, columns), color float32 (h, w, 3) BGR, opacity (h, w).
        """
        view = np.ascontiguousarray(at[self._box])
        bow, below = self._place(view)
        upper, lower = -LID_TOP * self._half * bow, LID_BOTTOM * self._half * bow
        edge = upper + amount * (lower - upper)
        color = cv2.remap(
            self._skin, view, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
        lashes = np.exp(-(((below - edge) / 0.8) ** 2)) * np.sqrt(bow)
        color *= (1 - 0.5 * lashes)[..., None]
        opacity = np.clip(edge - below + 1.2, 0, 1) * np.clip(4 * bow, 0, 1)
        return self._box, color, opacity.astype(np.float32)
