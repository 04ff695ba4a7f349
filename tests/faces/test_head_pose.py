"""Head pose of projected faces of known angles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks import head_pose as benchmark
from lipsync_core.demo.photos import photo_path
from lipsync_core.faces import detectors
from lipsync_core.faces.head_pose import MEAN_FACE, detected_pose, head_pose, rotation


def project(angles: np.ndarray, size: float = 60.0) -> np.ndarray:
    """Landmarks (n, 10) of the mean face turned by angles (n, 3), degrees."""
    turned = np.stack([MEAN_FACE @ rotation(*each).T for each in angles])
    return (size * turned[..., :2] + 200).reshape(-1, 10)


def test_angles_of_exact_projections():
    rng = np.random.default_rng(0)
    angles = rng.uniform([-75, -45, -60], [75, 45, 60], (300, 3))
    found = head_pose(project(angles))
    np.testing.assert_allclose(found[:, :2], angles[:, :2], atol=0.3)
    np.testing.assert_allclose(found[:, 2], angles[:, 2], atol=1.5)
    np.testing.assert_allclose(head_pose(project(angles, 400.0) + 1000), found, atol=1e-6)


def test_noise_of_landmarks():
    rng = np.random.default_rng(1)
    angles = rng.uniform([-60, -30, -30], [60, 30, 30], (300, 3))
    noisy = project(angles) + rng.normal(0, 1, (300, 10))  # pixels; the eyes are 60 apart
    assert np.percentile(np.abs(head_pose(noisy) - angles), 95, axis=0).max() < 8


@pytest.mark.parametrize(
    ("angles", "column", "sign"), [((30, 0, 0), 0, 1), ((0, 20, 0), 1, 1), ((0, 0, 15), 2, 1)]
)
def test_signs(angles, column, sign):
    face = project(np.array([angles])).reshape(5, 2)
    nose, eyes = face[2], face[:2].mean(axis=0)
    frontal = project(np.zeros((1, 3))).reshape(5, 2)
    if column == 0:  # the nose moves to the right side of the picture
        assert nose[0] - eyes[0] > 5
    elif column == 1:  # the nose comes nearer to the mouth
        assert face[3:, 1].mean() - nose[1] < frontal[3:, 1].mean() - frontal[2, 1]
    else:  # the right eye is lower
        assert face[1, 1] > face[0, 1]
    assert head_pose(face[None])[0, column] * sign == pytest.approx(max(angles), abs=0.5)


def test_no_faces():
    assert head_pose(np.zeros((0, 10))).shape == (0, 3)
    assert np.isfinite(head_pose(np.zeros((1, 10)))).all()


def test_detected_faces_that_are_turned():
    """A portrait given the depth of a head and turned, then found by the detector."""
    detector = detectors.build("centerface", "cpu", threshold=0.3)
    picture = cv2.imread(str(photo_path("collins")))
    face = benchmark.frontal(picture, detector.detect_faces(picture[None])[0].landmarks[0])

    def pose(*angles: float) -> np.ndarray:
        turned = benchmark.draw(face, angles)
        return detected_pose(benchmark.detect_landmarks(detector, turned))[0]

    ahead = pose(0, 0, 0)
    assert abs(ahead[0]) < 10 and abs(ahead[2]) < 5
    assert pose(-45, 0, 0)[0] == pytest.approx(-45, abs=12)
    assert pose(0, 25, 0)[1] - pose(0, -25, 0)[1] > 20  # without the correction 15
    assert pose(0, 0, 15)[2] == pytest.approx(15, abs=6)
