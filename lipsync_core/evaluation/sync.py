"""How far a clip is out of sync, how sure that is, and whether the offset drifts.

Statistics of the distances of `av_offset.window_distances`, of any network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lipsync_core.evaluation.av_offset import MAX_SHIFT, SHIFTS, best_shift, summarize
from lipsync_core.media.timestamps import FPS

BLOCK = 10  # windows that are drawn together: neighbors share frames and sounds
RESAMPLES = 200
TOLERANCE = 1  # frames
MIN_DRIFT = 2.0  # frames over the clip; a smaller change is no drift
MIN_DRIFT_SECONDS = 6.0  # of a clip in which a drift can be told
DRIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 0.25, 0.5)  # frames over the clip that are tried
DRIFT_AGREEMENT = 0.95


class SyncMeasure(NamedTuple):
    """The audio-visual offset of a clip.

    offset: frames of 40 ms, -15..15; above 0 the video is late. confidence: median minus smallest
    mean distance, in the network's own unit. agreement: share of bootstrap resamples of the clip's
    windows whose offset is within one frame of it, 0..1: comparable between networks. low, high:
    the 95 % interval of the offset. drift: frames by which the offset grows from the first to the
    last window; 0 where it is constant, or the clip too short to tell. windows: their number.
    """

    offset: int
    confidence: float
    agreement: float
    low: int
    high: int
    drift: float
    windows: int

    def correction(self, min_agreement: float) -> int | None:
        """The offset that the audio is to be shifted for, 0 for none; None if it cannot be told.

        A single frame is corrected only if 0 lies outside of the interval.
        """
        if self.agreement < min_agreement or self.drift:
            return None
        near = abs(self.offset) <= TOLERANCE and self.low <= 0 <= self.high
        return 0 if near else self.offset

    @classmethod
    def parse(cls, row: Mapping[str, str]) -> SyncMeasure:
        """The measure of a table's row, whose columns have the names of the fields."""
        whole = ("offset", "low", "high", "windows")
        return cls(*((int if name in whole else float)(row[name]) for name in cls._fields))


def measure(distances: np.ndarray, starts: np.ndarray) -> SyncMeasure:
    """The offset of a clip, from the distances of its windows; deterministic.

    distances: float32 (N, 31), see `window_distances`. starts: int64 (N,), the first frames of the
    windows, rising.
    """
    found = summarize(distances)
    weights = _resample_weights(len(distances))
    offsets = -SHIFTS[best_shift(_resampled_means(distances, weights))]
    low, high = np.percentile(offsets, (2.5, 97.5), method="nearest")
    return SyncMeasure(
        offset=found.offset,
        confidence=found.confidence,
        agreement=float(np.mean(np.abs(offsets - found.offset) <= TOLERANCE)),
        low=int(low),
        high=int(high),
        drift=_drift(distances, starts, weights),
        windows=len(distances),
    )


def describe(offset: int) -> str:
    """An offset in words: "the picture comes 80 ms late"."""
    if not offset:
        return "in sync"
    return f"the picture comes {abs(offset) * 1000 // FPS} ms {'late' if offset > 0 else 'early'}"


def _resample_weights(count: int) -> np.ndarray:
    """How often each window is in each resample: float64 (RESAMPLES, N), blocks drawn at random."""
    blocks = np.arange(count) // BLOCK
    total = int(blocks[-1]) + 1
    drawn = np.random.default_rng(0).multinomial(total, np.full(total, 1 / total), RESAMPLES)
    return drawn[:, blocks].astype(np.float64)


def _resampled_means(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means over the windows: (N, ...) and (RESAMPLES, N) -> (RESAMPLES, ...)."""
    present = ~np.isnan(distances)
    enough = 2 * present.sum(axis=0) >= len(distances)
    flat = np.where(present, distances, 0).reshape(len(distances), -1)
    sums, counts = weights @ flat, weights @ present.reshape(flat.shape)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.where(enough, means.reshape(len(weights), *distances.shape[1:]), np.nan)


def _drift(distances: np.ndarray, starts: np.ndarray, weights: np.ndarray) -> float:
    """The change of the offset over the clip in frames, 0 where none is certain."""
    length = int(starts[-1] - starts[0])
    if length < MIN_DRIFT_SECONDS * FPS:
        return 0.0
    place = (starts - starts[0]) / length - 0.5
    lowest = np.stack(
        [_means_along(distances, place * drift, weights) for drift in DRIFTS], axis=1
    )  # (RESAMPLES, drifts)
    nearest = np.argsort(np.abs(DRIFTS), kind="stable")  # of equal ones the smaller drift
    drifts = DRIFTS[nearest[lowest[:, nearest].argmin(axis=1)]]
    best = float(np.median(drifts))
    certain = np.mean(np.sign(best) * drifts >= MIN_DRIFT) >= DRIFT_AGREEMENT
    return best if abs(best) >= MIN_DRIFT and certain else 0.0


def _means_along(distances: np.ndarray, change: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smallest mean distance of each resample if the offset changes by `change` (N,): (RESAMPLES,).

    Places beyond the largest shift have no distance.
    """
    index = np.arange(len(SHIFTS)) - np.round(change).astype(int)[:, None]  # offset = -shift
    inside = (index >= 0) & (index < len(SHIFTS))
    moved = np.take_along_axis(distances, np.clip(index, 0, len(SHIFTS) - 1), axis=1)
    means = _resampled_means(np.where(inside, moved, np.nan), weights)
    return np.where(np.isnan(means), np.inf, means).min(axis=1)
