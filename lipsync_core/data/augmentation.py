"""Light changes of the expert's windows, lest it learn its few speakers, rooms and lights by heart.

Knows arrays and random numbers only. What lips and sound have to do with each other must survive:
time is never touched. The windows that are compared with each other change alike, as if their clip
had been taken in another room: a change of each window's own would hide what tells them apart.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS, MEL_BANDS, MEL_WINDOW
from lipsync_core.config import SyncNetAugment

GREY = np.arange(256, dtype=np.float32)[:, None] / 255
MASK_BANDS = (4, 17)  # how many bands or columns a mask may cover: least, one more than most
MASK_COLUMNS = (1, 3)


NO_AUGMENT = SyncNetAugment(
    hflip=False, translate=0, scale=0, color_jitter=0, mel_gain=0, vtlp=0, spec_augment=0
)
HFLIP = NO_AUGMENT.model_copy(update={"hflip": True})


def scaled(bounds: SyncNetAugment, strength: float) -> SyncNetAugment:
    """The same augmentation at a strength of 0 to 1; horizontal flips stay as they are."""
    numbers = bounds.model_dump(exclude={"hflip"})
    return bounds.model_copy(update={key: value * strength for key, value in numbers.items()})


class Transform(NamedTuple):
    """One change, drawn within the bounds of a `SyncNetAugment`."""

    hflip: bool
    zoom: float  # factor
    offset: np.ndarray  # across and down, shares of the crop's side
    color: np.ndarray  # six numbers about 0, see `_color_jitter`
    warp: float  # factor
    gain: float  # mel units
    tilt: float  # mel units, at the highest band
    bands: slice  # silenced, none when empty
    columns: slice


def sample_transform(rng: np.random.Generator, bounds: SyncNetAugment) -> Transform:
    """A change within the bounds; takes as many random numbers whatever they are."""
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


def _span(
    rng: np.random.Generator, length: int, least: int, most: int, probability: float
) -> slice:
    width, place = int(rng.integers(least, most)), rng.random()
    first = int(place * (length - width + 1))
    return slice(first, first + width if rng.random() < probability else first)


def transform_frames(frames: np.ndarray, transform: Transform) -> np.ndarray:
    """The changed lower halves of frames: uint8 (n, S, S, 3) -> uint8 (n, S/2, S, 3)."""
    size = frames.shape[1]
    if transform.zoom != 1 or transform.offset.any():
        frames = hflip(frames) if transform.hflip else frames
        frames = _affine(frames, transform.zoom, *(transform.offset * size))
    else:
        frames = frames[:, size // 2 :]
        frames = hflip(frames) if transform.hflip else frames
    return _color_jitter(frames, transform.color) if transform.color.any() else frames


def hflip(frames: np.ndarray) -> np.ndarray:
    """Pictures, uint8 (T, H, W, 3), with left and right changed, as a new array."""
    # One tall picture: OpenCV turns it many times faster than a view with a negative step is read.
    tall = np.ascontiguousarray(frames).reshape(-1, *frames.shape[-2:])
    return cv2.flip(tall, 1).reshape(frames.shape)


def _affine(frames: np.ndarray, zoom: float, across: float, down: float) -> np.ndarray:
    """Frames scaled about the middle of their lower half and moved by pixels; that half of them."""
    size = frames.shape[1]
    half, x, y = size // 2, size / 2, size * 0.75
    place = np.float32(
        [[zoom, 0, x * (1 - zoom) + across], [0, zoom, y * (1 - zoom) + down - half]]
    )
    out = np.empty((len(frames), half, size, 3), np.uint8)
    for frame, moved in zip(frames, out, strict=True):
        cv2.warpAffine(
            np.ascontiguousarray(frame), place, (size, half), moved, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def _color_jitter(frames: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Frames under another light; color: 6 numbers about 0, of contrast, brightness, gain, tint."""
    contrast, brightness, gain = (
        np.exp(2 * color[0]),
        color[1] / 4,
        np.exp(2 * color[2] + color[3:] / 2),
    )
    table = ((GREY**contrast * gain + brightness) * 255).clip(0, 255).round().astype(np.uint8)
    flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    return cv2.LUT(flat, table[None]).reshape(frames.shape)


def transform_mels(mels: np.ndarray, transform: Transform) -> np.ndarray:
    """Changed mel windows: float32 (n, 1, 80, 16) in [-4, 4] -> the same."""
    changed = _vtlp(mels, transform.warp) if transform.warp != 1 else mels.copy()
    if transform.gain or transform.tilt:
        slope = np.linspace(-transform.tilt, transform.tilt, MEL_BANDS, dtype=np.float32)[:, None]
        changed = np.clip(changed + np.float32(transform.gain) + slope, -MAX_ABS, MAX_ABS)
    changed[..., transform.bands, :] = -MAX_ABS
    changed[..., transform.columns] = -MAX_ABS
    return changed


def _vtlp(mels: np.ndarray, factor: float) -> np.ndarray:
    """Each band takes the value that stood at `factor` times its place: float32 (n, 1, 80, 16)."""
    at = np.clip(np.arange(MEL_BANDS) * factor, 0, MEL_BANDS - 1)
    below = at.astype(int)
    above = np.minimum(below + 1, MEL_BANDS - 1)
    weight = (at - below).astype(np.float32)[:, None]
    return mels[..., below, :] * (1 - weight) + mels[..., above, :] * weight
