"""Intervals: coverage in simulation, speakers as units, determinism."""

import math

import numpy as np
import pytest

from lipsync_core.evaluation.statistics import (
    _tempered,
    bootstrap_t,
    closeness,
    interval,
    rank_correlation,
)

SHAPES = {
    "beta": lambda rng, count: rng.beta(8, 2, count),
    "gamma": lambda rng, count: rng.gamma(4, 0.2, count),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("speakers", [6, 20])
def test_intervals_cover_the_truth(speakers, shape):
    """400 experiments at 3 clips a speaker; three standard errors around 95 %."""
    rng = np.random.default_rng(speakers)
    inside = 0
    for _ in range(400):
        means = SHAPES[shape](rng, speakers)
        values = (means[:, None] + 0.02 * rng.normal(size=(speakers, 3))).ravel()
        found = interval(values, np.repeat(np.arange(speakers), 3), resamples=400)
        inside += found.low <= 0.8 <= found.high
    assert 0.917 <= inside / 400 <= 0.983


def test_speakers_are_the_units_where_there_are_enough():
    """Many clips of a speaker do not narrow the interval."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=8)
    few = interval(means, range(8))
    many = interval(np.repeat(means, 50), np.repeat(np.arange(8), 50))
    assert (many.by, many.units, many.n) == ("speaker", 8, 400)
    assert many[:3] == pytest.approx(few[:3])
    by_clip = interval(np.repeat(means[:2], 50), np.repeat(np.arange(2), 50))
    assert (by_clip.by, by_clip.units) == ("clip", 100)


def test_every_speaker_counts_the_same():
    found = interval([1.0] * 10 + [0.0] * 6, [0] * 10 + list(range(1, 7)))
    assert found.value == pytest.approx(1 / 7)


def test_unknown_values_are_left_out_and_few_give_no_interval():
    found = interval([1.0, math.nan, 3.0], "abc")
    assert (found.value, found.n) == (2, 2)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(interval([math.nan], "a").value)


def test_equal_inputs_give_equal_intervals():
    units = np.random.default_rng(1).normal(size=9)
    assert bootstrap_t(units, 3) == bootstrap_t(units, 3) != bootstrap_t(units, 4)
    assert bootstrap_t(np.ones(9)) == (1, 1)


def test_with_few_units_the_interval_is_students():
    low, high = bootstrap_t(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)


def test_bootstrap_quantiles_are_moved_towards_students():
    assert _tempered(np.array([-1.0, 3.0]), 2.0).tolist() == [-1.5, 3.0]
    assert _tempered(np.array([-9.0, -1.0]), 2.0).tolist() == [-6.0, 1.0]


def test_closeness_is_one_for_the_ground_truth_and_falls_on_both_sides():
    assert closeness(2.0, 2.0) == 1
    assert closeness(1.0, 2.0) == closeness(3.0, 2.0) == 0.5
    assert math.isnan(closeness(1.0, 0.0))


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, math.nan], [10, 20, 90, 0]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=1e-4)
    assert math.isnan(rank_correlation([1, 2], [1, 2]))
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
