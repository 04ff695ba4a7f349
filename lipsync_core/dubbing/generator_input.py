"""Convert face crops to the generator's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipsync_core.faces.archive import resize_square


def inference_input(crops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The generator's input, float32 (B, 6, size, size) in [0, 1], of B crops uint8 (h, w, 3) BGR.

    Channels 0-2 are the crop with its lower half set to zero, channels 3-5 the whole crop: at
    inference the public models take the current crop itself as the reference.
    """
    faces = np.empty((len(crops), 6, size, size), np.float32)
    for face, crop in zip(faces, crops, strict=True):
        face[:3] = face[3:] = resize_square(crop, size).transpose(2, 0, 1)  # as in training
    faces[:, :3, size // 2 :] = 0
    faces /= 255
    return faces
