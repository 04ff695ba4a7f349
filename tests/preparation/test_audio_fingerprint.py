from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.audio import MEL_RATE, melspectrogram
from lipsync_core.preparation.audio_fingerprint import (
    CODE_BITS,
    MAX_LANDMARKS,
    audio_fingerprint,
    landmarks,
)
from tests.support.media_takes import RATE, speech


def found(wav: np.ndarray) -> np.ndarray:
    return landmarks(audio_fingerprint(melspectrogram(wav).T))


def agreeing(one: np.ndarray, other: np.ndarray, lag: float, bits: int = 12) -> int:
    """How many landmarks are `lag` columns apart, within one, with almost equal codes."""
    apart = one["time"][:, None].astype(int) - other["time"][None].astype(int)
    differ = np.unpackbits(one["code"][:, None] ^ other["code"][None], axis=2).sum(axis=2)
    return int(((abs(apart - lag) <= 1) & (differ <= bits)).sum())


def test_landmarks_are_within_the_clip_and_in_order():
    marks = found(speech(1))
    assert 4 <= len(marks) <= MAX_LANDMARKS
    assert (np.diff(marks["time"].astype(int)) > 0).all()
    assert marks["time"].max() < 3 * MEL_RATE
    assert marks["code"].shape[1] * 8 == CODE_BITS


@pytest.mark.parametrize("gain", [0.1, 0.5, 3.0])
def test_a_gain_changes_no_landmark(gain):
    one, other = found(speech(1)), found(gain * speech(1))
    assert agreeing(one, other, 0) >= 0.8 * len(one)


def test_a_trim_moves_them():
    wav = speech(1)
    one, other = found(wav), found(wav[RATE // 2 + 77 :])
    assert agreeing(one, other, 0.5 * MEL_RATE) >= 0.6 * len(other)


def test_other_speech_has_others():
    one = found(speech(1))
    assert sum(agreeing(one, found(speech(seed)), lag) for seed in (2, 3) for lag in (0, 9)) == 0


def test_a_cell_stays_small():
    assert len(audio_fingerprint(melspectrogram(speech(1, 30.0)).T)) <= 480


@pytest.mark.parametrize("wav", [np.zeros(RATE), speech(1)[: RATE // 3]])
def test_silence_and_the_shortest_clips_have_none(wav):
    assert audio_fingerprint(melspectrogram(wav.astype(np.float32)).T) == ""


@pytest.mark.parametrize("text", ["", "no print", "AAAA", "\u00e9"])
def test_what_is_no_fingerprint_has_no_landmarks(text):
    assert len(landmarks(text)) == 0
