"""What is measured of a clip's sound, crops and track. What is good: see `checks`."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.audio import SAMPLE_RATE
from lipsync_core.faces.crops import CropArchive
from lipsync_core.video import FPS

Measures = dict[str, float | int | str]
QUIET = 10 ** (-50 / 20)  # a window below -50 dBFS is silent
QUIET_WINDOW = SAMPLE_RATE // 40  # 25 ms
FULL_SCALE = 0.999
SAMPLED = 8  # crops looked at in a clip
SIDE = 96  # their size: blur is then comparable between clips
PRINT_BANDS, PRINT_STEPS = 40, 32  # what the sound's fingerprint looks at


def sound_measures(wav: np.ndarray, mel: np.ndarray) -> Measures:
    """Measures of the sound.

    Parameters
    ----------
    wav: float32 (N,) in [-1, 1] at 16 kHz. mel: its mel spectrogram, float32 (80, T).

    Returns loudness (dBFS), silence and clipping (shares 0..1), and two fingerprints in hex digits:
    sound_sha (equal for equal samples) and sound_print (see `sound_print`).
    """
    return {
        "loudness": loudness(wav),
        "silence": silence(wav),
        "clipping": round(float(np.mean(np.abs(wav) >= FULL_SCALE)), 5),
        "sound_sha": hashlib.sha1(np.ascontiguousarray(wav).tobytes()).hexdigest()[:16],
        "sound_print": sound_print(mel),
    }


def loudness(wav: np.ndarray) -> float:
    """Root-mean-square level of a float32 (N,) wave in dBFS; -120 for digital silence."""
    rms = float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) if len(wav) else 0.0
    return round(20 * np.log10(max(rms, 1e-6)), 2)


def silence(wav: np.ndarray) -> float:
    """Share (0..1) of the 25 ms windows of a float32 (N,) wave below -50 dBFS."""
    whole = len(wav) // QUIET_WINDOW
    if not whole:
        return 1.0
    windows = wav[: whole * QUIET_WINDOW].reshape(whole, QUIET_WINDOW)
    levels = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1))
    return round(float(np.mean(levels < QUIET)), 4)


def sound_print(mel: np.ndarray) -> str:
    """128 bits (32 hex digits) that survive another encoding, volume or container.

    mel: float32 (80, T). The course of the energy over the clip in 40 bands and 32 steps, loud
    parts first, projected on fixed random directions: the bits are the signs.
    """
    energy = np.square(mel - mel.min(), dtype=np.float64)
    bands = np.stack([band.mean(axis=0) for band in np.array_split(energy, PRINT_BANDS)])
    steps = np.array_split(bands, PRINT_STEPS, axis=1)
    grid = np.stack([s.mean(axis=1) if s.size else np.zeros(PRINT_BANDS) for s in steps])
    return _hex(_directions() @ (grid - grid.mean(axis=0)).ravel() > 0)


@functools.cache
def _directions() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((128, PRINT_BANDS * PRINT_STEPS))


def picture_measures(zip_path: Path) -> Measures:
    """Measures of a clip's crops, of eight spread over the clip.

    Returns blur (median variance of the Laplacian at 96 pixels; low is blurred), brightness (mean
    grey level, 0..255) and picture_print, 64 bits in hex that survive scaling and encoding.
    """
    archive = CropArchive(zip_path)
    numbers = archive.frames
    chosen = numbers[np.unique(np.linspace(0, len(numbers) - 1, SAMPLED).round().astype(int))]
    grey = [
        cv2.cvtColor(archive.decode(frame, SIDE), cv2.COLOR_BGR2GRAY) for frame in chosen.tolist()
    ]
    archive.close()
    sharpness = [float(cv2.Laplacian(picture, cv2.CV_32F).var()) for picture in grey]
    mean = np.mean(grey, axis=0, dtype=np.float32)
    tiny = cv2.resize(mean, (9, 8), interpolation=cv2.INTER_AREA)
    return {
        "blur": round(float(np.median(sharpness)), 1),
        "brightness": round(float(mean.mean()), 1),
        "picture_print": _hex(np.diff(tiny, axis=1) > 0),
    }


def head_motion(frames: np.ndarray, boxes: np.ndarray) -> float:
    """How fast the face moves: the 95th percentile, in widths of the face a second.

    frames: int (n,), rising. boxes: float32 (n, 4), x1, y1, x2, y2 in pixels. Steps over a gap do
    not count; 0 with fewer than two frames in a row.
    """
    together = np.diff(frames) == 1
    if not together.any():
        return 0.0
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    width = float(np.median(boxes[:, 2] - boxes[:, 0]))
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)[together]
    return round(float(np.percentile(steps, 95)) * FPS / max(width, 1e-6), 3)


def _hex(bits: np.ndarray) -> str:
    return np.packbits(bits.ravel()).tobytes().hex()
