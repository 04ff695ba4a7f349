"""LSE-D, LSE-C and the audio-visual offset of a face track, by the public protocol.

Features: 13 MFCC, windows of 5 frames and 20 columns. Network: `lipsync_core.models.LseSyncNet`
with the public weights `syncnet_v2.model`. The face track is cut by the caller.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dct
from torch.nn import functional as F

from lipsync_core.errors import ClipError, Reason
from lipsync_core.evaluation.av_offset import MAX_SHIFT, AvOffset, summarize, window_distances
from lipsync_core.models.lse import LseSyncNet

SAMPLES_A_FRAME = 640  # 16 kHz, 25 frames a second
WINDOW = 5  # frames
COLUMNS_A_FRAME = 4  # 100 MFCC columns a second
COLUMNS = 20  # MFCC columns in 5 frames


def mfcc(pcm: np.ndarray) -> np.ndarray:
    """Mel frequency cepstral coefficients, equal to `python_speech_features` with its defaults.

    pcm: int16 (N,) at 16 kHz, -32768..32767. Returns float64 (13, T), 100 columns a second, the
    last one padded with zeros: T = 1 + ceil((N - 400) / 160). Windows of 25 ms without taper,
    pre-emphasis 0.97, 26 mel bands 0..8000 Hz, liftered by 22, row 0 is the log energy.

    Raises TypeError unless `pcm` is int16: floats in -1..1 would give different values.
    """
    if pcm.dtype != np.int16:
        raise TypeError(f"pcm: expected int16, got {pcm.dtype}")
    power = _power_spectrum(pcm.astype(np.float64))
    energy = power.sum(axis=1)
    bands = power @ _mel_filters().T
    tiny = np.finfo(float).eps  # avoids log(0) in digital silence
    log_bands = np.log(np.where(bands == 0, tiny, bands))
    cepstrum = dct(log_bands, norm="ortho")[:, :13]
    cepstrum *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    cepstrum[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstrum.T


def _power_spectrum(wav: np.ndarray, length: int = 400, hop: int = 160) -> np.ndarray:
    """(N,) -> (T, 257): periodogram of pre-emphasized frames, 512 points."""
    emphasized = np.concatenate((wav[:1], wav[1:] - 0.97 * wav[:-1]))
    hops = max(0, -(-(len(wav) - length) // hop))
    padded = np.pad(emphasized, (0, max(0, hops * hop + length - len(wav))))
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


def usable_windows(frames: int, samples: int) -> int:
    """Number of windows that the public protocol scores: min(frames, samples / 640) - 5, >= 0."""
    return max(0, min(frames, samples // SAMPLES_A_FRAME) - WINDOW)


def protocol_boxes(boxes: np.ndarray) -> np.ndarray:
    """The regions that the public protocol crops around face boxes: float32 (n, 4) -> (n, 4).

    Squares, as in the network's training data: 40 % of the face's size added at the sides and
    below.
    """
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2
    sides = (x - 1.4 * half, y - half, x + 1.4 * half, y + 1.8 * half)
    return np.stack(sides, axis=1).astype(np.float32)


def lse(model: LseSyncNet, frames: np.ndarray, pcm: np.ndarray, batch_size: int = 16) -> AvOffset:
    """Score one face track: LSE-D (`distance`), LSE-C (`confidence`) and the offset.

    Arguments and errors: see `lse_distances`.
    """
    return summarize(lse_distances(model, frames, pcm, batch_size))


def lse_distances(
    model: LseSyncNet, frames: np.ndarray, pcm: np.ndarray, batch_size: int = 16
) -> np.ndarray:
    """Distances of the windows of one face track to shifted audio: float32 (n, 31).

    Parameters
    ----------
    model: set to eval mode; runs on the device it is on.
    frames: uint8 (N, 224, 224, 3) BGR face crops at 25 fps.
    pcm: int16 (samples,), 16 kHz, starting with the first frame.
    batch_size: windows at a time; bounds the memory (about 16 MB a window).

    Raises ClipError(too_short) if video or audio is shorter than 6 frames, and ValueError or
    TypeError for arrays of another shape or dtype.
    """
    if frames.dtype != np.uint8 or frames.shape[1:] != (224, 224, 3):
        raise ValueError(
            f"frames: expected uint8 (N, 224, 224, 3), got {frames.dtype} {frames.shape}"
        )
    count = usable_windows(len(frames), len(pcm))
    if count == 0:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{len(frames)} frames and {len(pcm) / 16000:.2f} s of audio; "
            f"LSE needs {WINDOW + 1} frames ({(WINDOW + 1) / 25:.2f} s) of both",
        )
    model.eval()
    return padded_distances(*features(model, frames, mfcc(pcm), count, batch_size))


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
        windows = columns[:, start:stop].permute(1, 0, 2)[:, None]
        audio.append(model.encode_audio(windows.to(device)).cpu())
    return torch.cat(faces), torch.cat(audio)


def padded_distances(faces: torch.Tensor, audio: torch.Tensor) -> np.ndarray:
    """Distances of features (n, 1024) and (n, 1024) over the shifts: float32 (n, 31).

    Before its first and after its last window the audio features are zeros, as in the public code.
    """
    return window_distances(faces, F.pad(audio, (0, 0, MAX_SHIFT, MAX_SHIFT)))


def scores(faces: torch.Tensor, audio: torch.Tensor) -> AvOffset:
    """LSE-D, LSE-C and offset of features (n, 1024) and (n, 1024), see `padded_distances`."""
    return summarize(padded_distances(faces, audio))
