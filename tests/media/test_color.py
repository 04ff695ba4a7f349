"""Regions between I420 and BGR, in every matrix and range."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_core.media.color import LUMA_WEIGHTS, ColorTags, planes, to_bgr, to_planes
from tests.support.media import portrait

BOX = (32, 40, 96, 112)
ALL = [
    ColorTags(matrix, range=levels)
    for matrix in (*LUMA_WEIGHTS, "unknown")
    for levels in ("tv", "pc", "unknown")
]


def frame_of(bgr: np.ndarray, color: ColorTags) -> np.ndarray:
    return np.concatenate([plane.ravel() for plane in to_planes(bgr, color)]).reshape(
        -1, bgr.shape[1]
    )


@pytest.mark.parametrize("color", ALL, ids=lambda color: f"{color.matrix}-{color.range}")
def test_round_trip(color):
    frame = frame_of(portrait(), color)
    bgr = to_bgr(frame, BOX, color)
    found = to_planes(bgr, color)
    # Of a color that BGR cannot hold, something is lost.
    held = ((bgr > 0) & (bgr < 255)).all(2)
    whole = held.reshape(held.shape[0] // 2, 2, -1, 2).all((1, 3))
    assert held.mean() > 0.9
    x1, y1, x2, y2 = BOX
    luma, *chroma = planes(frame)
    assert np.abs(luma[y1:y2, x1:x2] - found[0].astype(int))[held].max() <= 1
    for plane, back in zip(chroma, found[1:], strict=True):
        part = plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2]
        assert np.abs(part - back.astype(int))[whole].max() <= 1


def test_it_is_the_conversion_of_opencv_for_bt601():
    color = ColorTags()
    frame = cv2.cvtColor(portrait(), cv2.COLOR_BGR2YUV_I420)
    x1, y1, x2, y2 = BOX
    wanted = cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420)[y1:y2, x1:x2]
    assert np.abs(to_bgr(frame, BOX, color) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("levels", ["tv", "pc"])
def test_white_black_and_primaries(levels):
    low, high = (16, 235) if levels == "tv" else (0, 255)
    color = ColorTags("bt709", range=levels)
    for bgr, luma in (((0, 0, 0), low), ((255, 255, 255), high)):
        y, u, v = to_planes(np.full((2, 2, 3), bgr, np.uint8), color)
        assert (y == luma).all()
        assert u[0, 0] == v[0, 0] == 128
    y, _, v = to_planes(np.full((2, 2, 3), (0, 0, 255), np.uint8), color)
    assert y[0, 0] == round(low + 0.2126 * (high - low))
    assert v[0, 0] == (240 if levels == "tv" else 255)


def test_boxes_are_checked():
    frame = np.zeros((96, 64), np.uint8)
    for box in ((1, 0, 4, 4), (0, 0, 66, 4), (4, 4, 4, 8), (-2, 0, 4, 4)):
        with pytest.raises(ValueError, match="even corners"):
            to_bgr(frame, box, ColorTags())
    with pytest.raises(ValueError, match="even sides"):
        to_planes(np.zeros((3, 4, 3), np.uint8), ColorTags())


def test_planes_are_views():
    frame = np.zeros((6 * 3 // 2, 4), np.uint8)
    luma, blue, red = planes(frame)
    assert (luma.shape, blue.shape, red.shape) == ((6, 4), (3, 2), (3, 2))
    red[-1, -1] = 7
    assert frame[-1, -1] == 7
