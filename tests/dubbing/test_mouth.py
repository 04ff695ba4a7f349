"""Lips are redder than the skin around them; a hand shows none."""

import cv2
import numpy as np

from lipsync_core.dubbing.face_memory import FaceMemory
from lipsync_core.dubbing.mouth import MouthWatch, lip_contrast

SKIN, LIPS = (150, 112, 150), (110, 116, 162)  # YUV


def face(mouth_row: int = 30, opened: int = 3) -> np.ndarray:
    """uint8 (48, 48, 3) YUV with lips."""
    image = np.full((48, 48, 3), SKIN, np.uint8)
    cv2.ellipse(image, (24, mouth_row), (8, 2 + opened), 0, 0, 360, LIPS, -1)
    noise = np.random.default_rng(0).integers(-2, 3, image.shape)
    return (image + noise).astype(np.uint8)


def hand() -> np.ndarray:
    image = face()
    cv2.rectangle(image, (6, 18), (44, 47), SKIN, -1)
    for finger in range(5):
        cv2.line(image, (10 + 8 * finger, 18), (10 + 8 * finger, 47), (120, 114, 152), 1)
    return image


def test_lips_are_seen_where_they_are_and_not_on_a_hand():
    assert min(lip_contrast(face(row)) for row in (28, 30, 33)) > 0.6
    assert lip_contrast(hand()) < 0.3


def test_a_mouth_resembles_itself_in_other_light_and_a_hand_does_not():
    memory = FaceMemory()
    memory.add(face(opened=1))
    memory.add(face(opened=4))
    darker = np.rint(0.7 * face(31, opened=4)[:, :, :1] + 10)
    lit = np.concatenate([darker, face(31, opened=4)[:, :, 1:]], axis=2).astype(np.uint8)
    assert memory.resemblance(lit) > 0.9
    assert memory.resemblance(hand()) < 0.5
    assert memory.resemblance(np.full((48, 48, 3), 16, np.uint8)) == 0


def test_lips_that_vanish_with_a_change_are_covered():
    watch = MouthWatch(25.0)
    for _ in range(5):
        watch.see(face(), lambda: True)
        watch.remember()
        assert not watch.vanished
    covered = []
    for _ in range(5):
        watch.see(hand(), lambda: True)
        watch.remember()
        covered.append(watch.covered)
    assert covered == [False, False, True, True, True] and watch.usual > 0.6
    watch.see(face(), lambda: True)
    assert not watch.covered


def test_lips_that_fade_without_a_change_are_not_covered():
    watch = MouthWatch(25.0)
    watch.see(face(), lambda: True)
    watch.remember()
    for _ in range(5):
        watch.see(hand(), lambda: False)
    assert not watch.vanished and not watch.covered


def test_lips_that_never_show_are_missed_for_four_seconds():
    watch = MouthWatch(25.0)
    covered = []
    for _ in range(110):
        watch.see(hand(), lambda: True)
        if not watch.covered:
            watch.remember()
        covered.append(watch.covered)
    assert covered.index(True) == 2 and sum(covered) == 97
