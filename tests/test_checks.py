from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.checks import check, loudness
from lipsync_core.errors import ClipError

GOOD = {
    "frames": "50",
    "seconds": "2.0",
    "audio_seconds": "2.04",
    "loudness": "-20",
    "faces": "49",
    "face_px": "90",
}
LIMITS = {
    "min_seconds": 0.64,
    "max_seconds": 60,
    "min_coverage": 0.8,
    "min_face_px": 48,
    "min_loudness": -60,
    "max_length_difference": 1.0,
}


def test_good_clip_passes():
    check(GOOD, LIMITS)


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        ({"frames": "15"}, "too_short"),
        ({"seconds": "0.5", "audio_seconds": "0.5"}, "too_short"),
        ({"seconds": "61", "audio_seconds": "61"}, "too_long"),
        ({"audio_seconds": "0.9"}, "length_mismatch"),
        ({"audio_seconds": "3.1"}, "length_mismatch"),
        ({"frames": "24", "faces": "24"}, "length_mismatch"),
        ({"faces": "39"}, "low_coverage"),
        ({"face_px": "47"}, "small_face"),
        ({"loudness": "-61"}, "silent"),
    ],
)
def test_each_reason(measure, reason):
    with pytest.raises(ClipError) as caught:
        check(GOOD | measure, LIMITS)
    assert caught.value.reason == reason


def test_loudness_of_known_waves():
    full = np.sin(np.arange(16000) * 2 * np.pi * 100 / 16000).astype(np.float32)
    assert loudness(full) == pytest.approx(-3.01, abs=0.02)
    assert loudness(full / 10) == pytest.approx(-23.01, abs=0.02)
    assert loudness(iter((full[:700], full[700:]))) == loudness(full)
    assert loudness(np.zeros(100, np.float32)) == -120
    assert loudness(np.zeros(0, np.float32)) == -120
