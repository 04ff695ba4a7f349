"""Appearance of generated mouths against the ground truth: sharpness, color, stripes.

Frames are uint8 (T, S, S, 3) BGR crops, S at least 96; all figures are of the mouth region (see
`mouth_region.MOUTH`). They look at single frames only: a perfect figure says nothing about sync.

Stripes: transposed convolutions leave patterns with a period of two or four pixels (Odena et al.,
2016, "Deconvolution and checkerboard artifacts"), lines in the spectrum at 1/2 and 1/4 cycles a
pixel. `stripes` is their energy above the level of the neighboring frequencies, so blur, which
lowers both, does not count. On real recordings other frames of the same clips give 1.00 to 1.05,
frames blurred with sigma 0.7 to 4 pixels 1.00, stripes of an amplitude of 1 level (hardly visible)
on blurred frames 1.2 to 2.5, of 2 levels (visible) 1.9 to 6.8.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lipsync_core.evaluation import mouth
from lipsync_core.faces.mouth_region import gray, region

CHANNELS = ("b", "g", "r")
COLOR_SHIFT = tuple(f"color_shift_{channel}" for channel in CHANNELS)
ROUNDING_ENERGY = 1 / 12  # of frames in whole levels; makes the figures of a black frame finite


class LineEnergy(NamedTuple):
    """Energy of the mouth region at four lines of the spectrum, and beside them.

    Lines: 1/2 and 1/4 cycles a pixel along the columns, then along the rows. Both float64 (4,),
    squared levels, geometric means over all rows or columns of all frames: stripes are in all of
    them, the edges of lips and teeth in few. beside: of the neighboring frequencies.
    """

    lines: np.ndarray
    beside: np.ndarray


def line_energy(frames: np.ndarray) -> LineEnergy:
    """The `LineEnergy` of frames uint8 (T, S, S, 3)."""
    levels = gray(region(frames))
    lines, beside = [], []
    for axis in (1, 2):
        power = _power(np.moveaxis(levels, axis, -1))
        half = len(power) - 1
        # A Hann window widens a line to one bin on each side; the next two are beside it.
        for line, near in ((half, (-3, -2)), (half // 2, (-3, -2, 2, 3))):
            lines.append(power[line])
            beside.append(np.exp(np.log(power[line + np.array(near)]).mean()))
    return LineEnergy(np.array(lines), np.array(beside))


def _power(rows: np.ndarray) -> np.ndarray:
    """Geometric mean of the power spectra of signals (T, n, length): float64 (length / 2 + 1,).

    The length is cut to a multiple of 4.
    """
    length = rows.shape[-1] // 4 * 4  # both lines are bins
    window = np.hanning(length + 1)[:length]
    signals = rows[..., :length] - rows[..., :length].mean(axis=-1, keepdims=True)
    power = np.abs(np.fft.rfft(signals * window, axis=-1)) ** 2 / np.square(window).sum()
    return np.exp(np.log(power + ROUNDING_ENERGY).mean(axis=(0, 1)))


def stripes(generated: LineEnergy, gt: LineEnergy) -> float:
    """Energy of periodic stripes: 1 is like the ground truth, 2: as much again as its detail has.

    1 + the generated energy at the lines that exceeds what its neighboring frequencies and the
    ground truth's spectrum let expect, over all lines, relative to the ground truth's energy there.
    """
    expected = generated.beside * gt.lines / gt.beside
    excess = np.maximum(generated.lines - expected, 0).sum()
    return float(1 + excess / gt.lines.sum())


def color_shift(frames: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Mean color of `frames` minus that of `gt`, both (T, S, S, 3): float64 (3,), levels of 255."""
    means = [region(part).mean(axis=(0, 1, 2), dtype=np.float64) for part in (frames, gt)]
    return means[0] - means[1]


def figures(frames: np.ndarray, gt: np.ndarray) -> dict[str, float]:
    """Columns of frames against the ground truth, of one clip.

    stripes: see there. color_shift: the largest of the three, without its sign.
    """
    return {
        "stripes": stripes(line_energy(frames), line_energy(gt)),
        "color_shift": float(np.abs(color_shift(frames, gt)).max()),
    }


class Appearance:
    """Figures of generated frames over batches of equal size."""

    def __init__(self) -> None:
        self.sharpness: list[tuple[float, float]] = []  # generated, ground truth
        self.shifts: list[np.ndarray] = []
        self.energies: list[tuple[LineEnergy, LineEnergy]] = []

    def add(self, frames: np.ndarray, gt: np.ndarray) -> None:
        """Add generated and ground-truth frames: uint8 (T, S, S, 3) twice."""
        self.sharpness.append((mouth.sharpness(frames), mouth.sharpness(gt)))
        self.shifts.append(color_shift(frames, gt))
        self.energies.append((line_energy(frames), line_energy(gt)))

    def result(self) -> dict[str, float]:
        """sharpness_ratio, color_shift_b, _g, _r (levels of 255) and stripes of all frames."""
        sharp, gt_sharp = np.mean(self.sharpness, axis=0)
        # (batches, 2, 2, 4): generated or ground truth, lines or beside them.
        generated, gt = np.mean(np.array(self.energies), axis=0)
        shift = np.mean(self.shifts, axis=0)
        return {
            "sharpness_ratio": float(sharp / max(gt_sharp, 1e-9)),
            **{name: float(value) for name, value in zip(COLOR_SHIFT, shift, strict=True)},
            "stripes": stripes(LineEnergy(*generated), LineEnergy(*gt)),
        }
