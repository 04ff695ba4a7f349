"""Color tags of videos, and conversion of regions between planar YUV 4:2:0 and BGR.

Only the region around a face is converted, in the source's own matrix and range; the rest of a
frame keeps its bytes. Frames are I420 as OpenCV lays them out: uint8 (H * 3 // 2, W), the planes Y
(H, W), U and V (H / 2, W / 2) one after the other, H and W even.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

UNKNOWN = "unknown"
# Weights of red and blue in luma, by ffmpeg's name of the matrix (ITU-T H.273, table 4).
LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
}
STRIP_ROWS = 32
DEFAULT_MATRIX = "smpte170m"

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 are outside


@dataclass(frozen=True)
class ColorTags:
    """How a video's samples become light, in ffmpeg's names; "unknown" where the file is silent.

    matrix: of luma and chroma, such as "bt709". primaries, transfer: such as "bt709". range: "tv"
    (luma 16 to 235), "pc" (0 to 255) or "unknown".
    """

    matrix: str = UNKNOWN
    primaries: str = UNKNOWN
    transfer: str = UNKNOWN
    range: str = UNKNOWN

    @property
    def effective_matrix(self) -> str:
        """The matrix to convert by: where the tag is missing or rare, BT.601.

        ffmpeg's scaler and OpenCV assume it at every size, so that generators are trained and used
        with the same colors. Players may assume BT.709 for large frames; the written file keeps
        the missing tag and the same samples, so they show it as they show the source.
        """
        return self.matrix if self.matrix in LUMA_WEIGHTS else DEFAULT_MATRIX

    @property
    def full_range(self) -> bool:
        """True when luma covers 0 to 255; without a tag it covers 16 to 235."""
        return self.range == "pc"


def planes(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of Y (H, W), U and V (H / 2, W / 2) in an I420 frame; writing to them changes it."""
    rows, width = frame.shape
    height = rows * 2 // 3
    chroma = frame.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
    return frame[:height], chroma[0], chroma[1]


def to_bgr(frame: np.ndarray, box: Box, color: ColorTags) -> np.ndarray:
    """The region `box` (even corners) of an I420 frame as uint8 (h, w, 3) BGR.

    Each chroma sample covers its 2 x 2 pixels, as in OpenCV's and ffmpeg's default conversions and
    so that `to_planes` is its inverse: within 1 of 255 where the colors are in the BGR gamut.
    """
    x1, y1, x2, y2 = checked_box(box, frame)
    luma, *chroma = planes(frame)
    parts = [luma[y1:y2, x1:x2]]
    for plane in chroma:
        part = plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2]
        parts.append(cv2.resize(part, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST))
    region = cv2.merge(parts)
    _, to_rgb = _matrices(color.effective_matrix, color.full_range)
    # In place, in strips: large arrays of floats are new memory each time, ten times as slow.
    for row in range(0, len(region), STRIP_ROWS):
        strip = region[row : row + STRIP_ROWS]
        strip[:] = _rounded(cv2.transform(strip.astype(np.float32), to_rgb))
    return region


def to_planes(bgr: np.ndarray, color: ColorTags) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) BGR, h and w even -> uint8 Y (h, w), U and V (h / 2, w / 2).

    Chroma is the mean of its 2 x 2 pixels.
    """
    height, width = bgr.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"region of {width}x{height} pixels: wanted even sides")
    to_yuv, _ = _matrices(color.effective_matrix, color.full_range)
    luma = cv2.transform(bgr, to_yuv[:1].astype(np.float32))
    half = cv2.resize(
        bgr.astype(np.float32), (width // 2, height // 2), interpolation=cv2.INTER_AREA
    )
    chroma = _rounded(cv2.transform(half, to_yuv[1:]))
    return luma.reshape(height, width), chroma[..., 0].copy(), chroma[..., 1].copy()


def yuv_matrix(color: ColorTags) -> np.ndarray:
    """BGR in levels -> Y, U and V in levels: float32 (3, 4), the offsets in the last column."""
    return _matrices(color.effective_matrix, color.full_range)[0]


def checked_box(box: Box, frame: np.ndarray) -> Box:
    """`box`; ValueError unless it is inside of the I420 frame with even corners, and not empty."""
    x1, y1, x2, y2 = box
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    inside = 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    if not inside or any(side % 2 for side in box):
        raise ValueError(f"box {box}: wanted even corners inside of {width}x{height} pixels")
    return box


def _rounded(values: np.ndarray) -> np.ndarray:
    # Rounds and saturates in one pass.
    return cv2.add(values, 0, dtype=cv2.CV_8U)


@cache
def _matrices(matrix: str, full_range: bool) -> tuple[np.ndarray, np.ndarray]:
    """BGR -> YUV and YUV -> BGR, both float32 (3, 4) with the offsets in the last column.

    ITU-T H.273, equations 38 to 40 (matrix) and 26 to 31 (range), for 8 bits.
    """
    red, blue = LUMA_WEIGHTS[matrix]
    luma = np.array([blue, 1 - red - blue, red])
    weights = np.stack(
        [
            luma,
            (np.array([1.0, 0, 0]) - luma) / (2 * (1 - blue)),
            (np.array([0, 0, 1.0]) - luma) / (2 * (1 - red)),
        ]
    )
    scale = np.array([1.0, 1, 1]) if full_range else np.array([219, 224, 224]) / 255
    offset = np.array([0.0 if full_range else 16, 128, 128])
    forward = np.column_stack([scale[:, None] * weights, offset])
    inverse = np.linalg.inv(forward[:, :3])
    backward = np.column_stack([inverse, -inverse @ offset])
    return forward.astype(np.float32), backward.astype(np.float32)
