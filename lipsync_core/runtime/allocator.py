"""Settings of the C library's memory allocator. Light."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next tensors; on Linux with glibc.

    Otherwise large tensors are mapped and unmapped in every step, and the system clears their
    pages each time: a training step of a generator takes 1.05 to 1.1 times as long (`docs/log.md`).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
