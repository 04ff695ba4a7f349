"""Animate a still: the mouth follows the speech, the head sways, the eyes blink.

Every frame is one backward warp of the still (for each pixel of the frame, its position in the
still), with the interior of the mouth and the eyelids blended in.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from lipsync_core.demo import photos
from lipsync_core.demo.eyes import Eye
from lipsync_core.demo.mouth import Mouth, smoothstep
from lipsync_core.demo.portraits import HEIGHT, WIDTH, Still
from lipsync_core.demo.visemes import CHANNELS
from lipsync_core.media.timestamps import FPS

HEAD_MOVES = ("x", "y", "turn", "zoom", "yaw", "pitch")
# Standard deviations: pixels, pixels, radians, share, pixels at the nose, pixels at the nose.
_SWAY = (1.6, 1.2, 0.010, 0.006, 2.2, 1.6)


def frames(still: Still, tracks: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield one frame per row of `tracks` (K, 6) as uint8 (HEIGHT, WIDTH, 3) BGR.

    `seed` determines the head's movement and the blinks.
    """
    random = np.random.default_rng(seed)
    count = len(tracks)
    sway = head_motion(count, tracks[:, CHANNELS.index("open")], random)
    blinks = blink_track(count, random)
    renderer = StillRenderer(still)
    for index in range(count):
        yield renderer.frame(tracks[index], sway[index], float(blinks[index]))


def head_motion(count: int, opening: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Smooth sway, float32 (count, 6), columns as in `HEAD_MOVES`; nods a little with speech."""
    seconds = np.arange(count) / FPS
    sway = np.zeros((count, len(_SWAY)))
    for column, size in enumerate(_SWAY):
        for frequency in random.uniform(0.08, 0.75, 4):
            phase = random.uniform(0, 2 * np.pi)
            weight = size * 0.35 / np.sqrt(frequency + 0.2)
            sway[:, column] += weight * np.sin(2 * np.pi * frequency * seconds + phase)
    slow = cv2.GaussianBlur(opening.reshape(-1, 1).astype(np.float32), (1, 0), 0, sigmaY=6)
    sway[:, HEAD_MOVES.index("pitch")] += 2.0 * (slow[:, 0] - slow.mean())
    return sway.astype(np.float32)


def blink_track(count: int, random: np.random.Generator) -> np.ndarray:
    """Closure of the eyes, float32 (count,) in [0, 1]: a blink every 2 to 5 seconds."""
    shut = np.zeros(count + 8, np.float32)
    shape = np.array([0.45, 1.0, 0.95, 0.6, 0.25], np.float32)
    at = int(random.uniform(0.6, 3.0) * FPS)
    while at < count:
        shut[at : at + len(shape)] = np.maximum(shut[at : at + len(shape)], shape)
        at += int(random.uniform(2.0, 5.0) * FPS)
    return shut[:count]


class StillRenderer:
    """Precomputed data of one still; renders its frames."""

    def __init__(self, still: Still) -> None:
        self.still = still
        self.mouth = Mouth(still)
        ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self._grid = np.stack([xs, ys], axis=-1)
        self._head = _head_fields(still, xs, ys).reshape(len(HEAD_MOVES), -1)
        self._eyes = [Eye(still, group) for group in photos.EYES]

    def frame(self, shape: np.ndarray, sway: np.ndarray, blink: float) -> np.ndarray:
        """One frame, uint8 (HEIGHT, WIDTH, 3): mouth `shape` (6,), head `sway` (6,), eyes."""
        at = self._grid - (sway @ self._head).reshape(self._grid.shape)
        lids = [eye.lid(at, blink) for eye in self._eyes] if blink > 0.02 else []
        interior = self.mouth.move(at, shape)
        person = cv2.remap(
            self.still.image, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        for box, color, opacity in [*lids, *([interior] if interior else [])]:
            mixed = person[box] + opacity[..., None] * (color - person[box])
            person[box] = np.clip(mixed + 0.5, 0, 255)
        alpha = cv2.remap(
            self.still.person, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return cv2.blendLinear(person, self.still.backdrop, alpha, 1 - alpha)


def _head_fields(still: Still, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Displacement of each pixel by one unit of each head move, float32 (6, H, W, 2)."""
    points = still.points
    chin, brow = points[photos.CHIN], points[photos.HAIRLINE]
    center = points[list(photos.OUTLINE)].mean(axis=0)
    wide = float(np.ptp(points[list(photos.OUTLINE), 0])) / 2
    # The head moves as a whole, the shoulders hardly move.
    fall = np.clip((ys - chin[1] - 2) / 70, 0, 1)
    whole = 1 - 0.85 * fall * fall * (3 - 2 * fall)
    tall = (chin[1] - brow[1]) * 0.75
    dome = smoothstep(
        1 - ((xs - center[0]) / (1.7 * wide)) ** 2 - ((ys - center[1]) / (1.9 * tall)) ** 2
    )
    pivot_x, pivot_y = chin[0], chin[1] + 15
    zero = np.zeros_like(xs)
    return np.stack(
        [
            np.stack([whole, zero], -1),
            np.stack([zero, whole], -1),
            np.stack([-(ys - pivot_y) * whole, (xs - pivot_x) * whole], -1),
            np.stack([(xs - center[0]) * whole, (ys - center[1]) * whole], -1),
            np.stack([dome, zero], -1),
            np.stack([zero, dome], -1),
        ]
    ).astype(np.float32)
