"""Synthesize the demo's speech with eSpeak NG: audio and phoneme times of a text.

The same voice and text give the same samples in any order of calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from lipsync_core.demo.plan import Voice
from lipsync_core.errors import LipsyncError

SAMPLE_RATE = 16000
LEAD_SECONDS, TAIL_SECONDS = 0.24, 0.36  # seconds of silence before and after the words
PEAK_AMPLITUDE = 0.6
NOISE_STD = 4e-4  # room noise: recordings have no digital silence


@dataclass(frozen=True)
class Phoneme:
    """One phoneme: IPA symbol without stress marks ("" = pause), start and end in seconds."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """`wav` float32 (N,) in [-1, 1] at 16 kHz, and the phonemes in order, without gaps."""

    wav: np.ndarray
    phonemes: tuple[Phoneme, ...]

    @property
    def seconds(self) -> float:
        return len(self.wav) / SAMPLE_RATE


def say(text: str, voice: Voice, seed: int = 0, seconds: float | None = None) -> Speech:
    """Synthesize `text`; cut after `seconds` if given. `seed` determines the room noise.

    Raises LipsyncError when eSpeak NG or the voice is missing.
    """
    rate, events, pcm = _run(text, voice)
    raw = np.frombuffer(pcm, np.int16).astype(np.float64) / 32768.0
    spoken = resample_poly(raw, SAMPLE_RATE, rate) if len(raw) else raw
    spoken *= PEAK_AMPLITUDE * voice.volume / max(float(np.abs(spoken).max(initial=0.0)), 1e-3)
    lead, tail = (
        np.zeros(int(LEAD_SECONDS * SAMPLE_RATE)),
        np.zeros(int(TAIL_SECONDS * SAMPLE_RATE)),
    )
    wav = np.concatenate([lead, spoken, tail])
    if seconds is not None:
        wav = wav[: round(seconds * SAMPLE_RATE)]
    wav = wav + np.random.default_rng(seed).normal(0.0, NOISE_STD, len(wav))
    phonemes = _segments(events, len(spoken) / SAMPLE_RATE)
    return Speech(wav.astype(np.float32), phonemes)


def _segments(events: list[list], spoken: float) -> tuple[Phoneme, ...]:
    starts = [LEAD_SECONDS + milliseconds / 1000 for milliseconds, _ in events] + [
        LEAD_SECONDS + spoken
    ]
    found = [Phoneme("", 0.0, starts[0])]
    for (_, symbol), start, end in zip(events, starts, starts[1:], strict=False):
        if end > start:
            found.append(Phoneme(symbol.translate({0x2C8: None, 0x2CC: None}), start, end))
    found.append(Phoneme("", starts[-1], starts[-1] + TAIL_SECONDS))
    return tuple(found)


def _run(text: str, voice: Voice) -> tuple[int, list[list], bytes]:
    request = {
        "text": text,
        "voice": voice.name,
        "rate": voice.rate,
        "pitch": voice.pitch,
        "range": voice.range,
    }
    program = Path(__file__).with_name("espeak.py")
    done = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise LipsyncError(
            f"demo speech: {reason}; reinstall it with `pip install --force-reinstall "
            "espeakng-loader`"
        )
    head, _, pcm = done.stdout.partition(b"\n")
    fields = json.loads(head)
    return fields["rate"], fields["phonemes"], pcm
