"""Loudness of each video frame, and which frames are speech by it."""

from __future__ import annotations

import numpy as np

from lipsync_core.audio import FLOOR_DB, MAX_ABS, MEL_RATE
from lipsync_core.media.video import FPS

SILENCE_DB = -35.0  # below the loud parts (95th percentile), where there is no wav file


def loudness(mel: np.ndarray) -> np.ndarray:
    """Loudness of each whole video frame: float32 (n,), root mean square amplitude over the bands.

    mel: float32 (T, 80) in [-4, 4], 80 columns a second, as stored.
    """
    decibels = (mel + MAX_ABS) * (-FLOOR_DB / (2 * MAX_ABS)) + FLOOR_DB
    power = (10 ** (decibels / 10)).mean(axis=1)
    edges = np.arange(int(len(mel) * FPS / MEL_RATE) + 1) * MEL_RATE / FPS
    total = np.concatenate(([0.0], np.cumsum(power, dtype=np.float64)))
    at = np.interp(edges, np.arange(len(total)), total)
    return np.sqrt(np.diff(at) * FPS / MEL_RATE).astype(np.float32)


def speech_frames(levels: np.ndarray) -> np.ndarray:
    """Frames louder than `SILENCE_DB` relative to the loud ones: bool (n,) for loudness (n,)."""
    loud = max(float(np.percentile(levels, 95)), 1e-6) if len(levels) else 1.0
    return levels > loud * 10 ** (SILENCE_DB / 20)
