"""Convert face crops to the generator's input, and blend generated faces into frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lipsync_core.faces.archive import resize_square

BLENDS = ("soft", "hard")
# The soft mask, as fractions of the box. It begins just below the middle, because networks with
# little training generate a visible line at the edge of the masked half, and fades out before the
# other three edges.
FADE_IN = (0.52, 0.64)
FADE_OUT = 0.10

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 are outside


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


def soft_mask(height: int, width: int) -> np.ndarray:
    """Opacity of the generated face: float32 (height, width) in [0, 1].

    Zero on the upper half, one inside the lower half, and falling smoothly to zero at the left,
    right and lower edges.
    """
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    columns = (np.arange(width, dtype=np.float32) + 0.5) / width
    start, full = FADE_IN
    down = _smoothstep((rows - start) / (full - start)) * _smoothstep((1 - rows) / FADE_OUT)
    across = _smoothstep(columns / FADE_OUT) * _smoothstep((1 - columns) / FADE_OUT)
    return np.outer(down, across)


def _smoothstep(ramp: np.ndarray) -> np.ndarray:
    ramp = np.clip(ramp, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def paste(frame: np.ndarray, box: Box, face: np.ndarray, blend: str = "soft") -> None:
    """Paste a generated face into `frame` (uint8 (H, W, 3) BGR, changed in place) at `box`.

    Parameters
    ----------
    face: float32 (S, S, 3) BGR in [0, 1].
    blend: "soft" blends the lower half in by `soft_mask`; "hard" replaces the whole
        rectangle, as the public inference script does.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    region = frame[y1:y2, x1:x2]
    if blend == "hard":
        resized = cv2.resize(face * 255, (width, height), interpolation=cv2.INTER_LINEAR)
        region[:] = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
        return
    if blend != "soft":
        raise ValueError(f"blend {blend!r}: wanted one of {', '.join(BLENDS)}")
    # Bicubic: bilinear enlargement blurs the mouth more. Overshoots are clipped below.
    resized = cv2.resize(face * 255, (width, height), interpolation=cv2.INTER_CUBIC)
    first = int(FADE_IN[0] * height)  # the mask is zero above
    mask = soft_mask(height, width)[first:, :, None]
    mixed = region[first:] + mask * (resized[first:] - region[first:])
    region[first:] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
