"""Measures of a clip's audio, crops and track; `checks` compares them with thresholds."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.faces.archive import CropArchive
from lipsync_core.faces.head_pose import detected_pose
from lipsync_core.media.audio import SAMPLE_RATE
from lipsync_core.media.video import FPS
from lipsync_core.preparation.audio_fingerprint import audio_fingerprint
from lipsync_core.preparation.stages import Measures

SILENCE_DBFS = -50.0  # a quieter window is silent
SILENCE_WINDOW = SAMPLE_RATE // 40  # samples: 25 ms
CLIPPING_LEVEL = 0.999  # of full scale
NUM_SAMPLED_CROPS = 8
SAMPLED_CROP_SIZE = 96  # pixels: makes sharpness comparable between clips


def audio_measures(blocks: Iterable[np.ndarray], mel: np.ndarray) -> Measures:
    """Measures of the audio; memory does not grow with its length.

    Parameters
    ----------
    blocks: the wave, float32 (n,) in [-1, 1] at 16 kHz each. mel: its mel spectrogram as stored,
        float32 (T, 80), best as a memory map.

    Returns loudness (dBFS, root mean square; -120 for digital silence), silence_ratio (of 25 ms
    windows below -50 dBFS) and clipping_ratio (of samples at full scale), and two fingerprints:
    audio_sha1 (equal for equal samples) and audio_fingerprint (see `audio_fingerprint`).
    """
    sha = hashlib.sha1()
    samples, clipped, energy, quiet, windows = 0, 0, 0.0, 0, 0
    rest = np.zeros(0, np.float32)
    for block in blocks:
        sha.update(np.ascontiguousarray(block).tobytes())
        samples += len(block)
        clipped += int(np.count_nonzero(np.abs(block) >= CLIPPING_LEVEL))
        energy += float(np.sum(np.square(block, dtype=np.float64)))
        joined = np.concatenate([rest, block])
        whole = len(joined) // SILENCE_WINDOW * SILENCE_WINDOW
        squares = np.square(joined[:whole].reshape(-1, SILENCE_WINDOW))
        quiet += int(np.count_nonzero(squares.mean(axis=1) < 10 ** (SILENCE_DBFS / 10)))
        windows += whole // SILENCE_WINDOW
        rest = joined[whole:]
    rms = math.sqrt(energy / samples) if samples else 0.0
    return {
        "loudness": round(20 * math.log10(max(rms, 1e-6)), 2),
        "silence_ratio": round(quiet / windows, 4) if windows else 1.0,
        "clipping_ratio": round(clipped / max(samples, 1), 5),
        "audio_sha1": sha.hexdigest()[:16],
        "audio_fingerprint": audio_fingerprint(mel),
    }


def crop_measures(zip_path: Path) -> Measures:
    """Measures of eight crops spread over a clip.

    Returns sharpness (median variance of the Laplacian at 96 pixels; low is blurred) and brightness
    (mean gray level, 0..255).
    """
    with contextlib.closing(CropArchive(zip_path)) as archive:
        numbers = archive.frames
        indices = np.linspace(0, len(numbers) - 1, NUM_SAMPLED_CROPS).round().astype(int)
        crops = [
            archive.decode(frame, SAMPLED_CROP_SIZE)
            for frame in numbers[np.unique(indices)].tolist()
        ]
    gray = [cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) for crop in crops]
    variances = [float(cv2.Laplacian(image, cv2.CV_32F).var()) for image in gray]
    return {
        "sharpness": round(float(np.median(variances)), 1),
        "brightness": round(float(np.mean(gray, axis=0, dtype=np.float32).mean()), 1),
    }


def head_speed(frames: np.ndarray, boxes: np.ndarray, cuts: Sequence[int] = ()) -> float:
    """95th percentile of the speed of the face, in widths of the face per second.

    frames: int (n,), increasing. boxes: float32 (n, 4), x1, y1, x2, y2 in pixels. cuts: first
    frames of shots. Steps over a gap or a cut do not count; 0 with fewer than two frames in a row.
    """
    together = (np.diff(frames) == 1) & ~np.isin(frames[1:], cuts)
    if not together.any():
        return 0.0
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    width = float(np.median(boxes[:, 2] - boxes[:, 0]))
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)[together]
    return round(float(np.percentile(steps, 95)) * FPS / max(width, 1e-6), 3)


def pose_measures(landmarks: np.ndarray | None) -> Measures:
    """Head pose of a track: the median and the 95th percentile of |yaw|, |pitch| and |roll|.

    landmarks: float32 (m, 10), see `detected_pose`; None from a detector without: {}. Degrees, as
    yaw_median, yaw_p95, pitch_median, ...
    """
    if landmarks is None or not len(landmarks):
        return {}
    angles = np.abs(detected_pose(landmarks))
    levels = {"median": np.median(angles, axis=0), "p95": np.percentile(angles, 95, axis=0)}
    return {
        f"{angle}_{level}": round(float(values[column]), 1)
        for column, angle in enumerate(("yaw", "pitch", "roll"))
        for level, values in levels.items()
    }


def size_change(boxes: np.ndarray) -> float:
    """Change of a face's size along a clip: the span from the 5th to the 95th percentile of its
    boxes' longer sides, as a share of their median. boxes: float32 (m, 4), smoothed, m > 0."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    low, median, high = np.percentile(sides, [5, 50, 95])
    return round(float((high - low) / max(median, 1e-6)), 3)
