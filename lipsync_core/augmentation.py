"""Light changes of the expert's windows, lest it learn its few speakers, rooms and lights by heart.

Knows arrays and random numbers only. What lips and sound have to do with each other must survive:
time is never touched, and all frames of a window change alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from lipsync_core.audio import LIMIT, MEL_BANDS, MEL_WINDOW

GREY = np.arange(256, dtype=np.float32)[:, None] / 255
MASK_BANDS = (4, 17)  # how many bands or columns a mask may cover: least, one more than most
MASK_COLUMNS = (1, 3)


@dataclass(frozen=True)
class Augmentation:
    """How far a window may be changed; 0 leaves it as it is.

    flip: mirror half of the windows. shift: way of the face in the crop, zoom: change of its size,
    both as shares of its side. colour: change of brightness, contrast and tint (0.1: by about
    10 %). mel_gain: change of loudness and of the balance of low and high bands (mel units; one is
    12.5 dB). mel_warp: change of the pitch of everything, as of a longer or shorter throat (share).
    mel_mask: probability that a few bands, and again that a column or two, are silenced.
    """

    flip: bool = False
    shift: float = 0.0
    zoom: float = 0.0
    colour: float = 0.0
    mel_gain: float = 0.0
    mel_warp: float = 0.0
    mel_mask: float = 0.0

    def scaled(self, share: float) -> Augmentation:
        """The same kinds of change, `share` as far; mirroring stays as it is."""
        numbers = {name: value * share for name, value in asdict(self).items()}
        return Augmentation(**numbers | {"flip": self.flip})


def lower_half(frames: np.ndarray, rng: np.random.Generator, change: Augmentation) -> np.ndarray:
    """The lower half of a window's frames, changed: uint8 (T, S, S, 3) -> uint8 (T, S/2, S, 3)."""
    mirror = bool(rng.random() < 0.5) and change.flip
    zoom = 1 + change.zoom * rng.uniform(-1, 1)
    across, down = change.shift * rng.uniform(-1, 1, 2)
    tone = change.colour * rng.uniform(-1, 1, 6)
    size = frames.shape[1]
    if change.shift or change.zoom:
        frames = mirrored(frames) if mirror else frames
        frames = _moved(frames, zoom, across * size, down * size)
    else:
        frames = frames[:, size // 2 :]
        frames = mirrored(frames) if mirror else frames
    return _toned(frames, tone) if change.colour else frames


def mirrored(frames: np.ndarray) -> np.ndarray:
    """Pictures, uint8 (T, H, W, 3), with left and right changed, as a new array."""
    # One tall picture: OpenCV turns it many times faster than a view with a negative step is read.
    tall = np.ascontiguousarray(frames).reshape(-1, *frames.shape[-2:])
    return cv2.flip(tall, 1).reshape(frames.shape)


def _moved(frames: np.ndarray, zoom: float, across: float, down: float) -> np.ndarray:
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


def _toned(frames: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Frames under another light; tone: 6 numbers about 0, of contrast, brightness, gain, tint."""
    contrast, brightness, gain = (
        np.exp(2 * tone[0]),
        tone[1] / 4,
        np.exp(2 * tone[2] + tone[3:] / 2),
    )
    table = np.clip((GREY**contrast * gain + brightness) * 255, 0, 255).astype(np.uint8)
    flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    return cv2.LUT(flat, table[None]).reshape(frames.shape)


def sound(mel: np.ndarray, rng: np.random.Generator, change: Augmentation) -> np.ndarray:
    """The sound of a window, changed: float32 (1, 80, 16) in [-4, 4] -> the same."""
    factor = np.exp(change.mel_warp * rng.uniform(-1, 1))
    gain, tilt = change.mel_gain * rng.uniform(-1, 1, 2)
    masks = rng.random(2) < change.mel_mask
    bands = _span(rng, MEL_BANDS, *MASK_BANDS)
    columns = _span(rng, MEL_WINDOW, *MASK_COLUMNS)
    changed = _warped(mel[0], factor) if change.mel_warp else mel[0].copy()
    if change.mel_gain:
        slope = np.linspace(-tilt, tilt, MEL_BANDS, dtype=np.float32)[:, None]
        changed = np.clip(changed + np.float32(gain) + slope, -LIMIT, LIMIT)
    if masks[0]:
        changed[bands] = -LIMIT
    if masks[1]:
        changed[:, columns] = -LIMIT
    return changed[None]


def _span(rng: np.random.Generator, length: int, least: int, most: int) -> slice:
    width = int(rng.integers(least, most))
    first = int(rng.integers(0, length - width + 1))
    return slice(first, first + width)


def _warped(mel: np.ndarray, factor: float) -> np.ndarray:
    """Each band takes the value that stood at `factor` times its place: (80, 16) -> (80, 16)."""
    at = np.clip(np.arange(MEL_BANDS) * factor, 0, MEL_BANDS - 1)
    below = at.astype(int)
    above = np.minimum(below + 1, MEL_BANDS - 1)
    weight = (at - below).astype(np.float32)[:, None]
    return mel[below] * (1 - weight) + mel[above] * weight
