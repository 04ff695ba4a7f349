"""Limits of the number of CPU threads to what Snakemake gave a job.

Does not import torch, which takes longer than many jobs do.
"""

from __future__ import annotations

import os
import sys

import cv2


def limit(threads: int) -> None:
    """Set the number of threads of torch (imported already, or later) and OpenCV."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch on import
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    cv2.setNumThreads(threads)


def allowed() -> int:
    """Threads that a library may use, set by `limit` or OMP_NUM_THREADS; 0 when neither is set."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    value = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(value) if value.isdecimal() else 0
