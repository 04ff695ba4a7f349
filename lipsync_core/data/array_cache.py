"""A bounded cache of arrays."""

from __future__ import annotations

import threading
from collections.abc import Hashable

import numpy as np

# Bytes per array besides its values: object, key, dict entry. Measured with 96 px frames.
OVERHEAD = 400


class ArrayCache:
    """Caches arrays until `room` bytes of memory are used, then no more. Thread-safe.

    Never evicts: samples are drawn uniformly, so eviction would not help. Each array has its own
    memory: NumPy requests huge pages for arrays of 4 MiB and more, so that one frame would keep
    2 MiB resident.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._arrays: dict[Hashable, np.ndarray] = {}
        self.used = 0  # bytes
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array cached under `key`, or None."""
        return self._arrays.get(key)

    def add(self, key: Hashable, array: np.ndarray) -> None:
        """Cache `array`, which must not be modified afterwards, if there is room.

        Views are copied, because they would keep their whole base array.
        """
        size = array.nbytes + OVERHEAD
        with self._lock:
            if key not in self._arrays and self.used + size <= self.room:
                self._arrays[key] = array if array.base is None else array.copy()
                self.used += size
