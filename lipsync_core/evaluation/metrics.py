"""Measures of trained networks: numpy in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting one half.

    The area under the ROC curve, by ranks (Mann and Whitney, 1947). Arrays of any shape.
    """
    positives, negatives = np.ravel(positives), np.ravel(negatives)
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    not_above = np.searchsorted(ordered, positives, side="right")
    return float(np.mean((below + not_above) / 2) / len(negatives))


def accuracy(positives: np.ndarray, negatives: np.ndarray, threshold: float = 0.5) -> float:
    """Mean of the shares of positives above and of negatives at or below `threshold`."""
    if not np.size(positives) or not np.size(negatives):
        return float("nan")
    return float((np.mean(positives > threshold) + np.mean(negatives <= threshold)) / 2)


def bce(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Binary cross entropy of probabilities, positives and negatives in equal shares."""
    if not np.size(positives) or not np.size(negatives):
        return float("nan")
    right = np.log(np.clip(positives, 1e-6, 1)).mean()
    wrong = np.log(np.clip(1 - np.asarray(negatives), 1e-6, 1)).mean()
    return float(-(right + wrong) / 2)


class Bin(NamedTuple):
    """Pairs whose probability lies in [low, high): a point of the reliability curve.

    mean: of their probabilities. positive_fraction: of pairs in sync among them, had there been as
    many pairs in sync as out of sync in all. weight: their share of all pairs, likewise; count:
    their number.
    """

    low: float
    high: float
    mean: float
    positive_fraction: float
    weight: float
    count: int


def calibration(positives: np.ndarray, negatives: np.ndarray, bins: int = 10) -> list[Bin]:
    """The reliability curve of probabilities: equal bins over [0, 1], the empty ones left out.

    Positives and negatives count in equal shares, as in `bce`. Arrays of any shape.
    """
    positives, negatives = np.ravel(positives), np.ravel(negatives)
    if not len(positives) or not len(negatives):
        return []
    values = np.concatenate([positives, negatives]).astype(np.float64)
    halves = [np.full(len(part), 0.5 / len(part)) for part in (positives, negatives)]
    weights, right = np.concatenate(halves), np.arange(len(values)) < len(positives)
    place = np.clip((values * bins).astype(int), 0, bins - 1)
    found = []
    for index in np.unique(place):
        here = place == index
        weight = float(weights[here].sum())
        mean = float((weights * values)[here].sum() / weight)
        positive_fraction = float(weights[here & right].sum() / weight)
        found.append(
            Bin(
                index / bins,
                (index + 1) / bins,
                mean,
                positive_fraction,
                weight,
                int(np.count_nonzero(here)),
            )
        )
    return found


def ece(curve: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al., 2017): mean gap of a reliability curve's bins."""
    if not curve:
        return float("nan")
    return sum(point.weight * abs(point.mean - point.positive_fraction) for point in curve)


def top1(scores: np.ndarray) -> float:
    """Share of rows whose diagonal is the strict maximum: scores (G, K, K) -> [0, 1]."""
    right = np.diagonal(scores, axis1=1, axis2=2)
    others = scores + np.where(np.eye(scores.shape[1], dtype=bool), -np.inf, 0)
    return float(np.mean(right > others.max(axis=2)))


def sync_loss(cosines: np.ndarray) -> float:
    """Cross entropy of cosines in [0, 1] against "in sync", nan for none; as `losses.sync_loss`."""
    if not np.size(cosines):
        return float("nan")
    return float(-np.log(np.clip(cosines, 1e-6, 1)).mean())


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB for the mean squared error of images in [0, 1]."""
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))


def share(flags: np.ndarray) -> float:
    """Mean of booleans; nan for none."""
    return float(np.mean(flags)) if np.size(flags) else float("nan")
