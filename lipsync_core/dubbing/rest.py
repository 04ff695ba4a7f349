"""Rest of the mouth in pauses: when it rests, and the reference from which it is drawn then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS
from lipsync_core.faces.mouth_region import opening
from lipsync_core.media.speech import SpeechDetector

MIN_PAUSE = 0.3  # seconds; shorter pauses are part of the speech
# Seconds in which the mouth comes to rest, and leaves it: half of the pause, within these.
EASES = (0.2, 0.5)
SMALL = 48  # pixels to which crops are scaled to compare them
BLOCK, BLOCKS = 0.32, 24  # seconds of which one face is remembered, and how many: 7.7 s
MARGIN = 0.05  # of an opening (0 to 1) plus the difference of the upper face (0 to 1)
GLIDE = 0.4  # seconds in which 63 % of the way to another reference is made


def pauses(blocks: Iterable[np.ndarray], seconds: float) -> np.ndarray:
    """Pauses of `MIN_PAUSE` and longer: float64 (k, 2), start and end in seconds.

    blocks: the audio, float32 (n,) each in [-1, 1] at 16 kHz. seconds: its length. The times
    before and after all speech are pauses as well.
    Raises LipsyncError when the package with the network's weights is not installed.
    """
    segments = SpeechDetector().segments(blocks)
    edges = np.concatenate([[0.0], np.minimum(segments, seconds).ravel(), [seconds]]).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= MIN_PAUSE]


def speech_weight(silent: np.ndarray, time: float, end: float) -> float:
    """How much of the mouth follows the speech at a time: 1 in speech, 0 at rest, eased between.

    silent: as `pauses` returns them. end: where the audio ends. Beyond either end there is no
    speech, so the mouth is at rest from the beginning to the first speech, and stays at rest after
    the last. Longer pauses are eased for longer, see `EASES`.
    """
    row = int(np.searchsorted(silent[:, 0], time, "right")) - 1
    start, stop = silent[row] if row >= 0 else (0.0, 0.0)
    if stop < end <= time:  # the audio ends with speech
        start, stop = end, np.inf
    elif stop >= end:
        stop = np.inf
    elif time >= stop:
        return 1.0
    away = min(time - start if start > 0 else np.inf, stop - time)
    least, most = EASES
    share = min(1.0, away / min(most, max(least, (stop - start) / 2)))
    return 1.0 - share * share * (3 - 2 * share)


def quieter(mel: np.ndarray, weight: float) -> np.ndarray:
    """A mel window (80, 16) between digital silence (weight 0) and itself (1), float32.

    Mixed in its own unit, dB: the network draws a mouth that closes, where a mix of the images of
    an open and a closed mouth would show both. By the square root, because mouths change most in
    the upper half of the way.
    """
    return -MAX_ABS + np.float32(math.sqrt(weight)) * (mel + np.float32(MAX_ABS))


class _Seen(NamedTuple):
    crop: np.ndarray
    small: np.ndarray  # the same, as faces are compared


class RestReference:
    """The reference of a mouth at rest: a closed one, in a pose like that of the frame.

    Chosen among the faces seen in the last seconds of the shot: of each `BLOCK` seconds the one
    whose mouth is most closed. While the mouth rests, another one is chosen only where it is
    better by `MARGIN`, and taken little by little.
    """

    def __init__(self) -> None:
        self._shot = 0
        self._forget()

    def _forget(self) -> None:
        self._seen: deque[_Seen] = deque(maxlen=BLOCKS)
        self._block = -1
        self._time = self._elapsed = 0.0
        self._chosen: _Seen | None = None
        self._shown: np.ndarray | None = None  # float32, on its way to `_chosen`

    def see(self, crop: np.ndarray, time: float = 0.0, shot: int = 0) -> None:
        """Take a crop of the face, uint8 (S, S, 3) BGR, shown at a time in seconds.

        Those of other shots are forgotten.
        """
        if shot != self._shot:
            self._forget()
            self._shot = shot
        small = cv2.resize(crop, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        self._now = _Seen(crop, small)
        self._elapsed, self._time = time - self._time, time
        if int(time / BLOCK) != self._block:
            self._block = int(time / BLOCK)
            self._seen.append(self._now)
            return
        best, new = opening(np.stack((self._seen[-1].small, small)))
        if new < best:
            self._seen[-1] = self._now

    def reference(self, resting: bool) -> np.ndarray:
        """The reference for the face seen last, uint8 (S, S, 3): while not resting, that face."""
        if not resting:
            self._chosen = self._shown = None
            return self._now.crop
        self._chosen = self._choose()
        target = self._chosen.crop.astype(np.float32)
        if self._shown is None:
            self._shown = target
        else:
            share = np.float32(1 - math.exp(-max(0.0, self._elapsed) / GLIDE))
            self._shown = self._shown + share * (target - self._shown)
        return np.rint(self._shown).astype(np.uint8)

    def _choose(self) -> _Seen:
        candidates = list(self._seen)
        if self._chosen is not None:
            candidates.append(self._chosen)
        smalls = np.stack([seen.small for seen in candidates])  # measured against one skin
        upper = smalls[:, : SMALL // 2].astype(np.float32)
        turned = np.abs(upper - self._now.small[: SMALL // 2]).mean(axis=(1, 2, 3)) / 255
        cost = opening(smalls) + turned
        if self._chosen is not None:
            cost[-1] -= MARGIN
        return candidates[int(np.argmin(cost))]
