"""Rest of the mouth in pauses: when it rests, and the reference from which it is drawn then."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from lipsync_core.faces.mouth_region import opening
from lipsync_core.media.speech import SpeechDetector

MIN_PAUSE = 0.3  # seconds; shorter pauses are part of the speech
EASE = 0.24  # seconds in which the mouth comes to rest, and leaves it
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

    silent: as `pauses` returns them. end: where the audio ends; a pause at either end of it has no
    speech beyond, and the mouth rests there.
    """
    row = int(np.searchsorted(silent[:, 0], time, "right")) - 1
    if row < 0 or time >= silent[row, 1]:
        return 1.0
    start, stop = silent[row]
    away = min(
        time - start if start > 0 else np.inf,
        stop - time if stop < end else np.inf,
    )
    share = min(1.0, away / EASE)
    return 1.0 - share * share * (3 - 2 * share)


class RestReference:
    """The face, of those seen so far, whose mouth is most closed; kept while the mouth rests."""

    def __init__(self) -> None:
        self._best: np.ndarray | None = None
        self._small: np.ndarray | None = None  # the same, as mouths are compared
        self._held: np.ndarray | None = None

    def see(self, crop: np.ndarray) -> None:
        """Take a crop of the face, uint8 (h, w, 3) BGR."""
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
