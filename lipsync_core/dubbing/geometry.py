"""Changes of the source's frames before anything else: smaller, turned, cut out.

The public script's --resize_factor, --rotate and --crop, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.media.color import planes as planes_of

Sides = tuple[int, int, int, int]  # top, bottom, left, right in pixels; -1: the frame's own edge


@dataclass(frozen=True)
class Geometry:
    """resize_factor divides both sides; rotate then turns by 90 degrees clockwise; crop is then
    (top, bottom, left, right) in pixels, -1 for the frame's own edge, made even."""

    resize_factor: int = 1
    rotate: bool = False
    crop: Sides | None = None

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Geometry:
        """The changes that an entry of the config's `dub` asks for."""
        crop = entry.get("crop")
        return cls(entry["resize_factor"], entry["rotate"], tuple(crop) if crop else None)

    @property
    def unchanged(self) -> bool:
        """True when the frames stay as they are."""
        return self == Geometry()

    def long_side(self, width: int, height: int) -> int | None:
        """Pixels to which the decoder scales the longer side of a frame; None for its own."""
        return max(2, max(width, height) // self.resize_factor) if self.resize_factor > 1 else None

    def region(self, width: int, height: int) -> Sides:
        """y1, y2, x1, x2 (even) of the crop in a resized and turned frame of this size.

        Raises LipsyncError when nothing is left.
        """
        top, bottom, left, right = self.crop or (0, -1, 0, -1)
        y1, y2 = _even(top, height), _even(height if bottom == -1 else bottom, height)
        x1, x2 = _even(left, width), _even(width if right == -1 else right, width)
        if min(y2 - y1, x2 - x1) < 2:
            raise LipsyncError(
                f"crop {list(self.crop or ())} (top bottom left right) leaves nothing of the "
                f"{width}x{height} frame"
            )
        return y1, y2, x1, x2

    def turned(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the rotation."""
        return (height, width) if self.rotate else (width, height)

    def detection_side(self, long_side: int, width: int, height: int) -> int:
        """Pixels of the longer side of the whole frame at which the part that is cut out has
        `long_side`; width and height are those of the file's frames."""
        wide, high = self.size(*self.decoded(width, height))
        longest = max(self.decoded(width, height))
        return min(longest, round(long_side * longest / max(wide, high)))

    def decoded(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a frame of the file as the decoder resizes it."""
        side = self.long_side(width, height)
        if side is None:
            return width, height
        scale = side / max(width, height)
        return tuple(max(2, 2 * round(scale * full / 2)) for full in (width, height))

    def apply_scaled(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        """A scaled down frame (h, w, 3) of one whose decoded size is (width, height), changed."""
        if self.rotate:
            image = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        if self.crop is None:
            return image
        wide, high = self.turned(width, height)
        y1, y2, x1, x2 = self.region(wide, high)
        rows = round(y1 * image.shape[0] / high), round(y2 * image.shape[0] / high)
        columns = round(x1 * image.shape[1] / wide), round(x2 * image.shape[1] / wide)
        return np.ascontiguousarray(image[slice(*rows), slice(*columns)])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the changed frame, of a decoded (already resized) one."""
        y1, y2, x1, x2 = self.region(*self.turned(width, height))
        return x2 - x1, y2 - y1

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """A decoded (already resized) frame, I420 uint8 (H * 3 / 2, W), changed."""
        if not self.rotate and self.crop is None:
            return frame
        parts = list(planes_of(frame))
        if self.rotate:
            parts = [cv2.rotate(part, cv2.ROTATE_90_CLOCKWISE) for part in parts]
        height, width = parts[0].shape
        y1, y2, x1, x2 = self.region(width, height)
        parts = [
            part[y1 // half : y2 // half, x1 // half : x2 // half]
            for part, half in zip(parts, (1, 2, 2), strict=True)
        ]
        return np.concatenate([np.ravel(part) for part in parts]).reshape(-1, x2 - x1)


def _even(side: int, limit: int) -> int:
    return min(max(0, side), limit) // 2 * 2
