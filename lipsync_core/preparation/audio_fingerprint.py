"""Landmark fingerprints of speech: short codes of the loudest moments, each with its time.

They suggest which clips may share audio, whatever their encoding, gain or trims; they prove nothing
(see `same_take`). After Haitsma & Kalker (ISMIR 2002), whose bits are signs of differences of the
energy over time and frequency, and Wang (ISMIR 2003), which codes landmarks only.
"""

from __future__ import annotations

import base64
import binascii
import functools

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS, MEL_RATE

BANDS = slice(4, 60)  # of the mel spectrogram's 80: 0.2 to 4.3 kHz, which every codec keeps
BEFORE, AFTER = 2, 36  # columns of the patch around a landmark: 0.48 s
GRID = (12, 8)  # bands and steps that a patch is averaged to
DYNAMIC_RANGE = 3.2  # of the mel's units: 40 dB below the loudest; what is quieter is noise
SMOOTHING = 13  # columns of the Gaussian window over the loudness
SPACING = 6  # columns: a landmark is the loudest moment within 75 ms on either side
MIN_LOUDNESS = 0.15  # mean over the bands, of the dynamic range's 3.2: less is silence
CODE_BITS = 96
MAX_LANDMARKS = 24  # the loudest are kept; a cell of the table then has 480 characters at most
LANDMARK = np.dtype([("time", "<u4"), ("code", "u1", CODE_BITS // 8)])
PACKED_BYTES = 3 + CODE_BITS // 8  # the time in 24 bits: 58 hours


def audio_fingerprint(mel: np.ndarray) -> str:
    """The landmarks of a clip, packed in base64: 20 characters each, 24 at most, in order of time.

    mel: float32 (T, 80), best as a memory map. A clip under half a second has none: "".
    """
    loudness = _loudness(mel)
    times = _landmarks(loudness)
    loudest = times[np.argsort(-loudness[times], kind="stable")[:MAX_LANDMARKS]]
    packed = b"".join(
        int(time).to_bytes(3, "little") + _code(mel[time - BEFORE : time + AFTER, BANDS])
        for time in sorted(loudest.tolist())
    )
    return base64.b64encode(packed).decode()


def landmarks(fingerprint: str) -> np.ndarray:
    """The landmarks of a fingerprint: `LANDMARK` (n,), time in mel columns and code.

    A text that is no fingerprint has none.
    """
    try:
        packed = np.frombuffer(base64.b64decode(fingerprint, validate=True), np.uint8)
        packed = packed.reshape(-1, PACKED_BYTES)
    except (binascii.Error, ValueError):
        return np.zeros(0, LANDMARK)
    found = np.zeros(len(packed), LANDMARK)
    found["time"] = packed[:, :3] @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    found["code"] = packed[:, 3:]
    return found


def _loudness(mel: np.ndarray) -> np.ndarray:
    """Smoothed mean level of each column, from 0 (below the dynamic range) up: float32 (T,)."""
    block = 60 * MEL_RATE
    starts = range(0, len(mel), block)
    floor = max((mel[start : start + block, BANDS].max() for start in starts), default=-MAX_ABS)
    floor = max(floor - DYNAMIC_RANGE, -MAX_ABS)  # digital silence is at the limit
    above = [np.maximum(mel[start : start + block, BANDS] - floor, 0) for start in starts]
    column = np.concatenate([np.zeros(0, np.float32), *(each.mean(axis=1) for each in above)])
    return cv2.GaussianBlur(column, (1, SMOOTHING), SMOOTHING / 4).ravel() if len(mel) else column


def _landmarks(loudness: np.ndarray) -> np.ndarray:
    """Columns that are the loudest of their neighbourhood and have a whole patch: int64 (n,)."""
    if len(loudness) < BEFORE + AFTER:
        return np.zeros(0, np.int64)
    column = loudness.reshape(-1, 1)
    peak = cv2.dilate(column, np.ones((2 * SPACING + 1, 1), np.uint8)).ravel()
    times = np.flatnonzero((loudness >= peak) & (loudness >= MIN_LOUDNESS))
    return times[(times >= BEFORE) & (times <= len(loudness) - AFTER)]


def _code(patch: np.ndarray) -> bytes:
    """`CODE_BITS` signs of random projections of a patch, float32 (columns, bands).

    What a gain (the mean), a frequency response (the mean of each band) and a change of loudness
    (the mean of each step) add is taken off first.
    """
    level = np.maximum(patch, patch.max() - DYNAMIC_RANGE)
    grid = cv2.resize(level, GRID, interpolation=cv2.INTER_AREA)
    grid = grid - grid.mean(axis=0, keepdims=True)
    grid -= grid.mean(axis=1, keepdims=True)
    return np.packbits(_projections() @ grid.ravel() > 0).tobytes()


@functools.cache
def _projections() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((CODE_BITS, GRID[0] * GRID[1]))
