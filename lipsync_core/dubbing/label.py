"""A visible label ("AI-generated") on the frames of a dubbing."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from lipsync_core.errors import LipsyncError, printable

FONT_SIZE = 1 / 24  # of the shorter side of the frame
MIN_FONT_PIXELS = 9  # smaller letters are not legible
MARGIN = 0.05  # of each side: outside of the title-safe area, screens may cut
PADDING = 0.35  # around the text, of the font size
FONT_WEIGHT = 600  # semi-bold; 400 is regular
# Black behind the white text. White stays at a contrast of 8:1 (WCAG 2 asks 4.5:1, or 7:1 for
# level AAA) even on white, see `benchmarks/dub_label.py`.
PLATE_OPACITY = 0.7
RIGHT_TO_LEFT = ("R", "AL", "AN")
BLACK_WHITE = {False: (16, 235), True: (0, 255)}  # luma, by full range
NEUTRAL = 128  # chroma of gray
ONE = 256  # of the fixed-point weights


@dataclass(frozen=True)
class Label:
    """A label drawn for one size of frame: new = (old * keep + add) / 256, plane by plane.

    size: (width, height) of the frame. rows, columns: its place in luma, even. luma: keep and
    add, uint16 (h, w); chroma: likewise, (h / 2, w / 2).
    """

    size: tuple[int, int]
    rows: slice
    columns: slice
    luma: tuple[np.ndarray, np.ndarray]
    chroma: tuple[np.ndarray, np.ndarray]


def prepare_label(text: str, width: int, height: int, full_range: bool = False) -> Label:
    """Draw `text`, white on a dark plate, for the lower left corner of frames of one size.

    Parameters
    ----------
    text: one line in Latin, Cyrillic, Greek or CJK letters (the fonts inside OpenCV).
    width, height: of the frame in pixels, even.
    full_range: luma is 0 to 255 instead of 16 to 235.

    Letters are 1/24 of the frame's shorter side in size, or smaller where the text needs it; the
    margin is 5 % of each side. Raises LipsyncError for a text that is empty, cannot be drawn, or
    does not fit in a legible size.
    """
    _check_text(text)
    margin_x, margin_y = round(width * MARGIN), round(height * MARGIN)
    for size in range(max(MIN_FONT_PIXELS, round(min(width, height) * FONT_SIZE)), 0, -1):
        if size < MIN_FONT_PIXELS:
            raise LipsyncError(
                f"label {text!r}: does not fit in a frame of {width}x{height}; shorten it"
            )
        mask = _text_mask(text, size)
        if mask.shape[1] <= width - 2 * margin_x and mask.shape[0] <= height - 2 * margin_y:
            break
    top = (height - margin_y - mask.shape[0]) // 2 * 2
    left = margin_x // 2 * 2
    black, white = BLACK_WHITE[full_range]
    kept = (1 - PLATE_OPACITY) * (1 - mask)
    drawn = PLATE_OPACITY * (1 - mask) * black + mask * white
    kept_color = kept.reshape(kept.shape[0] // 2, 2, kept.shape[1] // 2, 2).mean((1, 3))
    return Label(
        (width, height),
        slice(top, top + mask.shape[0]),
        slice(left, left + mask.shape[1]),
        _fixed_point(kept, drawn),
        _fixed_point(kept_color, (1 - kept_color) * NEUTRAL),
    )


def draw_label(frame: np.ndarray, label: Label) -> None:
    """Draw a label on a frame in place.

    frame: uint8 (H * 3 // 2, W), planar YUV 4:2:0 as OpenCV lays it out (I420), of the label's
    size. Raises ValueError for another shape.
    """
    width, height = label.size
    if frame.shape != (height * 3 // 2, width) or not frame.flags.c_contiguous:
        raise ValueError(f"frame {frame.shape}: wanted a contiguous I420 frame {width}x{height}")
    _mix(frame[label.rows, label.columns], label.luma)
    rows, columns = (slice(s.start // 2, s.stop // 2) for s in (label.rows, label.columns))
    for plane in frame.reshape(-1)[height * width :].reshape(2, height // 2, width // 2):
        _mix(plane[rows, columns], label.chroma)


def _mix(region: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> None:
    keep, add = weights
    mixed = region * keep  # uint16
    mixed += add
    mixed >>= 8
    region[:] = mixed


def _fixed_point(kept: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of `_mix`, rounding included, whose result never exceeds 16 bits."""
    keep = np.rint(kept * ONE)
    add = np.minimum(np.rint(drawn * ONE) + ONE // 2, np.iinfo(np.uint16).max - 255 * keep)
    return keep.astype(np.uint16), add.astype(np.uint16)


def _text_mask(text: str, size: int) -> np.ndarray:
    """Opacity of a text with padding around: float32 (h, w) in [0, 1], h and w even."""
    import cv2

    font = cv2.FontFace("sans")
    x, y, width, height = cv2.getTextSize((0, 0), text, (0, 0), font, size, FONT_WEIGHT)
    padding = max(2, round(size * PADDING))
    # The same height for every text: letters of the font reach from 0.8 above the baseline to 0.25
    # below, measured ones further.
    above, below = max(-y, round(0.8 * size)), max(y + height, round(0.25 * size))
    shape = (above + below + 2 * padding, width + 2 * padding)
    canvas = np.zeros([side + side % 2 for side in shape], np.uint8)
    cv2.putText(canvas, text, (padding - x, padding + above), (255,), font, size, FONT_WEIGHT)
    return canvas.astype(np.float32) / 255


def _check_text(text: str) -> None:
    if not text.strip() or printable(text) != text:
        raise LipsyncError(f"label {text!r}: wanted one line of text")
    missing = _text_mask("?", 24)
    for letter in sorted(set(text) - set("? ")):
        turned = unicodedata.bidirectional(letter) in RIGHT_TO_LEFT
        shape = _text_mask(letter, 24)
        if turned or (shape.shape == missing.shape and np.array_equal(shape, missing)):
            raise LipsyncError(
                f"label {text!r}: {letter!r} cannot be drawn; use Latin, Cyrillic, Greek or CJK"
            )
