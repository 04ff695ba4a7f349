"""The mask of the lower face: where it lies, and that it ends smoothly."""

import cv2
import numpy as np
import pytest

from lipsync_core.dubbing.mask import lower_face_mask
from lipsync_core.faces.crops import ALIGNED_LANDMARKS

BOX = (40, 30, 240, 250)


def landmarks(angle: float = 0.0, side: float = 200.0) -> np.ndarray:
    """Five points of a face of `side` pixels around the middle of BOX, turned clockwise."""
    turn, _ = cv2.Rodrigues(np.array([0, 0, np.radians(angle)]))
    return (ALIGNED_LANDMARKS - 0.5) @ turn[:2, :2].T * side + (140, 140)


def at(mask: np.ndarray, point: np.ndarray) -> float:
    x, y = np.rint(point - BOX[:2]).astype(int)
    return float(mask[y, x])


@pytest.mark.parametrize("angle", [0, -12, 12])
def test_mask_shows_the_mouth_and_follows_the_face(angle):
    points = landmarks(angle)
    mask = lower_face_mask(BOX, points)
    assert mask.shape == (220, 200) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    mouth = (left_mouth + right_mouth) / 2
    chin = mouth + 0.6 * (mouth - (left_eye + right_eye) / 2)
    assert min(at(mask, left_mouth), at(mask, right_mouth), at(mask, mouth)) > 0.9
    assert at(mask, chin) > 0.9
    assert max(at(mask, left_eye), at(mask, right_eye)) == 0 and at(mask, nose) < 0.2


def test_on_a_turned_face_the_mask_ends_closer_to_the_mouth_where_the_cheek_does():
    turned = landmarks()
    turned[2] += (18, 0)  # the tip of the nose, to the right of the picture
    mask, straight = (lower_face_mask(BOX, points) for points in (turned, landmarks()))
    row = 150  # of the mouth
    reach, usual = (np.flatnonzero(one[row] > 0.5)[[0, -1]] for one in (mask, straight))
    assert usual[1] - reach[1] >= 10 and abs(usual[0] - reach[0]) <= 4
    assert min(at(mask, turned[3]), at(mask, turned[4])) > 0.9


@pytest.mark.parametrize("points", [None, landmarks(), landmarks(25), landmarks(0, 320)])
def test_mask_ends_inside_the_region_without_a_step(points):
    mask = lower_face_mask(BOX, points)
    assert not mask[:110].any()  # the generator was given this half
    assert not mask[-1].any() and not mask[:, 0].any() and not mask[:, -1].any()
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.15
    assert (mask > 0.99).mean() > 0.1


def test_mask_without_landmarks_is_that_of_a_face_that_fills_the_box():
    x1, y1, x2, y2 = box = (10, 20, 210, 220)
    points = ALIGNED_LANDMARKS * (x2 - x1, y2 - y1) + (x1, y1)
    expected = lower_face_mask(box, points)
    np.testing.assert_allclose(lower_face_mask(box), expected, atol=1e-3)
    np.testing.assert_array_equal(lower_face_mask(box, np.full(10, np.nan)), lower_face_mask(box))


@pytest.mark.parametrize("box", [(0, 0, 2, 2), (0, 0, 3, 40), (5, 5, 700, 12)])
def test_mask_of_any_box(box):
    mask = lower_face_mask(box)
    assert mask.shape == (box[3] - box[1], box[2] - box[0]) and np.isfinite(mask).all()
