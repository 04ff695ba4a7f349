"""sync.py: the offset of a clip, its interval and its drift, from distances of windows."""

import numpy as np
import pytest

from lipsync_core.evaluation.av_offset import SHIFTS
from lipsync_core.evaluation.sync import SyncMeasure, describe, measure


def distances(offsets, noise=0.05, seed=0):
    """Distances of windows with the given offsets: 0.2 where a shift is right, else about 1."""
    offsets = np.asarray(offsets)
    rng = np.random.default_rng(seed)
    found = 1 + noise * rng.standard_normal((len(offsets), len(SHIFTS)))
    found[np.arange(len(offsets)), 15 - offsets] = 0.2
    return found.astype(np.float32), np.arange(len(offsets))


@pytest.mark.parametrize("offset", (-15, -4, 0, 9, 15))
def test_constant_offset_is_found_with_certainty(offset):
    found = measure(*distances(np.full(70, offset)))
    assert (found.offset, found.low, found.high, found.drift) == (offset, offset, offset, 0)
    assert found.agreement == 1
    assert found.confidence == pytest.approx(0.8, abs=0.02)


def test_noise_has_little_agreement():
    rng = np.random.default_rng(3)
    found = measure(rng.standard_normal((70, 31)).astype(np.float32), np.arange(70))
    assert found.agreement < 0.7
    assert found.high - found.low > 2


def test_offset_that_grows_along_the_clip_is_drift():
    offsets = np.round(np.linspace(-4, 5, 250)).astype(int)
    assert measure(*distances(offsets)).drift == pytest.approx(9, abs=1)
    assert measure(*distances(-offsets)).drift == pytest.approx(-9, abs=1)


def test_drift_is_told_from_a_constant_offset_in_noise():
    for seed in range(10):
        assert measure(*distances(np.full(250, 6), noise=0.4, seed=seed)).drift == 0


def test_windows_without_audio_do_not_count():
    found, starts = distances(np.full(40, 12))
    found[:12, 3:5] = np.nan  # the audio of the best shift begins later
    assert measure(found, starts).offset == 12
    found[:25, 3] = np.nan  # now it covers less than half of the windows
    assert measure(found, starts).offset != 12


def test_equal_input_gives_equal_measures():
    assert measure(*distances(np.full(70, 2), noise=0.6)) == measure(
        *distances(np.full(70, 2), noise=0.6)
    )


def test_measure_of_a_table_row():
    found = measure(*distances(np.full(70, 2), noise=0.6))
    assert SyncMeasure.parse({name: str(value) for name, value in found._asdict().items()}) == found


def test_offset_in_words():
    assert describe(2) == "the picture comes 80 ms late"
    assert describe(-1) == "the picture comes 40 ms early"
    assert describe(0) == "in sync"
