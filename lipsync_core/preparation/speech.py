"""Measures of the speech in a clip's audio: is it one voice, how much, and how clean.

Silero VAD also takes many voices at once (babble) and some synthesizers for speech. Three
properties of the samples tell them from one voice; their bounds come from 158 real recordings (also
with noise, music and babble added), 160 babbles of 6 to 12 of their voices, and 80 synthesized
melodies of sung vowels (`benchmarks/speech.py`, docs/log.md).
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lipsync_core.media.audio import BLOCK_SAMPLES, SAMPLE_RATE, open_wav, to_float, wav_blocks
from lipsync_core.media.dnsmos import WINDOW_SAMPLES, Dnsmos, Scores
from lipsync_core.media.speech import (
    FRAME_SAMPLES,
    ONSET,
    SpeechDetector,
    longest_pause,
    speech_segments,
)
from lipsync_core.preparation.stages import Measures

DNSMOS_SPACING = 30  # seconds of audio for each window that DNSMOS rates
PITCH_LAGS = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70)  # periods of 400 to 70 Hz
FFT_SAMPLES = 4 * FRAME_SAMPLES
ACTIVE_LEVEL = 1e-3  # of the loudest frame's energy: 30 dB below it
# Babble of 6 to 12 voices: kurtosis 3.1 to 4.3, periodicity 0.45 to 0.78, background 1.0 to 1.6.
# Clips of one voice: one of 134 has a kurtosis below 4.4 (3.86), none a periodicity below 0.81.
BABBLE_KURTOSIS = 4.4
BABBLE_PERIODICITY = 0.79
BABBLE_BACKGROUND = 1.7
# Sung vowels of a synthesizer: at least 0.99 and at most 0.6. Real clips: at most 0.96; at least
# 0.62, and 0.3 with music as loud as the speech.
MUSIC_PERIODICITY = 0.975
MUSIC_SPEECH_ENERGY = 0.75


class FrameStatistics(NamedTuple):
    """Of each frame of 32 ms: mean square, mean fourth power, and periodicity. float32 (n,) each.

    periodicity: the largest autocorrelation at the periods of a voice, of the frame and the next
    one, 0 to about 1 (Boersma, 1993, without interpolation).
    """

    square: np.ndarray
    fourth: np.ndarray
    periodicity: np.ndarray


class SpeechMeter:
    """Measures of the speech in many files, with models that are loaded once.

    dnsmos: "all" rates each file, "sample" a share of the short ones (see `is_sampled`), "off" only
    those that may be babble.
    """

    def __init__(self, dnsmos: Literal["all", "sample", "off"] = "sample") -> None:
        self._detector = SpeechDetector()
        self._mode = dnsmos

    @functools.cached_property
    def _dnsmos(self) -> Dnsmos:
        return Dnsmos()

    def measure(self, wav: Path, name: str = "") -> Measures:
        """Measures of a file of `audio.extract_audio`; about 16 bytes of memory for each 32 ms.

        name: the clip's id, from which the sample of DNSMOS is drawn.

        Returns audio_kind ("speech" of one voice, "babble" of many, "music", "no_speech");
        speech_seconds and speech_ratio (of the time) of one voice's speech; longest_pause (seconds
        without it, also before and after it); where DNSMOS rated it, signal_mos, background_mos,
        overall_mos (1 to 5).
        """
        stream, parts, seconds = self._detector.stream(), [], 0.0
        for block in wav_blocks(wav, BLOCK_SAMPLES // FRAME_SAMPLES * FRAME_SAMPLES):
            stream.add(block)
            parts.append(frame_statistics(block))
            seconds += len(block) / SAMPLE_RATE
        probabilities = stream.finish()
        scores = None
        if self._mode == "all" or (self._mode == "sample" and is_sampled(name, seconds)):
            scores = self.quality(wav)
        kind = "no_speech"
        if len(speech_segments(probabilities)):
            kind = _kind(
                probabilities, FrameStatistics(*map(np.concatenate, zip(*parts, strict=True)))
            )
        if kind == "babble":
            scores = scores or self.quality(wav)
            kind = kind if scores.background < BABBLE_BACKGROUND else "speech"
        segments = speech_segments(probabilities if kind == "speech" else probabilities[:0])
        spoken = float(np.diff(np.minimum(segments, seconds), axis=1).sum())
        found: Measures = {
            "audio_kind": kind,
            "speech_seconds": round(spoken, 2),
            "speech_ratio": round(spoken / seconds, 4) if seconds else 0.0,
            "longest_pause": round(longest_pause(segments, seconds), 2),
        }
        if scores:
            found |= {f"{name}_mos": round(value, 2) for name, value in scores._asdict().items()}
        return found

    def quality(self, wav: Path) -> Scores:
        """Mean DNSMOS scores of windows of 9 s spread over a file, one for each 30 s."""
        scores = []
        with open_wav(wav) as stream:
            samples = stream.getnframes()
            count = max(1, samples // (DNSMOS_SPACING * SAMPLE_RATE))
            for number in range(count):
                middle = (number + 0.5) * samples / count
                stream.setpos(int(max(0, middle - WINDOW_SAMPLES / 2)))
                block = np.frombuffer(stream.readframes(WINDOW_SAMPLES), "<i2")
                scores.append(self._dnsmos.score(to_float(block)))
        return Scores(*np.mean(scores, axis=0).tolist())


def is_sampled(name: str, seconds: float) -> bool:
    """Whether DNSMOS rates a clip: always from 30 s on, a shorter one with the chance seconds/30.

    It takes 0.25 s of processor time a clip of any length up to 30 s: for each of the twenty clips
    of 3 s in a minute, 5 s. By chance it takes half a second a minute.
    """
    return zlib.crc32(f"dnsmos {name}".encode("utf-8", "surrogateescape")) / 2**32 < (
        seconds / DNSMOS_SPACING
    )


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
    squares = np.square(frames[:-1])
    return FrameStatistics(
        squares.mean(axis=1),
        np.square(squares).mean(axis=1),
        correlation[:, PITCH_LAGS].max(axis=1).astype(np.float32),
    )


def _kind(probabilities: np.ndarray, statistics: FrameStatistics) -> str:
    """What the detected speech is by its samples: "speech", "music" or perhaps "babble".

    probabilities: (n,), at least one of which is 0.5 or more.
    """
    square, fourth, periodicity = statistics
    speech = probabilities >= ONSET
    kurtosis = fourth[speech].mean() / max(float(square[speech].mean()) ** 2, 1e-20)
    if kurtosis < BABBLE_KURTOSIS and np.percentile(periodicity[speech], 90) < BABBLE_PERIODICITY:
        return "babble"
    beside = np.convolve(speech, np.ones(3), "same") > 0
    energy = square[beside].sum() / max(float(square.sum()), 1e-20)
    active = square > ACTIVE_LEVEL * square.max()
    tonal = np.median(periodicity[active]) > MUSIC_PERIODICITY
    return "music" if tonal and energy < MUSIC_SPEECH_ENERGY else "speech"
