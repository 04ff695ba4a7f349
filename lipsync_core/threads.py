"""How many processor threads a job may use: what Snakemake gave it, no more."""

from __future__ import annotations

import cv2
import torch


def limit(threads: int) -> None:
    """Let torch and OpenCV use `threads` threads in this process."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
