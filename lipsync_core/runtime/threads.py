"""How many processor threads a job may use: what Snakemake gave it, no more.

Does not load torch, which takes longer than many a job has to do.
"""

from __future__ import annotations

import os
import sys

import cv2


def limit(threads: int) -> None:
    """Let torch (loaded already, or later) and OpenCV use `threads` threads in this process."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch when it is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    cv2.setNumThreads(threads)


def allowed() -> int:
    """Threads that a library may use, as `limit` or OMP_NUM_THREADS said; 0: its own choice."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdecimal() else 0
