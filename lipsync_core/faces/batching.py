"""Detector batches that fit into memory: an estimate, and halving when memory runs out."""

from __future__ import annotations

import logging
import sys

import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detectors.base import Detector, Faces

log = logging.getLogger(__name__)

CPU_BATCH = 4  # frames; detectors take single ones on a CPU, a few keep the decoder busy
MAX_BATCH = 64  # frames; saturates a GPU
BYTES_PER_PIXEL = 1024  # S3FD's float32 activations: two maps of 64 channels, twice


def max_batch_size(device: str, long_side: int) -> int:
    """Batch size for frames of `long_side` x `long_side` pixels in half of the free memory."""
    import torch

    from lipsync_core.runtime.device import pick

    processor = pick(device)
    if processor.type != "cuda":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info(processor)
    return int(min(MAX_BATCH, max(1, free // 2 // (BYTES_PER_PIXEL * long_side**2))))


def batch_size(detector: Detector, device: str, long_side: int) -> int:
    """Batch size of a detector: as `max_batch_size` on a GPU. Imports torch only then."""
    return max_batch_size(device, long_side) if detector.on_gpu else CPU_BATCH


class BatchedDetector:
    """Runs a detector in batches; halves the batch size when memory runs out.

    size: current batch size. It does not change the result.
    """

    def __init__(self, detector: Detector, size: int) -> None:
        self.detector = detector
        self.size = size

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """Faces of each of the frames, uint8 (B, H, W, 3) BGR, in calls of at most `size`.

        Raises LipsyncError when one frame does not fit into memory.
        """
        faces: list[Faces] = []
        while len(faces) < len(frames):
            batch = frames[len(faces) : len(faces) + self.size]
            try:
                faces += self.detector.detect_faces(batch)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if len(batch) == 1:
                    height, width = frames.shape[1:3]
                    raise LipsyncError(
                        f"{self.detector.name}: no memory for one frame of {width}x{height}; "
                        "lower detect.long_side, or set `device: cpu`"
                    ) from error
                self.size = len(batch) // 2
                log.warning("out of memory: batches of %d frames from here on", self.size)
            else:
                continue
            # Outside of the handler, where the exception keeps the failed call's tensors alive.
            if "torch" in sys.modules:
                sys.modules["torch"].cuda.empty_cache()
        return faces


def _out_of_memory(error: Exception) -> bool:
    # torch is not imported here: readers of boxes import this module, too.
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )
