"""Metrics on NumPy arrays; nan where there is nothing to average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EPSILON = 1e-6  # lower bound of a probability in a logarithm
BINS = 10  # of the reliability curve


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the ROC curve: P(positive scores above negative), ties count one half.

    By ranks (Mann and Whitney, 1947). Arrays of any shape.
    """
    if not np.size(positives) or not np.size(negatives):
        return float("nan")
    ordered = np.sort(negatives, axis=None)
    below = np.searchsorted(ordered, np.ravel(positives), side="left")
    not_above = np.searchsorted(ordered, np.ravel(positives), side="right")
    return float(np.mean((below + not_above) / 2) / len(ordered))


def accuracy(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Balanced accuracy: mean fraction of positives above 0.5 and of negatives at or below it."""
    positives, negatives = np.asarray(positives), np.asarray(negatives)
    return (fraction(positives > 0.5) + fraction(negatives <= 0.5)) / 2


def bce(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Binary cross entropy of probabilities; positives and negatives have equal weight."""
    return (sync_loss(positives) + sync_loss(1 - np.asarray(negatives))) / 2


def sync_loss(cosines: np.ndarray) -> float:
    """Cross entropy of cosines in [0, 1] against "in sync"; equals `losses.sync_loss`."""
    if not np.size(cosines):
        return float("nan")
    return float(-np.log(np.clip(cosines, EPSILON, 1)).mean())


class Bin(NamedTuple):
    """A point of the reliability curve: the pairs with a probability in [low, high).

    mean: their mean probability. positive_fraction: the fraction of them that are in sync.
    weight: their fraction of all pairs. In both, pairs in sync and out of sync have equal weight.
    count: their number.
    """

    low: float
    high: float
    mean: float
    positive_fraction: float
    weight: float
    count: int


def calibration(positives: np.ndarray, negatives: np.ndarray) -> list[Bin]:
    """Reliability curve of probabilities: ten equal bins over [0, 1] without the empty ones.

    Positives and negatives have equal weight, as in `bce`. Arrays of any shape.
    """
    if not np.size(positives) or not np.size(negatives):
        return []
    groups = [np.ravel(positives).astype(np.float64), np.ravel(negatives).astype(np.float64)]
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 0.5 / len(group)) for group in groups])
    positive = np.arange(len(values)) < len(groups[0])
    index = np.clip(np.nan_to_num(values * BINS).astype(int), 0, BINS - 1)
    count, weight, mean, hits = (
        np.bincount(index, of, BINS) for of in (None, weights, weights * values, weights * positive)
    )
    return [
        Bin(
            i / BINS,
            (i + 1) / BINS,
            float(mean[i] / weight[i]),
            float(hits[i] / weight[i]),
            float(weight[i]),
            int(count[i]),
        )
        for i in np.flatnonzero(count).tolist()
    ]


def ece(curve: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al., 2017): mean gap of a reliability curve's bins."""
    if not curve:
        return float("nan")
    return sum(point.weight * abs(point.mean - point.positive_fraction) for point in curve)


def top1(scores: np.ndarray) -> float:
    """Fraction of rows with the strict maximum on the diagonal: scores (G, K, K) -> [0, 1]."""
    own = np.diagonal(scores, axis1=1, axis2=2)
    others = scores + np.where(np.eye(scores.shape[1], dtype=bool), -np.inf, 0)
    return float(np.mean(own > others.max(axis=2)))


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB for the mean squared error of images in [0, 1]."""
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))


def fraction(flags: np.ndarray) -> float:
    """Mean of booleans; nan for none."""
    return float(np.mean(flags)) if np.size(flags) else float("nan")
