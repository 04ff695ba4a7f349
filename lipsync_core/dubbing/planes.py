"""The region of a face in the planes of an I420 frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipsync_core.media.color import Box, planes


@dataclass(frozen=True)
class Region:
    """The even pixels around a box in a frame, as views of the frame's planes.

    planes: Y uint8 (h, w), U and V (h / 2, w / 2): the part inside of the frame.
    box_in_outer: x1, y1, x2, y2 of the box in the even box around it.
    outside: pixels of the even box beyond the frame: top, bottom, left, right; all even.
    """

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    box_in_outer: Box
    outside: tuple[int, int, int, int]

    @classmethod
    def of(cls, frame: np.ndarray, box: Box) -> Region | None:
        """The region of `box` in `frame`, uint8 (H * 3 / 2, W); None when nothing is inside."""
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        x1, y1, x2, y2 = box
        left, top = x1 - x1 % 2, y1 - y1 % 2
        right, bottom = x2 + x2 % 2, y2 + y2 % 2
        x = max(left, 0), min(right, width)
        y = max(top, 0), min(bottom, height)
        if x[1] <= x[0] or y[1] <= y[0]:
            return None
        full = np.s_[y[0] : y[1], x[0] : x[1]]
        half = np.s_[y[0] // 2 : y[1] // 2, x[0] // 2 : x[1] // 2]
        luma, u, v = planes(frame)
        outside = (y[0] - top, bottom - y[1], x[0] - left, right - x[1])
        return cls(
            (luma[full], u[half], v[half]), (x1 - left, y1 - top, x2 - left, y2 - top), outside
        )

    def reduced(self, side: int) -> np.ndarray:
        """The pixels scaled to uint8 (side, side, 3) YUV; edges repeat beyond the frame."""
        channels = []
        for number, plane in enumerate(self.planes):
            if any(self.outside):
                margins = [pixels // (2 if number else 1) for pixels in self.outside]
                plane = cv2.copyMakeBorder(plane, *margins, cv2.BORDER_REPLICATE)
            channels.append(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA))
        return cv2.merge(channels)

    def blend(self, generated: np.ndarray, mask: np.ndarray, interpolation: int) -> None:
        """Mix `generated` into the frame, in place; where `mask` is 0, pixels keep their bits.

        generated: float32 (S, S, 3), Y, U and V in levels, covers the box. mask: float32 (h, w)
        of the box, in [0, 1]. interpolation: OpenCV's, for scaling.
        """
        x1, y1, x2, y2 = self.box_in_outer
        width, height = x2 + x2 % 2, y2 + y2 % 2
        size = (x2 - x1, y2 - y1)
        luma = cv2.resize(generated[:, :, 0], size, interpolation=interpolation)
        edges = (y1, height - y2, x1, width - x2)
        if any(edges):
            luma = cv2.copyMakeBorder(luma, *edges, cv2.BORDER_REPLICATE)
            mask = cv2.copyMakeBorder(mask, *edges, cv2.BORDER_CONSTANT, value=0)
        _mix(self.planes[0], luma, mask, self.outside)
        half = (width // 2, height // 2)
        small_mask = cv2.resize(mask, half, interpolation=cv2.INTER_AREA)
        small = cv2.resize(generated[:, :, 1:], half, interpolation=interpolation)
        margins = tuple(pixels // 2 for pixels in self.outside)
        for number in (0, 1):
            _mix(self.planes[1 + number], small[:, :, number], small_mask, margins)


def _mix(plane: np.ndarray, face: np.ndarray, mask: np.ndarray, outside: tuple[int, ...]) -> None:
    top, bottom, left, right = outside
    # The mask is 0 in the upper half, more or less: start where it begins.
    top = max(top, int(np.argmax(mask.any(axis=1))))
    inside = np.s_[top : face.shape[0] - bottom, left : face.shape[1] - right]
    target = plane[top - outside[0] :]
    mixed = face[inside] - target
    mixed *= mask[inside]
    mixed += target
    target[:] = np.clip(np.rint(mixed, out=mixed), 0, 255, out=mixed)
