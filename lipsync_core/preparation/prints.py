"""Voice and face prints of a clip: compact statistics by which a person is known again.

The voice print is a Gaussian of the cepstral coefficients of its louder frames (Bimbot et al.,
"Second-order statistical measures for text-independent speaker identification", 1995), the face
print a set of histograms of oriented gradients (Dalal & Triggs, 2005), one a crop. Both need no
weights; with those of a speaker encoder the voice print is its embedding. They
know a person again in the same take or under like conditions, not across years.
A print is kept in `results/prints/<clip id>.npz` while the clip's key stays.
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.fft import dct

from lipsync_core.audio import read_mel
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.audio import read_pcm, to_float
from lipsync_core.preparation.stages import AUDIO, FACES, MELS
from lipsync_core.preparation.voice_embedding import VoiceEncoder
from lipsync_core.runtime.files import atomic_path

VERSION = 1  # of the prints: raise it when their content changes
CEPSTRA = slice(1, 20)  # without the first, which is the loudness
DYNAMIC_RANGE = 1.6  # of the mel's units of 12.5 dB: 20 dB below the 95th percentile is speech
MIN_VARIANCE = 1e-3  # added to the variances: a short clip has few frames
NUM_CROPS = 12
CROP_SIZE, CELL, BINS = 96, 12, 8  # pixels, pixels, directions
FACE_SIZE = (CROP_SIZE // CELL) ** 2 * BINS
EDGE_FLOOR = 30.0  # added to the norm of a cell: a flat cell has no direction


@dataclass(frozen=True)
class Print:
    """mean: float64 (19,) and covariance: float64 (19, 19) of the cepstra, frames: their number;
    faces: float16 (n, 512) of unit length, one row a crop. voice: float32 (256,) of unit length, a
    learned embedding, None without the weights of a speaker encoder.
    """

    mean: np.ndarray
    covariance: np.ndarray
    frames: int
    faces: np.ndarray
    voice: np.ndarray | None = None


def clip_print(results: Path, clip: str, key: str, encoder: VoiceEncoder | None = None) -> Print:
    """The print of a prepared clip, from its file or made anew.

    key: of the clip in the table of checks; a print made for another one is made again.
    encoder: computes the voice embedding; prints with and without one, or of other weights, differ
    in their mark.
    Raises ClipError (DamagedFile) when mel spectrogram or crops cannot be read.
    """
    path = results / "prints" / f"{clip}.npz"
    mark = f"{VERSION} {key}" + (f" {encoder.mark}" if encoder else "")
    stored = _stored(path)
    if stored.get("mark") == mark:
        fields = ("mean", "covariance", "frames", "faces")
        return Print(*(stored[name] for name in fields), stored.get("voice"))
    mel = read_mel(MELS.path(results, source_id(clip)))
    mean, covariance, frames = voice_print(mel)
    faces = _faces(FACES.path(results, clip))
    voice = None
    if encoder:
        voice = encoder(to_float(read_pcm(AUDIO.path(results, source_id(clip)))))
    made = Print(mean, covariance, frames, faces, voice)
    fields = {name: value for name, value in vars(made).items() if value is not None}
    with atomic_path(path) as temporary:
        np.savez(temporary, mark=mark, **fields)
    return made


def _stored(path: Path) -> dict[str, Any]:
    """What the file of a print holds; {} where there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return found | {name: found[name].item() for name in ("mark", "frames") if name in found}


def voice_print(mel: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean (19,), covariance (19, 19) and number of the cepstra of the louder frames.

    mel: float32 (T, 80), as the pipeline stores it.
    """
    loudness = mel.mean(axis=1)
    loud = mel[loudness >= np.percentile(loudness, 95) - DYNAMIC_RANGE]
    cepstra = dct(loud.astype(np.float64), norm="ortho", axis=1)[:, CEPSTRA]
    size = cepstra.shape[1]
    spread = np.cov(cepstra.T) if len(cepstra) > 1 else np.zeros((size, size))
    return cepstra.mean(axis=0), spread + MIN_VARIANCE * np.eye(size), len(cepstra)


def _faces(archive: Path) -> np.ndarray:
    with contextlib.closing(CropArchive(archive)) as crops:
        frames = crops.frames
        chosen = frames[np.linspace(0, len(frames) - 1, min(NUM_CROPS, len(frames))).astype(int)]
        rows = [face_print(crops.decode(int(frame), CROP_SIZE)) for frame in chosen]
    return np.array(rows, np.float16)


def face_print(crop: np.ndarray) -> np.ndarray:
    """Histograms of the directions of edges in 8 x 8 cells: float32 (512,) of unit length.

    crop: uint8 (96, 96, 3) BGR. Brightness and contrast do not count.
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    gray = (gray - gray.mean()) / (gray.std() + 1) * 50
    gray = cv2.GaussianBlur(gray, (3, 3), 0)
    along, down = (cv2.Sobel(gray, cv2.CV_32F, *step) for step in ((1, 0), (0, 1)))
    strength = np.hypot(along, down)
    direction = np.arctan2(down, along) % (2 * np.pi) / (2 * np.pi) * BINS
    lower = np.floor(direction).astype(int)
    share = direction - lower
    cells = np.arange(CROP_SIZE) // CELL
    cell = (cells[:, None] * (CROP_SIZE // CELL) + cells[None]) * BINS
    sums = np.zeros(FACE_SIZE)
    for bins, weight in ((lower % BINS, 1 - share), ((lower + 1) % BINS, share)):
        places = (cell + bins).ravel()
        sums += np.bincount(places, (strength * weight).ravel(), FACE_SIZE)
    grid = np.sqrt(sums).reshape(-1, BINS)
    grid /= np.linalg.norm(grid, axis=1, keepdims=True) + EDGE_FLOOR
    found = grid.ravel().astype(np.float32)
    return found / max(float(np.linalg.norm(found)), 1e-6)
