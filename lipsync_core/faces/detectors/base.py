"""The interface of face detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Faces:
    """The faces of one frame, best score first.

    boxes: float32 (n, 5) x1, y1, x2, y2, score; pixels, not clipped to the frame.
    landmarks: float32 (n, 10) x, y of the left and right eye (as seen), nose tip and the left and
        right corner of the mouth; (n, 0) from a detector without landmarks.
    """

    boxes: np.ndarray
    landmarks: np.ndarray


class Detector(Protocol):
    """A face detector. `name` is stored with its boxes; on_gpu: whether it runs on a GPU."""

    name: str
    on_gpu: bool

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """Faces of each of the frames, uint8 (B, H, W, 3) BGR: a list of B."""
        ...


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless `frames` is uint8 (B, H, W, 3)."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames {frames.dtype} {frames.shape}, wanted uint8 (B, H, W, 3)")
