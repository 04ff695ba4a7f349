"""How the mouth follows the loudness of speech, after THEval: silence, loudness, dynamics.

Opening of the mouth (`faces.mouth_region`) and loudness, one value a frame at 25 fps. The original
measures take distances of lip landmarks; here the opening is measured from pixels, so the figures
compare systems with each other and with the ground truth, not with published ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MIN_SILENT_FRAMES = 8  # 0.32 s: THEval takes silent runs from 300 ms
MIN_SPEECH_FRAMES = 12


def silent_runs(speech: np.ndarray) -> list[slice]:
    """Runs of at least `MIN_SILENT_FRAMES` frames without speech, of bool (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([True], speech, [True])).astype(np.int8)))
    runs = [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    return [run for run in runs if run.stop - run.start >= MIN_SILENT_FRAMES]


def silent_lip_motion(opening: np.ndarray, runs: Sequence[slice]) -> float:
    """Median absolute deviation of the opening from its mean in each silent run; nan without one.

    THEval's silent lip stability; lower is stiller.
    """
    parts = [np.abs(opening[run] - opening[run].mean()) for run in runs]
    return float(np.median(np.concatenate(parts))) if parts else math.nan


def loudness_correlation(opening: np.ndarray, levels: np.ndarray, speech: np.ndarray) -> float:
    """Pearson correlation of opening and loudness over the speech frames; 0 for a still mouth."""
    mouth, sound = opening[speech], levels[speech]
    if len(mouth) < MIN_SPEECH_FRAMES or sound.std() == 0:
        return math.nan
    if mouth.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(mouth, sound)[0, 1])


def loudness_difference(opening: np.ndarray, levels: np.ndarray, speech: np.ndarray) -> float:
    """Mean difference of opening and loudness, each scaled to 0..1 in speech frames (THEval)."""
    mouth, sound = opening[speech], levels[speech]
    if len(mouth) < MIN_SPEECH_FRAMES or np.ptp(sound) == 0:
        return math.nan
    return float(np.abs(_min_max(mouth) - _min_max(sound)).mean())


def _min_max(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / max(float(np.ptp(values)), 1e-6)


def lip_dynamics(opening: np.ndarray) -> float:
    """Standard deviation of the opening over time."""
    return float(opening.std()) if len(opening) else math.nan
