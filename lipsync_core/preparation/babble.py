"""Babble: many voices at once, which a voice activity detector takes for speech.

A linear discriminant of seven features of the sound, fitted by `benchmarks/babble.py`. One voice
pauses, its loudness varies, its samples are far from normally distributed, and its pitch shows in
the autocorrelation; all of that averages out over six voices and more. Noise does the same to one
voice, but it fills the pauses with what is no speech, and the high band with a constant level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lipsync_core.media.audio import SAMPLE_RATE
from lipsync_core.media.speech import FRAME_SAMPLES, ONSET

PITCH_LAGS = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70)  # periods of 400 to 70 Hz
FFT_SAMPLES = 4 * FRAME_SAMPLES
BANDS = ((4, 16), (32, 64), (128, 224))  # bins of 31 Hz: 125 to 500 Hz, 1 to 2 and 4 to 7 kHz
SURE_PAUSE = 0.2  # probability of speech below which a frame is a pause
MIN_POWER = 1e-12
# log kurtosis, periodicity, level, the three bands, pauses; then the constant.
WEIGHTS = np.array([-11.26, -46.18, -2.06, -0.65, 1.42, 1.66, -21.22])
BIAS = 44.51


class FrameStatistics(NamedTuple):
    """Of each frame of 32 ms: mean square (n,), mean fourth power (n,), periodicity (n,), and level
    in the three BANDS in dB (n, 3); float32.

    periodicity: the largest autocorrelation at the periods of a voice, of the frame and the next
    one, 0 to about 1 (Boersma, 1993, without interpolation).
    """

    square: np.ndarray
    fourth: np.ndarray
    periodicity: np.ndarray
    bands: np.ndarray


def frame_statistics(wave: np.ndarray) -> FrameStatistics:
    """Statistics of a block, float32 (n,); a last part of a frame is padded with silence."""
    count = -(-len(wave) // FRAME_SAMPLES)
    frames = np.zeros((count + 1, FRAME_SAMPLES), np.float32)
    frames.reshape(-1)[: len(wave)] = wave
    pairs = np.concatenate([frames[:-1], frames[1:]], axis=1)
    pairs -= pairs.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(pairs, FFT_SAMPLES, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, : PITCH_LAGS.stop]
    overlap = 1 - np.arange(PITCH_LAGS.stop) / pairs.shape[1]
    correlation /= overlap * (correlation[:, :1] + 1e-9)
    spectrum = np.abs(np.fft.rfft(frames[:-1] * np.hanning(FRAME_SAMPLES), axis=1)) ** 2
    bands = [spectrum[:, low:high].mean(axis=1) for low, high in BANDS]
    squares = np.square(frames[:-1])
    return FrameStatistics(
        squares.mean(axis=1),
        np.square(squares).mean(axis=1),
        correlation[:, PITCH_LAGS].max(axis=1).astype(np.float32),
        _decibels(np.stack(bands, axis=1)).astype(np.float32),
    )


def joined(parts: list[FrameStatistics]) -> FrameStatistics:
    """The statistics of blocks that follow each other."""
    return FrameStatistics(*map(np.concatenate, zip(*parts, strict=True)))


def features(probabilities: np.ndarray, statistics: FrameStatistics) -> np.ndarray:
    """Features of a sound, float64 (7,), over its frames of speech.

    probabilities: (n,) of speech, at least one of which is 0.5 or more.
    """
    square, fourth, periodicity, bands = statistics
    speech = probabilities >= ONSET
    kurtosis = fourth[speech].mean() / max(float(square[speech].mean()) ** 2, MIN_POWER**2)
    return np.array(
        [
            np.log(kurtosis),
            np.percentile(periodicity[speech], 90),
            _decibels(square[speech]).std(),
            *bands[speech].std(axis=0),
            np.mean(probabilities < SURE_PAUSE),
        ],
        np.float64,
    )


def babble_score(probabilities: np.ndarray, statistics: FrameStatistics) -> float:
    """Log odds that the speech in a sound is babble; arguments as for `features`."""
    return float(features(probabilities, statistics) @ WEIGHTS + BIAS)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, MIN_POWER))
