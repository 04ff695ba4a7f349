# ruff: noqa: RUF001 - the International Phonetic Alphabet looks like other letters
"""Convert phonemes to mouth shapes over time.

Shapes are blended as neighbors in running speech are (coarticulation: a Gaussian blur in time,
after Cohen and Massaro's dominance model), but lips that must meet (p, b, m) or touch the teeth
(f, v) do so, and a frame always falls into each closure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lipsync_core.demo.speech import SAMPLE_RATE, Phoneme, Speech

STEPS_PER_SECOND = 200  # inner steps a second
CHANNELS = ("open", "wide", "round", "close", "bite", "tongue")
# eSpeak puts the event of a stop at its burst; the silent closure is before it.
STOP_CLOSURE_SECONDS = 0.055


@dataclass(frozen=True)
class Shape:
    """Targets of one phoneme.

    open: gap of the lips, 0 to 1. wide: corners apart (+1) or together (-1). round: protrusion.
    close: lips pressed. bite: lower lip on the upper teeth. tongue: tip raised.
    """

    open: float
    wide: float = 0.0
    round: float = 0.0
    close: float = 0.0
    bite: float = 0.0
    tongue: float = 0.0


REST = Shape(0.0)
_CONSONANTS = {
    "p": Shape(0.0, close=1), "b": Shape(0.0, close=1), "m": Shape(0.0, close=1),
    "β": Shape(0.06, close=0.7),
    "f": Shape(0.14, 0.1, bite=1), "v": Shape(0.14, 0.1, bite=1),
    "w": Shape(0.12, -0.9, 1.0), "ʍ": Shape(0.12, -0.9, 1.0), "ɥ": Shape(0.12, -0.8, 0.9),
    "ɹ": Shape(0.24, -0.4, 0.5), "r": Shape(0.26, 0.0, tongue=0.8), "ɾ": Shape(0.26, tongue=0.8),
    "ʁ": Shape(0.3), "x": Shape(0.3), "ç": Shape(0.24, 0.4), "h": Shape(0.36), "ɣ": Shape(0.3),
    "θ": Shape(0.24, 0.1, tongue=1), "ð": Shape(0.24, 0.1, tongue=1),
    "s": Shape(0.13, 0.45), "z": Shape(0.13, 0.45), "ɕ": Shape(0.13, 0.2),
    "ʃ": Shape(0.17, -0.5, 0.7), "ʒ": Shape(0.17, -0.5, 0.7), "tʃ": Shape(0.17, -0.45, 0.6),
    "dʒ": Shape(0.17, -0.45, 0.6), "ts": Shape(0.14, 0.4), "pf": Shape(0.1, bite=1),
    "t": Shape(0.2, 0.2, tongue=0.7), "d": Shape(0.2, 0.2, tongue=0.7),
    "n": Shape(0.22, 0.15, tongue=0.7), "l": Shape(0.3, 0.1, tongue=0.9),
    "ɲ": Shape(0.22, 0.3, tongue=0.5), "ʎ": Shape(0.26, 0.3, tongue=0.6),
    "k": Shape(0.28, 0.1), "ɡ": Shape(0.28, 0.1), "g": Shape(0.28, 0.1), "ŋ": Shape(0.26, 0.1),
    "j": Shape(0.2, 0.6), "ʔ": Shape(0.25), "əl": Shape(0.34, 0.0, tongue=0.6),
}  # fmt: skip
_VOWELS = {
    "a": Shape(0.9, 0.15), "ɑ": Shape(0.95, -0.05), "æ": Shape(0.85, 0.5), "ɐ": Shape(0.6, 0.05),
    "ʌ": Shape(0.65, 0.05), "ɒ": Shape(0.75, -0.4, 0.4), "ɔ": Shape(0.62, -0.6, 0.7),
    "o": Shape(0.46, -0.8, 0.9), "u": Shape(0.2, -1.0, 1.0), "ʊ": Shape(0.28, -0.7, 0.8),
    "ʉ": Shape(0.2, -0.85, 0.9), "y": Shape(0.18, -0.8, 0.9), "ø": Shape(0.32, -0.6, 0.7),
    "œ": Shape(0.5, -0.45, 0.5), "i": Shape(0.26, 0.95), "ɪ": Shape(0.36, 0.6),
    "ᵻ": Shape(0.3, 0.4), "e": Shape(0.48, 0.65), "ɛ": Shape(0.62, 0.5), "ə": Shape(0.38, 0.0),
    "ɜ": Shape(0.46, -0.2, 0.25), "ɚ": Shape(0.36, -0.3, 0.4),
}  # fmt: skip
_IGNORED = "ː:ˑ-̃"  # length marks and nasality are not visible
# Slower articulators lag and blend more. Seconds, one standard deviation.
_BLUR_SECONDS = {
    "open": 0.024,
    "wide": 0.040,
    "round": 0.040,
    "close": 0.008,
    "bite": 0.016,
    "tongue": 0.022,
}


def shapes_of(symbol: str) -> list[Shape]:
    """The shapes of an IPA symbol: one for most, two or more for diphthongs."""
    if symbol in _CONSONANTS:
        return [_CONSONANTS[symbol]]
    letters = [letter for letter in symbol if letter not in _IGNORED]
    found = [_VOWELS.get(letter) or _CONSONANTS.get(letter) for letter in letters]
    return [shape for shape in found if shape is not None]


def mouth_tracks(speech: Speech, fps: int = 25) -> np.ndarray:
    """Mouth shapes of every frame: float32 (K, 6), columns as in `CHANNELS`.

    K = ceil(seconds * fps); row k is the shape at time k / fps.
    """
    steps = int(np.ceil(speech.seconds * STEPS_PER_SECOND)) + 1
    times = np.arange(steps) / STEPS_PER_SECOND
    tracks = {name: np.zeros(steps) for name in CHANNELS}
    closure, bite = np.zeros(steps), np.zeros(steps)
    before = REST
    for phoneme in speech.phonemes:
        before = _write_targets(tracks, times, phoneme, before)
        if phoneme.symbol in ("p", "b", "m"):
            _hold(closure, times, *_closed_span(phoneme))
        elif phoneme.symbol in ("f", "v", "pf"):
            _hold(bite, times, phoneme.start + 0.01, phoneme.end - 0.01)
    for name, sigma in _BLUR_SECONDS.items():
        tracks[name] = gaussian_filter1d(tracks[name], sigma * STEPS_PER_SECOND, mode="nearest")
    tracks["open"] *= 0.7 + 0.3 * _loudness(speech, times)
    tracks["close"] = np.maximum(tracks["close"], closure)
    tracks["bite"] = np.maximum(tracks["bite"], bite) * (1 - closure)
    tracks["open"] *= (1 - closure) * (1 - 0.75 * tracks["bite"])
    at = np.minimum(
        np.arange(int(np.ceil(speech.seconds * fps))) * STEPS_PER_SECOND // fps, steps - 1
    )
    return np.stack([tracks[name][at] for name in CHANNELS], axis=1).astype(np.float32)


def _closed_span(phoneme: Phoneme) -> tuple[float, float]:
    if phoneme.symbol == "m":
        return phoneme.start, max(phoneme.end - 0.02, phoneme.start + 0.05)
    return phoneme.start - STOP_CLOSURE_SECONDS, phoneme.start + 0.005


def _write_targets(
    tracks: dict[str, np.ndarray], times: np.ndarray, phoneme: Phoneme, before: Shape
) -> Shape:
    """Write the targets of `phoneme`; return the last shape, which short gaps keep."""
    shapes = shapes_of(phoneme.symbol)
    if not shapes:
        pause = phoneme.symbol == "" and phoneme.end - phoneme.start > 0.09
        shapes = [REST if pause else before]
    edges = np.linspace(phoneme.start, phoneme.end, len(shapes) + 1)
    for shape, start, end in zip(shapes, edges, edges[1:], strict=False):
        inside = (times >= start) & (times < end)
        for name in CHANNELS:
            tracks[name][inside] = getattr(shape, name)
    return shapes[-1]


def _hold(track: np.ndarray, times: np.ndarray, start: float, end: float) -> None:
    """Raise `track` to 1 from `start` to `end`, with flanks of 30 ms."""
    outside = np.maximum(np.maximum(start - times, times - end), 0.0)
    ramp = np.clip(1 - outside / 0.045, 0.0, 1.0)
    np.maximum(track, ramp * ramp * (3 - 2 * ramp), out=track)


def _loudness(speech: Speech, times: np.ndarray) -> np.ndarray:
    """Loudness at `times` relative to the clip's loud parts, 0 to 1."""
    power = gaussian_filter1d(speech.wav.astype(np.float64) ** 2, 0.025 * SAMPLE_RATE)
    level = np.sqrt(power)
    at = np.minimum((times * SAMPLE_RATE).astype(int), len(level) - 1)
    return np.clip(level[at] / max(float(np.percentile(level, 95)), 1e-4), 0.0, 1.0) ** 0.5
