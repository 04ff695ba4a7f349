"""How much of a generator's mouth motion comes from its pictures instead of the sound.

A generator sees talking reference frames and the moving upper half of a face; a mouth that moves in
silence moves after those.
"""

from __future__ import annotations

import numpy as np

from lipsync_core.audio import LIMIT
from lipsync_core.data.dataset import Corpus, generator_batch
from lipsync_core.evaluation.syncnet import SHOTS, draw
from lipsync_core.models import Wav2Lip

SILENCE = -LIMIT  # in every band of the mel spectrogram


def motion_metrics(
    model: Wav2Lip, corpus: Corpus, seed: int = 0, windows: int = 64
) -> dict[str, float]:
    """How much drawn mouths move, with their sound and in silence: what leaks from the pictures.

    windows: as in `generator_metrics`. The references are those of the windows, which talk.

    Returns mean absolute differences, in [0, 1], between consecutive frames' lower halves:
    motion (drawn with the sound), motion_silence (drawn with silence in its place) and
    motion_truth. The head moves in all three; a generator that listens moves less in silence.
    """
    found: dict[str, list[float]] = {"motion": [], "motion_silence": [], "motion_truth": []}
    for index in range(-(-windows // SHOTS)):
        batch = generator_batch(corpus, seed, index, SHOTS)
        silent = batch._replace(mels=np.full_like(batch.mels, SILENCE))
        found["motion"].append(_motion(draw(model, batch)))
        found["motion_silence"].append(_motion(draw(model, silent)))
        found["motion_truth"].append(_motion(batch.target.astype(np.float32) / 255))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _motion(frames: np.ndarray) -> float:
    """Mean absolute difference of consecutive frames' lower halves: (B, 5, S, S, 3) -> number."""
    return float(np.abs(np.diff(frames[:, :, frames.shape[2] // 2 :], axis=1)).mean())
