"""Measures of the speech in a clip's audio: is it one voice, how much, and how clean.

Silero VAD also takes many voices at once (babble) and some synthesizers for speech; the samples
tell them from one voice. The bounds come from 158 real recordings (also with noise, music and
babble added), babbles of their voices, and 80 synthesized melodies of sung vowels
(`benchmarks/speech.py`, docs/log.md).
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Literal

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
from lipsync_core.preparation.babble import (
    MIN_POWER,
    FrameStatistics,
    babble_score,
    frame_statistics,
    joined,
)
from lipsync_core.preparation.stages import Measures

DNSMOS_SPACING = 30  # seconds of audio for each window that DNSMOS rates
ACTIVE_LEVEL = 1e-3  # of the loudest frame's energy: 30 dB below it
MIN_BABBLE_SCORE = 0.0  # log odds, see `babble`
# Babble of 6 to 12 voices has a background of 1.0 to 1.6; 1.3 to 4.2 have clips of one voice.
MAX_BABBLE_BACKGROUND = 1.7
# Sung vowels of a synthesizer: at least 0.99 and at most 0.6. Real clips: at most 0.96; at least
# 0.62, and 0.3 with music as loud as the speech.
MIN_MUSIC_PERIODICITY = 0.975
MAX_MUSIC_SPEECH = 0.75  # share of the energy that speech has


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
        """Measures of a file of `audio.extract_audio`; about 30 bytes of memory for each 32 ms.

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
            kind = _kind(probabilities, joined(parts))
        if kind == "babble":
            scores = scores or self.quality(wav)
            kind = kind if scores.background < MAX_BABBLE_BACKGROUND else "speech"
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


def _kind(probabilities: np.ndarray, statistics: FrameStatistics) -> str:
    """What the detected speech is by its samples: "speech", "music" or perhaps "babble".

    probabilities: (n,), at least one of which is 0.5 or more.
    """
    if babble_score(probabilities, statistics) > MIN_BABBLE_SCORE:
        return "babble"
    square = statistics.square
    speech = np.convolve(probabilities >= ONSET, np.ones(3), "same") > 0
    energy = square[speech].sum() / max(float(square.sum()), MIN_POWER)
    active = square > ACTIVE_LEVEL * square.max()
    tonal = np.median(statistics.periodicity[active]) > MIN_MUSIC_PERIODICITY
    return "music" if tonal and energy < MAX_MUSIC_SPEECH else "speech"
