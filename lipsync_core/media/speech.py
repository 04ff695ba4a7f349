"""Voice activity: which parts of a sound are speech.

The network is Silero VAD 6.2 (https://github.com/snakers4/silero-vad, MIT). Its ONNX weights lie
beside this module, because the package `silero-vad` needs torch; the network does not. About 0.1 s
of processor time a minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipsync_core.runtime.onnx_models import cpu_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# silero_vad_16k_sequence.onnx of the wheel silero-vad 6.2.3, unchanged.
WEIGHTS = Path(__file__).parent / "weights" / "silero_vad.onnx"
SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512  # of one probability: 32 ms
CONTEXT_SAMPLES = 64  # of the frame before, which the network sees too
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
MAX_FRAMES = 512  # a call of the network
ONSET, OFFSET = 0.5, 0.35  # probabilities at which speech begins and ends, as Silero's
MIN_PAUSE_SECONDS = 0.1  # shorter ones are part of the speech
MIN_SPEECH_SECONDS = 0.09  # three frames; Silero's 0.25 s would lose single syllables


class SpeechDetector:
    """Silero VAD. Raises LipsyncError when onnxruntime is not installed."""

    def __init__(self) -> None:
        self._session = cpu_session(WEIGHTS)

    def stream(self) -> SpeechStream:
        """A stream for one sound, which takes it block by block."""
        return SpeechStream(self._session)

    def probabilities(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """Probability of speech of each 32 ms: float32 (n,), the last frame padded with silence.

        blocks: float32 (n,) in [-1, 1] at 16 kHz, of any lengths, in order. The blocks do not
        change the result.
        """
        stream = self.stream()
        for block in blocks:
            stream.add(block)
        return stream.finish()

    def segments(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """`speech_segments` of a sound in blocks, as for `probabilities`."""
        return speech_segments(self.probabilities(blocks))


class SpeechStream:
    """Probabilities of speech of one sound, block by block; see `SpeechDetector.probabilities`.

    Memory: 4 bytes for each 32 ms, half a megabyte an hour.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._state = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
        self._context = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._rest = np.zeros(0, np.float32)
        self._found = [np.zeros(0, np.float32)]

    def add(self, block: np.ndarray) -> None:
        """Take the next samples."""
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = joined[whole:]
        for start in range(0, whole, MAX_FRAMES * FRAME_SAMPLES):
            self._run(joined[start : min(whole, start + MAX_FRAMES * FRAME_SAMPLES)])

    def finish(self) -> np.ndarray:
        """The probabilities of all frames, float32 (n,)."""
        if len(self._rest):
            self.add(np.zeros(FRAME_SAMPLES - len(self._rest), np.float32))
        return np.concatenate(self._found)

    def _run(self, wave: np.ndarray) -> None:
        frames = wave.reshape(-1, FRAME_SAMPLES)
        contexts = np.concatenate([self._context[None], frames[:-1, -CONTEXT_SAMPLES:]])
        self._context = frames[-1, -CONTEXT_SAMPLES:].copy()
        inputs = {"input": np.concatenate([contexts, frames], axis=1), **self._state}
        found, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], inputs)
        self._state = {"h": hidden, "c": cell}
        self._found.append(found.reshape(-1))


def speech_segments(probabilities: np.ndarray) -> np.ndarray:
    """Segments of speech: float64 (k, 2), start and end in seconds, in order, apart.

    probabilities: (n,) of 32 ms each. Speech begins at 0.5 and ends below 0.35, which is Silero's
    own rule; pauses under 0.1 s are bridged, segments under 0.09 s are dropped.
    """
    # Between the two thresholds the state of the frame before holds on.
    decided = np.where(probabilities >= ONSET, 1, np.where(probabilities < OFFSET, 0, -1))
    last = np.maximum.accumulate(np.where(decided >= 0, np.arange(len(decided)), -1))
    speech = np.where(last >= 0, decided[last], 0) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech, [0]]))).reshape(-1, 2)
    if len(edges):
        pause = (edges[1:, 0] - edges[:-1, 1]) * FRAME_SECONDS >= MIN_PAUSE_SECONDS
        starts = edges[np.concatenate([[True], pause]), 0]
        edges = np.stack([starts, edges[np.concatenate([pause, [True]]), 1]], axis=1)
    segments = edges * FRAME_SECONDS
    return segments[segments[:, 1] - segments[:, 0] >= MIN_SPEECH_SECONDS]


def longest_pause(segments: np.ndarray, seconds: float) -> float:
    """Longest time without speech, before, between and after the segments, in seconds."""
    edges = np.concatenate([[0.0], np.minimum(segments, seconds).ravel(), [seconds]])
    return float(np.diff(edges)[::2].max())
