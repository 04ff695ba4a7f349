"""A bounded cache of arrays. Knows nothing of clips."""

from __future__ import annotations

import threading
from collections.abc import Hashable

import numpy as np

# Bytes of an array beside its numbers: object, key, place in the table. Measured, 96 px frames.
OVERHEAD = 400


class ArrayCache:
    """Keeps arrays until `room` bytes of memory are used, then no more. Safe to share by threads.

    Fill, then stop: samples are drawn uniformly, so evicting would gain nothing. Each array has its
    own memory: NumPy asks for huge pages for arrays of 4 MiB and more, and a frame in a larger
    block makes 2 MiB resident.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._arrays: dict[Hashable, np.ndarray] = {}
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes of memory in use."""
        return self._used

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array kept under `key`, or None."""
        return self._arrays.get(key)

    def add(self, key: Hashable, array: np.ndarray) -> None:
        """Keep `array`, which nobody may change from now on, if there is room.

        A view is copied: it would keep all that it looks into.
        """
        size = array.nbytes + OVERHEAD
        with self._lock:
            if key not in self._arrays and self._used + size <= self.room:
                self._arrays[key] = array if array.base is None else array.copy()
                self._used += size
