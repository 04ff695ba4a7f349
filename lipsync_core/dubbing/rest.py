"""Rest of the mouth in pauses: when it rests, and the reference from which it is drawn then."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS
from lipsync_core.faces.mouth_region import opening
from lipsync_core.media.speech import SpeechDetector

MIN_PAUSE = 0.3  # seconds; shorter pauses are part of the speech
# Seconds in which the mouth comes to rest, and leaves it: half of the pause, within these.
EASES = (0.2, 0.4)
SMALL = 48  # pixels to which crops are scaled to measure their mouths


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
    an open and a closed mouth would show both.
    """
    return -MAX_ABS + np.float32(weight) * (mel + np.float32(MAX_ABS))


class RestReference:
    """The face, of those seen so far, whose mouth is most closed; kept while the mouth rests."""

    def __init__(self) -> None:
        self._shot = 0
        self._forget()

    def _forget(self) -> None:
        self._best: np.ndarray | None = None
        self._small: np.ndarray | None = None  # the same, as mouths are compared
        self._held: np.ndarray | None = None

    def see(self, crop: np.ndarray, shot: int = 0) -> None:
        """Take a crop of the face, uint8 (h, w, 3) BGR; those of other shots are forgotten."""
        if shot != self._shot:
            self._forget()
            self._shot = shot
        small = cv2.resize(crop, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        if self._small is not None:
            # Together, because each is measured against the skin of both.
            best, new = opening(np.stack((self._small, small)))
            if new >= best:
                return
        self._best, self._small = crop.copy(), small

    def reference(self, resting: bool) -> np.ndarray:
        """The reference, uint8 (h, w, 3), of those seen; the same until the mouth rests no more."""
        assert self._best is not None
        if not resting:
            self._held = None
        elif self._held is None:
            self._held = self._best
        return self._best if self._held is None else self._held
