"""LSE-D, LSE-C and the audio-visual offset of a face track, as the field computes them.

Knows the features (13 MFCC, windows of 5 frames and 20 columns) and the scores. The judge is
`lipsync_core.models.LseSyncNet` with the public weights `syncnet_v2.model`; cutting the face track
and reporting over many clips are left to the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lipsync_core.errors import ClipError, Reason
from lipsync_core.models.lse import LseSyncNet

SAMPLES_A_FRAME = 640  # 16 kHz, 25 frames a second
WINDOW = 5  # frames
COLUMNS_A_FRAME = 4  # 100 MFCC columns a second
COLUMNS = 20  # MFCC columns that 5 frames last
MAX_SHIFT = 15  # frames either way


@dataclass(frozen=True)
class LseResult:
    """Scores of one face track.

    lse_d: smallest mean distance over the shifts; lower is better, about 6.5 on real talk.
    lse_c: median minus smallest mean distance; higher is better, about 8 on real talk.
    offset: shift of the smallest distance, in frames of 40 ms, -15..15; 0 is in sync, above 0 the
        picture comes late. A constant offset is not punished by the other two: show it beside them.
    distances: (31,) float32, mean distance with the sound shifted by -15..15 frames; the offset is
        15 minus the index of the smallest.
    """

    lse_d: float
    lse_c: float
    offset: int
    distances: np.ndarray


def mfcc(pcm: np.ndarray) -> np.ndarray:
    """Mel frequency cepstral coefficients as `python_speech_features` gives with its defaults.

    pcm: int16 (N,) at 16 kHz, -32768..32767. Returns float64 (13, T), 100 columns a second, the
    last one padded with zeros: T = 1 + ceil((N - 400) / 160). Windows of 25 ms without taper,
    pre-emphasis 0.97, 26 mel bands 0..8000 Hz, liftered by 22, row 0 is the log energy.

    Raises TypeError for other than int16: floats in -1..1 would give other numbers.
    """
    if pcm.dtype != np.int16:
        raise TypeError(f"pcm: expected int16, got {pcm.dtype}")
    power = _power_spectrum(pcm.astype(np.float64))
    energy = power.sum(axis=1)
    bands = power @ _mel_filters().T
    tiny = np.finfo(float).eps  # digital silence has no logarithm
    log_bands = np.log(np.where(bands == 0, tiny, bands))
    cepstrum = log_bands @ _cosines(rows=13, bands=26).T
    cepstrum *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    cepstrum[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstrum.T


def _power_spectrum(wav: np.ndarray, length: int = 400, hop: int = 160) -> np.ndarray:
    """(N,) -> (T, 257): periodogram of pre-emphasised frames, 512 points."""
    emphasised = np.concatenate((wav[:1], wav[1:] - 0.97 * wav[:-1]))
    hops = max(0, -(-(len(wav) - length) // hop))
    padded = np.pad(emphasised, (0, max(0, hops * hop + length - len(wav))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    return np.abs(np.fft.rfft(frames, 512)) ** 2 / 512


def _mel_filters(bands: int = 26) -> np.ndarray:
    """(26, 257): triangles between whole bins, equally spaced in mel (2595 log10(1 + f / 700))."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), bands + 2)
    edges = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000)
    bins = np.arange(257)
    low, middle, high = (edges[i : bands + i, None] for i in range(3))
    rising = (bins - low) / (middle - low)
    falling = (high - bins) / (high - middle)
    filters = np.where(bins < middle, rising, falling)
    return np.where((bins >= low) & (bins < high), filters, 0.0)


def _cosines(rows: int, bands: int) -> np.ndarray:
    """(rows, bands): the orthonormal DCT-II."""
    angles = np.pi * np.arange(rows)[:, None] * (2 * np.arange(bands) + 1) / (2 * bands)
    matrix = np.sqrt(2 / bands) * np.cos(angles)
    matrix[0] /= np.sqrt(2)
    return matrix


def usable_windows(frames: int, samples: int) -> int:
    """Windows that the public protocol scores: min(frames, samples / 640) - 5, at least 0."""
    return max(0, min(frames, samples // SAMPLES_A_FRAME) - WINDOW)


def lse(model: LseSyncNet, frames: np.ndarray, pcm: np.ndarray, batch_size: int = 16) -> LseResult:
    """Score one face track.

    Parameters
    ----------
    model: the judge; put into eval mode, used on the device where it is.
    frames: uint8 (N, 224, 224, 3) BGR face crops at 25 fps.
    pcm: int16 (samples,), 16 kHz, starting with the first frame.
    batch_size: windows at a time, which bounds the memory (about 16 MB a window).

    Raises ClipError(too_short) when picture or sound is shorter than 6 frames, and ValueError or
    TypeError for arrays of another shape or type.
    """
    if frames.dtype != np.uint8 or frames.shape[1:] != (224, 224, 3):
        raise ValueError(
            f"frames: expected uint8 (N, 224, 224, 3), got {frames.dtype} {frames.shape}"
        )
    count = usable_windows(len(frames), len(pcm))
    if count == 0:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{len(frames)} frames and {len(pcm) / 16000:.2f} s of sound; "
            f"LSE needs {WINDOW + 1} frames ({(WINDOW + 1) / 25:.2f} s) of both",
        )
    model.eval()
    return scores(*features(model, frames, mfcc(pcm), count, batch_size))


@torch.inference_mode()
def features(
    model: LseSyncNet, frames: np.ndarray, cepstrum: np.ndarray, count: int, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the first `count` windows: faces (count, 1024) and audio (count, 1024), CPU.

    frames: uint8 (N, 224, 224, 3); cepstrum: (13, T). Window i covers frames i..i+4 and columns
    4i..4i+19.
    """
    device = next(model.parameters()).device
    columns = torch.from_numpy(cepstrum.astype(np.float32)).unfold(1, COLUMNS, COLUMNS_A_FRAME)
    faces, audio = [], []
    for start in range(0, count, batch_size):
        stop = min(start + batch_size, count)
        track = torch.from_numpy(np.ascontiguousarray(frames[start : stop + WINDOW - 1]))
        track = track.to(device).float().permute(3, 0, 1, 2)
        faces.append(model.encode_faces(track[None]).cpu())
        sound = columns[:, start:stop].permute(1, 0, 2)[:, None]
        audio.append(model.encode_audio(sound.to(device)).cpu())
    return torch.cat(faces), torch.cat(audio)


def scores(faces: torch.Tensor, audio: torch.Tensor) -> LseResult:
    """Scores of features (n, 1024) and (n, 1024); beyond its ends the sound is zeros."""
    padded = F.pad(audio, (0, 0, MAX_SHIFT, MAX_SHIFT))
    shifts = range(2 * MAX_SHIFT + 1)
    distances = torch.stack(
        [F.pairwise_distance(faces, padded[shift : shift + len(faces)]).mean() for shift in shifts]
    )
    best = int(distances.argmin())
    smallest = float(distances[best])
    return LseResult(
        lse_d=smallest,
        lse_c=float(distances.median()) - smallest,
        offset=MAX_SHIFT - best,
        distances=distances.numpy(),
    )
