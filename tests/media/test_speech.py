"""Voice activity on synthesized speech, and against the package that brings the weights."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.demo.plan import Voice
from lipsync_core.demo.sentences import ENGLISH
from lipsync_core.demo.speech import say
from lipsync_core.errors import LipsyncError
from lipsync_core.media.dnsmos import Dnsmos
from lipsync_core.media.speech import (
    FRAME_SECONDS,
    WEIGHTS,
    SpeechDetector,
    longest_pause,
    speech_segments,
)
from lipsync_core.runtime.onnx_models import bundled_file


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """2 s of silence, a sentence, 1 s of silence, another one; float32 at 16 kHz."""
    first, second = (say(text, Voice("en-us")).wav for text in ENGLISH[:2])
    return np.concatenate([np.zeros(32000), first, np.zeros(16000), second]).astype(np.float32)


def blocks(wave: np.ndarray, size: int) -> list[np.ndarray]:
    return [wave[start : start + size] for start in range(0, len(wave), size)]


def test_probabilities_equal_those_of_the_package(detector, spoken):
    from silero_vad.sequence_vad import SileroVADSequence

    path = bundled_file("silero_vad", "data/silero_vad_16k_sequence.onnx")
    assert path.read_bytes() == WEIGHTS.read_bytes()
    expected = SileroVADSequence(str(path)).audio_forward(spoken)
    np.testing.assert_allclose(detector.probabilities([spoken]), expected, atol=1e-5)


def test_blocks_do_not_change_the_probabilities(detector, spoken):
    whole = detector.probabilities([spoken])
    for size in (333, 20 * 16000):
        found = detector.probabilities(blocks(spoken, size))
        np.testing.assert_allclose(found, whole, atol=1e-5)
    assert detector.probabilities([]).shape == (0,)


def test_segments_are_the_sentences(detector, spoken):
    segments = detector.segments(blocks(spoken, 16000))
    seconds = len(spoken) / 16000
    assert segments[0, 0] == pytest.approx(2.24, abs=0.15)
    assert segments[-1, 1] == pytest.approx(seconds - 0.36, abs=0.3)
    assert np.all(np.diff(segments.ravel()) > 0)
    assert longest_pause(segments, seconds) == pytest.approx(2.24, abs=0.15)


def test_no_speech_in_a_tone_and_in_noise(detector):
    tone = 0.5 * np.sin(np.arange(32000) * 0.2).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    for wave in (tone, noise):
        assert detector.probabilities([wave]).max() < 0.3
        assert detector.segments([wave]).shape == (0, 2)


def frames(*runs: tuple[float, int]) -> np.ndarray:
    return np.repeat([value for value, _ in runs], [count for _, count in runs])


def test_rules_of_segments():
    def found(*runs: tuple[float, int]) -> list[list[float]]:
        return (speech_segments(frames(*runs)) / FRAME_SECONDS).round(6).tolist()

    assert found((0, 5), (0.9, 10), (0, 5)) == [[5, 15]]
    assert found((0, 5), (0.9, 10), (0.4, 5), (0.9, 1), (0, 9)) == [[5, 21]]  # hysteresis
    assert found((0.4, 5), (0.9, 10)) == [[5, 15]]  # 0.4 begins nothing
    assert found((0.9, 10), (0, 3), (0.9, 10)) == [[0, 23]]  # 96 ms are no pause
    assert found((0.9, 10), (0, 4), (0.9, 10)) == [[0, 10], [14, 24]]
    assert found((0, 5), (0.9, 2), (0, 5)) == []  # 64 ms are no speech
    assert speech_segments(np.zeros(0, np.float32)).shape == (0, 2)


def test_longest_pause_counts_the_ends():
    segments = np.array([[1.0, 2.0], [2.5, 3.0]])
    assert longest_pause(segments, 3.2) == 1.0
    assert longest_pause(segments, 6.0) == 3.0
    assert longest_pause(np.zeros((0, 2)), 4.0) == 4.0


def test_dnsmos_equals_the_package_and_hears_noise(spoken):
    speechmos = pytest.importorskip("speechmos.dnsmos")
    dnsmos = Dnsmos()
    clean = dnsmos.score(spoken[:144160])
    expected = speechmos.run(np.resize(spoken[:144160], 144160 + 16000), 16000)
    assert clean.signal == pytest.approx(expected["sig_mos"], abs=0.2)
    noise = np.random.default_rng(0).normal(0, 0.05, 144160).astype(np.float32)
    noisy = dnsmos.score(spoken[:144160] + noise)
    assert noisy.background < clean.background - 1
    assert noisy.overall < clean.overall


def test_a_package_without_the_file():
    with pytest.raises(LipsyncError, match="pip install --force-reinstall silero-vad"):
        bundled_file("silero_vad", "data/none.onnx")
    with pytest.raises(LipsyncError, match="pip install --force-reinstall no-such-package"):
        bundled_file("no_such_package", "x.onnx")
