"""Claim: the intervals of an evaluation cover the truth in 93 to 97 % of experiments.

    python benchmarks/intervals.py [--experiments 1000]

Simulated experiments with 6, 20 and 60 speakers of 3 clips, whose means have a known distribution;
the claim leaves out those in brackets. Beside the studentized bootstrap: Student's t and the
percentile bootstrap.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.evaluation.statistics import bootstrap_t

CLIPS, CLIP_STD, RESAMPLES = 3, 0.3, 1000
Shape = tuple[Callable[[np.random.Generator, int], np.ndarray], float]
# Samples of a shape, and their mean. Figures of real speakers: docs/log.md.
SHAPES: dict[str, Shape] = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "uniform": (lambda rng, n: rng.random(n) * 3, 1.5),
    "fraction, beta(8, 2)": (lambda rng, n: 5 * rng.beta(8, 2, n), 4.0),
    "gamma(4)": (lambda rng, n: rng.gamma(4, 0.5, n), 2.0),
    "lognormal 0.3": (lambda rng, n: np.exp(0.3 * rng.normal(size=n)), math.exp(0.045)),
    "lognormal 0.5": (lambda rng, n: np.exp(0.5 * rng.normal(size=n)), math.exp(0.125)),
    "Laplace": (lambda rng, n: rng.laplace(size=n), 0.0),
    # Harder than figures of speakers are: for the limits of the method.
    "(exponential)": (lambda rng, n: rng.exponential(size=n), 1.0),
    "(two groups)": (lambda rng, n: 3.0 * rng.integers(0, 2, n), 1.5),
}


def student(units: np.ndarray) -> tuple[float, float]:
    """Student's t interval."""
    reach = stdtrit(len(units) - 1, 0.975) * units.std(ddof=1) / math.sqrt(len(units))
    return units.mean() - reach, units.mean() + reach


def percentile(units: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap interval."""
    rng = np.random.default_rng(0)
    means = units[rng.integers(len(units), size=(RESAMPLES, len(units)))].mean(axis=1)
    return tuple(np.quantile(means, [0.025, 0.975]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000)
    experiments = parser.parse_args().experiments
    methods = {
        "studentized": lambda units: bootstrap_t(units, resamples=RESAMPLES),
        "Student's t": student,
        "percentile": percentile,
    }
    print(f"coverage of 95 % intervals, {experiments} experiments; median width in brackets")
    print(f"{'speakers':9s}{'distribution':22s}" + "".join(f"{name:>18s}" for name in methods))
    for speakers in (6, 20, 60):
        for shape, (sample, truth) in SHAPES.items():
            rng = np.random.default_rng(speakers)
            inside, widths = dict.fromkeys(methods, 0), {name: [] for name in methods}
            for _ in range(experiments):
                noise = CLIP_STD * rng.normal(size=(speakers, CLIPS)).mean(axis=1)
                units = sample(rng, speakers) + noise
                for name, method in methods.items():
                    low, high = method(units)
                    inside[name] += low <= truth <= high
                    widths[name].append(high - low)
            cells = (
                f"{100 * inside[name] / experiments:10.1f} ({np.median(widths[name]):5.2f})"
                for name in methods
            )
            print(f"{speakers:<9d}{shape:22s}" + "".join(f"{cell:>18s}" for cell in cells))


if __name__ == "__main__":
    main()
