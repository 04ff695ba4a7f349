"""How many frames go to the detector at once: as many as its memory holds."""

from __future__ import annotations

import logging
import sys

import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detectors.base import Detector, Faces

log = logging.getLogger(__name__)

CPU_BATCH = 4  # detectors take single frames on a CPU; a few keep decoder and detector busy
MAX_BATCH = 64  # a GPU is full with these; more only keeps more frames waiting
BYTES_PER_PIXEL = 1024  # S3FD's float32 activations: two maps of 64 channels, twice


def max_batch_size(device: str, long_side: int) -> int:
    """Frames of `long_side` x `long_side` pixels that half of the device's free memory holds."""
    import torch

    from lipsync_core.runtime.device import pick

    processor = pick(device)
    if processor.type != "cuda":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info(processor)
    return int(min(MAX_BATCH, max(1, free // 2 // (BYTES_PER_PIXEL * long_side**2))))


class BatchedDetector:
    """Runs a detector over batches, and halves them when, and only when, memory runs out.

    size: frames of one call of the detector from now on. It does not change the result.
    """

    def __init__(self, detector: Detector, size: int) -> None:
        self.detector = detector
        self.size = size

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """Faces of each of the frames, uint8 (B, H, W, 3) BGR, in calls of at most `size`.

        Raises LipsyncError when memory does not even hold one frame.
        """
        faces: list[Faces] = []
        while len(faces) < len(frames):
            part = frames[len(faces) : len(faces) + self.size]
            try:
                faces += self.detector.detect_faces(part)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if len(part) == 1:
                    height, width = frames.shape[1:3]
                    raise LipsyncError(
                        f"{self.detector.name}: no memory for one frame of {width}x{height}; "
                        "lower detect.long_side, or set `device: cpu`"
                    ) from error
                self.size = len(part) // 2
                log.warning("out of memory: batches of %d frames from here on", self.size)
            else:
                continue
            # Outside of the handler: the error would keep the failed call's tensors alive.
            if "torch" in sys.modules:
                sys.modules["torch"].cuda.empty_cache()
        return faces


def _out_of_memory(error: Exception) -> bool:
    # Without importing torch: readers of boxes come by here, too, and have no use for it.
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )
