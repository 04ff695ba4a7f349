"""What a face detector is, and how to get one by name. Pictures in, boxes out; no video."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lipsync_core.faces.choice import resolve


@dataclass(frozen=True)
class Faces:
    """The faces of one picture, best score first.

    boxes: float32 (n, 5) x1, y1, x2, y2, score; pixels, not clipped to the picture.
    landmarks: float32 (n, 10) x, y of the left and right eye (as seen), nose tip and the left and
        right corner of the mouth; (n, 0) from a detector without landmarks.
    """

    boxes: np.ndarray
    landmarks: np.ndarray


class Detector(Protocol):
    """A face detector. `name` goes into the artefacts' metadata; on_gpu: does a GPU compute it?"""

    name: str
    on_gpu: bool

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """Faces of each of the frames, uint8 (B, H, W, 3) BGR: a list of B."""
        ...

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Only the boxes: a list of B arrays float32 (n, 5) x1, y1, x2, y2, score."""
        ...


def build(
    name: str,
    device: str = "auto",
    models_dir: str | os.PathLike[str] = "models",
    threshold: float = 0.5,
    precision: str = "auto",
) -> Detector:
    """The detector that `name` ("auto", "s3fd" or "centerface") stands for, ready to use.

    Parameters
    ----------
    device: "auto", "cpu", "cuda" ...; see `lipsync_core.runtime.device.pick`.
    models_dir: folder of the public weights (`s3fd.pth`).
    threshold: lowest score of a face, in (0, 1).
    precision: of S3FD's numbers, "auto", "float32" or "bf16"; CenterFace is float32.

    Raises LipsyncError for an unknown name, and for weights that are missing or wrong.
    """
    # Each detector brings its own engine; only the one in use is imported.
    if resolve(name, models_dir) == "s3fd":
        from lipsync_core.faces.detectors.s3fd import S3FD

        return S3FD.from_folder(models_dir, device=device, threshold=threshold, precision=precision)
    from lipsync_core.faces.detectors.centerface import CenterFace

    return CenterFace(device=device, threshold=threshold)


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless `frames` is uint8 (B, H, W, 3)."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames {frames.dtype} {frames.shape}, wanted uint8 (B, H, W, 3)")
