from __future__ import annotations

import io

import numpy as np
import pytest

from lipsync_core.media import audio_alignment

LENGTH = 320


def laid(stamps, lengths=None) -> np.ndarray:
    """Packets whose samples count up from 1, on the clock."""
    stamps = np.asarray(stamps, np.int64)
    lengths = np.full(len(stamps), LENGTH) if lengths is None else np.asarray(lengths)
    samples = (np.arange(lengths.sum()) % 30_000 + 1).astype("<i2")
    runs = audio_alignment.plan_corrections(stamps, lengths)
    blocks = [samples[:0], *audio_alignment.apply(io.BytesIO(samples.tobytes()), runs)]
    return np.concatenate(blocks)


def test_whole_sound_is_untouched():
    stamps = np.arange(50) * LENGTH
    assert np.array_equal(laid(stamps), np.arange(50 * LENGTH) + 1)
    # Rounding of the container to milliseconds is no deviation.
    shaken = stamps + np.random.default_rng(0).integers(-8, 9, 50)
    shaken[0] = 0
    assert np.array_equal(laid(shaken), np.arange(50 * LENGTH) + 1)


@pytest.mark.parametrize("start", [1, 100, 8000])
def test_late_sound_begins_with_silence(start):
    sound = laid(np.arange(20) * LENGTH + start)
    assert len(sound) == 20 * LENGTH + start
    assert not sound[:start].any()
    assert sound[start] == 1


@pytest.mark.parametrize("start", [-1, -100, -1000])
def test_sound_before_zero_is_cut(start):
    sound = laid(np.arange(20) * LENGTH + start)
    assert len(sound) == pytest.approx(20 * LENGTH + start, abs=audio_alignment.MIN_SHIFT_SAMPLES)
    assert sound[0] == pytest.approx(1 - start, abs=audio_alignment.MIN_SHIFT_SAMPLES)
    assert laid(np.arange(3) * LENGTH - 5000).size == 0


def test_lost_packets_become_silence():
    stamps = np.arange(40) * LENGTH
    kept = np.r_[0:20, 23:40]
    sound = laid(stamps[kept])
    assert len(sound) == 40 * LENGTH
    assert not sound[20 * LENGTH : 23 * LENGTH].any()
    assert sound[23 * LENGTH] == 20 * LENGTH + 1


def test_doubled_packets_are_cut():
    stamps = np.r_[np.arange(20), np.arange(17, 40)] * LENGTH
    sound = laid(stamps)
    assert len(sound) == 40 * LENGTH
    assert sound[20 * LENGTH] == 23 * LENGTH + 1


def test_drift_is_followed_smoothly():
    # A recorder whose sound runs 0.2 % slow for 40 s: 80 ms, if only joined.
    stamps = np.round(np.arange(2000) * LENGTH * 1.002).astype(int)
    runs = list(audio_alignment.plan_corrections(stamps, np.full(2000, LENGTH)))
    assert not any(run.silence or run.skip for run in runs)
    assert sum(run.take for run in runs) == 2000 * LENGTH
    assert sum(run.give for run in runs) == pytest.approx(2000 * LENGTH * 1.002, abs=64)
    rising = np.diff(laid(stamps).astype(int))
    assert set(rising.tolist()) <= {0, 1, -29_999}


def test_one_odd_stamp_does_nothing():
    stamps = np.arange(50) * LENGTH
    stamps[20] += 16_000
    assert np.array_equal(laid(stamps), np.arange(50 * LENGTH) + 1)
