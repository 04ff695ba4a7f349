from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_core.faces.shots import ShotFinder, shots
from tests.media import portrait
from tests.media_people import CUTS, FRAMES, draw


def cuts(frames) -> tuple[int, ...]:
    finder = ShotFinder()
    for frame in frames:
        finder.add(frame)
    return finder.cuts


def test_cuts_are_found_and_crossing_people_are_none():
    assert cuts(draw(frame) for frame in range(FRAMES)) == CUTS


@pytest.mark.parametrize("speed", [0.5, 6])
def test_motion_is_no_cut(speed):
    picture = cv2.resize(portrait(), (320, 320))

    def frame(index):
        shift = np.float32([[1, 0, 40 * np.sin(speed * index / 25)], [0, 1, 0]])
        return cv2.warpAffine(picture, shift, (320, 320), borderMode=cv2.BORDER_REFLECT)

    assert cuts(map(frame, range(60))) == ()


def test_a_fade_to_black_and_noise_are_no_cut():
    rng = np.random.default_rng(0)
    light = np.clip(np.linspace(2, -1, 60), 0, 1)
    noisy = (rng.normal(0, 4, (60, 90, 160, 3)) + 120 * light[:, None, None, None]).clip(0, 255)
    assert cuts(noisy.astype(np.uint8)) == ()


def test_the_size_of_the_frames_hardly_matters():
    large = (cv2.resize(draw(frame), (1152, 648)) for frame in range(40, 60))
    assert cuts(large) == (10,)


def test_frames_of_each_shot():
    assert shots((), 7) == [range(7)]
    assert shots((3, 5), 7) == [range(3), range(3, 5), range(5, 7)]
    assert shots((3, 9), 7) == [range(3), range(3, 7)]
