"""Render the mouth: the backward map of a mouth shape, and the interior between the lips.

Uses mouth units: u along the lips (corners at -1 and 1), v across them (down is positive), both in
half mouth widths. A shape deforms the face in two steps, both inverted here: the lips part along
the seam and change their thickness; then jaw and corners move smoothly.
"""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_core.demo import photos
from lipsync_core.demo.portraits import HEIGHT, WIDTH, Still

MAX_GAP = 0.68  # opening of the widest vowel, mouth units
JAW_FRACTION = 0.85  # fraction of the gap that comes from the jaw
CORNER_FRACTION = 0.30  # fraction of the jaw's movement that the mouth corners follow
Patch = tuple[tuple[slice, slice], np.ndarray, np.ndarray]


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Smooth ramp from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


class Mouth:
    """The mouth of one still; `move` opens and shapes it."""

    def __init__(self, still: Still) -> None:
        seam = still.points[photos.SEAM]
        self._center = ((seam[0] + seam[-1]) / 2).astype(np.float32)
        across = (seam[-1] - seam[0]) / 2
        self._half = float(np.linalg.norm(across))
        self._axis = float(across[0]) / self._half, float(across[1]) / self._half
        local = self._local(seam)
        self._seam_u = np.linspace(-1.6, 1.6, 129).astype(np.float32)
        line = np.interp(self._seam_u, local[:, 0], local[:, 1])
        # The teeth form a smooth arch, whatever the shape of the lips.
        self._arch = np.polynomial.Polynomial.fit(local[:, 0], local[:, 1], 2).convert().coef
        self._seam_v = cv2.GaussianBlur(line.astype(np.float32)[None], (9, 1), 2)[0]
        self._bottom = float(self._local(still.points[photos.LIP_BOTTOM][None])[0, 1])
        self._chin = float(self._local(still.points[photos.CHIN][None])[0, 1])
        self._light = still.light
        corners = self._center + self._half * np.array([[-2.6, -1.4], [2.6, self._chin + 1.5]])
        (x0, y0), (x1, y1) = np.round(corners).astype(int)
        self._rows = slice(max(y0, 0), min(y1, HEIGHT))
        self._columns = slice(max(x0, 0), min(x1, WIDTH))
        self._lip = self._lip_color(still)

    def _local(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) to mouth units."""
        d = (points - self._center) / self._half
        x, y = self._axis
        return np.stack([d[..., 0] * x + d[..., 1] * y, d[..., 1] * x - d[..., 0] * y], axis=-1)

    def _pixels(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = self._axis[0] * self._half, self._axis[1] * self._half
        return np.stack(
            [self._center[0] + u * x - v * y, self._center[1] + u * y + v * x], axis=-1
        ).astype(np.float32)

    def _lip_color(self, still: Still) -> np.ndarray:
        u = np.linspace(-0.4, 0.4, 9)
        v = np.full(9, 0.5 * self._bottom)
        at = self._pixels(u, v)[None]
        return cv2.remap(still.image, at, None, cv2.INTER_LINEAR)[0].mean(axis=0)

    def move(self, at: np.ndarray, shape: np.ndarray) -> Patch | None:
        """Change the backward map `at` (H, W, 2), pixels of the still, to the mouth's `shape` (6,).

        Returns a patch for the warped still: (rows, columns), color float32 (h, w, 3) BGR, opacity
        float32 (h, w); None when the lips are closed.
        """
        opening, wide, rounded, close, bite, tongue = (float(value) for value in shape)
        view = at[self._rows, self._columns]
        where = self._local(view).astype(np.float32)
        u, v = where[..., 0], where[..., 1]
        gap = MAX_GAP * opening
        jaw = JAW_FRACTION * gap - 0.05 * close
        width = 1 + 0.09 * wide - 0.17 * rounded
        u, v = self._undo_smooth(u, v, jaw, width, rounded)
        seam = np.interp(u, self._seam_u, self._seam_v).astype(np.float32)
        along = np.clip(1 - u * u, 0, 1) ** (0.9 - 0.3 * rounded)
        raise_ = (CORNER_FRACTION * jaw + 0.12 * gap + 0.10 * bite) * along
        drop = (gap * 0.88 - CORNER_FRACTION * jaw) * along + 0.02 * bite * along
        upper, lower = seam - raise_, seam + drop
        middle = (upper + lower) / 2
        over = v < middle
        up = raise_ * (1 - smoothstep((upper - v) / 0.5))
        down = drop * (1 - smoothstep((v - lower) / (self._chin - 0.1)))
        # Half a pixel off the seam, so that interpolation does not mix the two lips.
        lip = np.minimum(0.5 / self._half, 0.5 * (raise_ + drop))
        inside_v = np.where(over, np.minimum(v + up, seam - lip), np.maximum(v - down, seam + lip))
        inside_v = self._thicken(u, inside_v, seam, rounded, close, bite)
        at[self._rows, self._columns] = self._pixels(u, inside_v)
        if gap + 0.1 * bite < 0.02:
            return None
        return self._interior_patch(u, v, upper, lower, jaw, opening, tongue, bite)

    def _undo_smooth(
        self, u: np.ndarray, v: np.ndarray, jaw: float, width: float, rounded: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Invert the movement of jaw and mouth corners; rounding also removes a smile."""
        side = 1 - smoothstep((np.abs(u) - 0.7) / 1.5)
        chin = self._chin
        rise = CORNER_FRACTION * smoothstep((v + 0.45) / 0.45) + (1 - CORNER_FRACTION) * smoothstep(
            v / (0.75 * chin)
        )
        neck = 1 - smoothstep((v - chin - jaw) / 0.9)
        reach = np.exp(-((np.maximum(np.abs(u) - 0.85, 0) / 0.5) ** 2) - (v / 0.9) ** 2)
        smile = min(float(self._arch[2]), 0.0)  # curvature of a smile
        straight = -0.7 * rounded * smile * np.minimum(u * u, 1.5) * reach
        return u - (1 - 1 / width) * u * reach, v - jaw * rise * side * neck - straight

    def _thicken(
        self,
        u: np.ndarray,
        v: np.ndarray,
        seam: np.ndarray,
        rounded: float,
        close: float,
        bite: float,
    ) -> np.ndarray:
        """Invert the change of lip thickness: fuller when rounded, thinner when pressed."""
        off = v - seam
        near = np.exp(-((off / 0.42) ** 2) - (u / 0.95) ** 4)
        upper = 0.22 * rounded - 0.18 * close
        lower = 0.22 * rounded - 0.18 * close - 0.35 * bite
        return seam + off * (1 - np.where(off < 0, upper, lower) * near)

    def _interior_patch(
        self,
        u: np.ndarray,
        v: np.ndarray,
        upper: np.ndarray,
        lower: np.ndarray,
        jaw: float,
        opening: float,
        tongue: float,
        bite: float,
    ) -> Patch | None:
        """The patch with teeth and tongue between the lips."""
        soft = 1.1 / self._half
        inside = (v > upper - soft) & (v < lower + soft) & (np.abs(u) < 1)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return None
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        u, v, upper, lower = (x[box] for x in (u, v, upper, lower))
        opacity = np.clip((v - upper) / soft, 0, 1) * np.clip((lower - v) / soft, 0, 1)
        opacity *= smoothstep((1 - np.abs(u)) / 0.08)
        color = self._interior(u, v, upper, lower, jaw, opening, tongue)
        place = (
            slice(self._rows.start + box[0].start, self._rows.start + box[0].stop),
            slice(self._columns.start + box[1].start, self._columns.start + box[1].stop),
        )
        return place, color * self._light, opacity.astype(np.float32)

    def _interior(
        self,
        u: np.ndarray,
        v: np.ndarray,
        upper: np.ndarray,
        lower: np.ndarray,
        jaw: float,
        opening: float,
        tongue: float,
    ) -> np.ndarray:
        dark, flesh = np.float32([26, 18, 42]), np.float32([88, 82, 158])
        enamel = np.float32([164, 192, 208])
        height = np.maximum(lower - upper, 1e-3)
        depth = np.clip((v - upper) / height, 0, 1)
        color = dark * (0.75 + 0.8 * depth[..., None])
        # The tongue lies low and rises for t, d, n, l.
        rise = 0.34 + 0.4 * tongue
        lump = lower - rise * height * np.sqrt(np.clip(1 - (u / 0.72) ** 2, 0, 1))
        body = smoothstep((v - lump) / 0.10) * (0.55 + 0.25 * tongue)
        color += body[..., None] * (flesh - color)
        # Upper teeth are fixed to the skull, which moves up in these units as the jaw drops.
        level, tilt, bend = (float(value) for value in self._arch)
        edge = level + tilt * u + (bend - 0.08) * u * u + 0.15 - CORNER_FRACTION * jaw
        teeth = smoothstep((edge - v) / 0.05) * smoothstep((0.86 - np.abs(u)) / 0.2)
        teeth *= 1 - 0.75 * np.clip(np.abs(u), 0, 1) ** 1.6
        gaps = 1 - 0.11 * np.exp(-((((u / 0.19 + 0.5) % 1 - 0.5) / 0.09) ** 2))
        color += (0.92 * teeth)[..., None] * ((enamel * gaps[..., None]) - color)
        # Lower teeth: a dim rim behind the lower lip, only when the mouth is wide open.
        rim = smoothstep((v - lower + 0.13) / 0.05) * smoothstep((0.6 - np.abs(u)) / 0.25)
        rim *= 0.38 * np.clip((opening - 0.4) / 0.35, 0, 1)
        color += rim[..., None] * (enamel * 0.8 - color)
        # The inner sides of the lips, and the shadow of the upper lip.
        lining = np.maximum(1 - (v - upper) / 0.05, 1.15 * (1 - (lower - v) / 0.07))
        lining = np.clip(lining, 0, 1) * 0.75
        color += lining[..., None] * (self._lip * np.float32([0.55, 0.5, 0.62]) - color)
        shadow = 0.55 + 0.45 * smoothstep((v - upper) / 0.14)
        return (color * shadow[..., None]).astype(np.float32)
