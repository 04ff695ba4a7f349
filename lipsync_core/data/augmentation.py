"""Augmentation of SyncNet windows, against overfitting to few speakers, rooms and lights.

Never changes the timing, which relates lips and audio. All windows that are compared with each
other get the same transform, as if their clip had been recorded elsewhere: different transforms
would hide what distinguishes the windows.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS, MEL_BANDS, MEL_WINDOW
from lipsync_core.config import SyncNetAugment

GRAY = np.arange(256, dtype=np.float32)[:, None] / 255
MASK_BANDS = (4, 17)  # minimum and maximum + 1 of the mel bands that a mask covers
MASK_COLUMNS = (1, 3)  # likewise of the mel columns
NO_AUGMENT = SyncNetAugment(
    hflip=False, translate=0, scale=0, color_jitter=0, mel_gain=0, vtlp=0, spec_augment=0
)
HFLIP = NO_AUGMENT.model_copy(update={"hflip": True})


def scaled(bounds: SyncNetAugment, strength: float) -> SyncNetAugment:
    """The same augmentation at a strength of 0 to 1; horizontal flips stay as they are."""
    numbers = bounds.model_dump(exclude={"hflip"})
    return bounds.model_copy(update={key: value * strength for key, value in numbers.items()})


class Transform(NamedTuple):
    """One transform, sampled within the bounds of a `SyncNetAugment`."""

    hflip: bool
    zoom: float  # factor
    offset: np.ndarray  # across and down, fractions of the side of the crop
    color: np.ndarray  # six numbers around 0, see `_color_jitter`
    warp: float  # factor of the frequency axis (vocal tract length perturbation)
    gain: float  # mel units
    tilt: float  # mel units, at the highest band
    bands: slice  # masked mel bands, may be empty
    columns: slice  # masked mel columns, may be empty


def sample_transform(rng: np.random.Generator, bounds: SyncNetAugment) -> Transform:
    """Sample a transform. The number of random numbers taken does not depend on the bounds."""
    return Transform(
        hflip=bool(rng.random() < 0.5) and bounds.hflip,
        zoom=1 + bounds.scale * rng.uniform(-1, 1),
        offset=bounds.translate * rng.uniform(-1, 1, 2),
        color=bounds.color_jitter * rng.uniform(-1, 1, 6),
        warp=float(np.exp(bounds.vtlp * rng.uniform(-1, 1))),
        gain=bounds.mel_gain * rng.uniform(-1, 1),
        tilt=bounds.mel_gain * rng.uniform(-1, 1),
        bands=_span(rng, MEL_BANDS, *MASK_BANDS, bounds.spec_augment),
        columns=_span(rng, MEL_WINDOW, *MASK_COLUMNS, bounds.spec_augment),
    )


def _span(rng: np.random.Generator, length: int, low: int, high: int, probability: float) -> slice:
    width, position = int(rng.integers(low, high)), rng.random()
    first = int(position * (length - width + 1))
    return slice(first, first + width if rng.random() < probability else first)


def transform_frames(frames: np.ndarray, transform: Transform) -> np.ndarray:
    """Transformed lower halves of frames: uint8 (n, S, S, 3) -> uint8 (n, S/2, S, 3)."""
    size = frames.shape[1]
    if transform.zoom != 1 or transform.offset.any():
        frames = hflip(frames) if transform.hflip else frames
        frames = _affine(frames, transform.zoom, *(transform.offset * size))
    else:
        frames = frames[:, size // 2 :]
        frames = hflip(frames) if transform.hflip else frames
    return _color_jitter(frames, transform.color) if transform.color.any() else frames


def hflip(frames: np.ndarray) -> np.ndarray:
    """Flip frames, uint8 (T, H, W, 3), horizontally; a new array."""
    # As one tall image: OpenCV is many times faster than reading a view with a negative stride.
    tall = np.ascontiguousarray(frames).reshape(-1, *frames.shape[-2:])
    return cv2.flip(tall, 1).reshape(frames.shape)


def _affine(frames: np.ndarray, zoom: float, across: float, down: float) -> np.ndarray:
    """Scale frames around the center of the lower half, move them by pixels, return that half."""
    size = frames.shape[1]
    half, x, y = size // 2, size / 2, size * 0.75
    matrix = np.float32(
        [[zoom, 0, x * (1 - zoom) + across], [0, zoom, y * (1 - zoom) + down - half]]
    )
    out = np.empty((len(frames), half, size, 3), np.uint8)
    for frame, moved in zip(frames, out, strict=True):
        cv2.warpAffine(
            np.ascontiguousarray(frame),
            matrix,
            (size, half),
            moved,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return out


def _color_jitter(frames: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Change the light; color: 6 numbers around 0 for contrast, brightness, gain, tint (3)."""
    contrast, brightness = np.exp(2 * color[0]), color[1] / 4
    gain = np.exp(2 * color[2] + color[3:] / 2)
    table = ((GRAY**contrast * gain + brightness) * 255).clip(0, 255).round().astype(np.uint8)
    flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    return cv2.LUT(flat, table[None]).reshape(frames.shape)


def transform_mels(mels: np.ndarray, transform: Transform) -> np.ndarray:
    """Transformed mel windows: float32 (n, 1, 80, 16) in [-4, 4] -> the same."""
    changed = _vtlp(mels, transform.warp) if transform.warp != 1 else mels.copy()
    if transform.gain or transform.tilt:
        slope = np.linspace(-transform.tilt, transform.tilt, MEL_BANDS, dtype=np.float32)[:, None]
        changed = np.clip(changed + np.float32(transform.gain) + slope, -MAX_ABS, MAX_ABS)
    changed[..., transform.bands, :] = -MAX_ABS
    changed[..., transform.columns] = -MAX_ABS
    return changed


def _vtlp(mels: np.ndarray, factor: float) -> np.ndarray:
    """Warp the frequency axis of mels, float32 (n, 1, 80, 16): band b gets band `factor` * b."""
    source = np.clip(np.arange(MEL_BANDS) * factor, 0, MEL_BANDS - 1)
    below = source.astype(int)
    above = np.minimum(below + 1, MEL_BANDS - 1)
    weight = (source - below).astype(np.float32)[:, None]
    return mels[..., below, :] * (1 - weight) + mels[..., above, :] * weight
