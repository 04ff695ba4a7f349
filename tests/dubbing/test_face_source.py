"""The face file as a stream: stills and videos by content, made smaller, turned, cut, looped."""

import cv2
import numpy as np
import pytest

from lipsync_core.dubbing.face_source import FaceSource, track_face
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detectors.base import Faces
from lipsync_core.media.video import VideoWriter

pytestmark = pytest.mark.media

LEVELS = [20, 80, 140, 200]


@pytest.fixture
def picture(tmp_path):
    """A still, 60 wide and 40 high, whose left third is blue and whose top half is red."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20, 0] = pixels[:20, :, 2] = 255
    path = tmp_path / "face.mp4"  # a wrong name: the content decides
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path, pixels


@pytest.fixture
def video(tmp_path):
    """Four gray frames of 64 x 48."""
    path = tmp_path / "face.png"
    made = tmp_path / "made.mp4"
    with VideoWriter(made, (64, 48)) as writer:
        for level in LEVELS:
            writer.write(np.full((48, 64, 3), level, np.uint8))
    return made.rename(path)


def test_still(picture):
    path, pixels = picture
    source = FaceSource(path)
    assert source.still
    (frame,) = source.frames()
    np.testing.assert_array_equal(frame, pixels)


def test_resize_then_rotate_then_crop(picture):
    path, pixels = picture
    (frame,) = FaceSource(path, resize_factor=2, rotate=True, crop=(5, -1, 3, 15)).frames()
    turned = np.rot90(pixels[::2, ::2], k=-1)  # 30 high, 20 wide
    assert frame.shape == (25, 12, 3)
    np.testing.assert_array_equal(frame, turned[5:, 3:15])


def test_video(video):
    source = FaceSource(video)
    assert not source.still
    np.testing.assert_allclose([f.mean() for f in source.frames()], LEVELS, atol=3)
    assert [f.shape for f in FaceSource(video, resize_factor=2).frames()] == [(24, 32, 3)] * 4


def test_loop_starts_again(video):
    positions, frames = zip(*FaceSource(video).loop(10), strict=True)
    assert positions == (0, 1, 2, 3, 0, 1, 2, 3, 0, 1)
    np.testing.assert_allclose([f.mean() for f in frames], [LEVELS[p] for p in positions], atol=3)


def test_static_repeats_fresh_copies_of_the_first_frame(video):
    pairs = list(FaceSource(video, static=True).loop(3))
    assert [position for position, _ in pairs] == [0, 0, 0]
    pairs[0][1][:] = 0
    assert all(abs(frame.mean() - LEVELS[0]) < 3 for _, frame in pairs[1:])


def test_empty_crop_is_refused(picture):
    with pytest.raises(LipsyncError, match=r"crop .* leaves nothing of its 60x40 frame"):
        list(FaceSource(picture[0], crop=(50, 60, 0, -1)).frames())


def test_damaged_picture(tmp_path):
    path = tmp_path / "damaged.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    with pytest.raises(LipsyncError, match=r"damaged\.png"):
        list(FaceSource(path).frames())


class Scripted:
    """A detector that finds the boxes which `script` tells for each gray level."""

    name = "scripted"

    def __init__(self, script):
        self.script, self.shapes = script, []

    def detect_faces(self, frames):
        self.shapes.append(frames.shape)
        found = [self.script[min(LEVELS, key=lambda v: abs(v - f.mean()))] for f in frames]
        boxes = [np.array(boxes, np.float32).reshape(-1, 5) for boxes in found]
        return [Faces(each, np.zeros((len(each), 0), np.float32)) for each in boxes]


def test_every_shot_of_the_speaker_but_no_second_person(video):
    speaker, moved, other = [2, 2, 22, 22, 1], [40, 20, 60, 40, 1], [30, 2, 40, 12, 1]
    script = {20: [other, speaker], 80: [speaker, other], 140: [moved], 200: [other]}
    boxes = track_face(FaceSource(video), 99, Scripted(script), smooth=0)
    np.testing.assert_allclose(boxes[:3], np.array([speaker, speaker, moved])[:, :4], atol=1e-3)
    assert np.isnan(boxes[3]).all()


def test_boxes_are_in_the_pixels_of_the_full_frame(video):
    detector = Scripted({level: [[4, 6, 10, 12, 1]] for level in LEVELS})
    boxes = track_face(FaceSource(video), 3, detector, long_side=32, batch_size=2)
    assert detector.shapes == [(2, 24, 32, 3), (1, 24, 32, 3)]
    np.testing.assert_allclose(boxes, [[8, 12, 20, 24]] * 3, atol=1e-3)


def test_no_face(video):
    with pytest.raises(LipsyncError, match="no face in any of its 4 frames"):
        track_face(FaceSource(video), 99, Scripted({level: [] for level in LEVELS}))


def test_no_face_is_followed_across_a_cut(tmp_path):
    """The next shot's face is near enough to be linked, and far enough to be seen."""
    path = tmp_path / "cut.mp4"
    with VideoWriter(path, (64, 48)) as writer:
        for level in [LEVELS[0]] * 12 + [LEVELS[3]] * 12:
            writer.write(np.full((48, 64, 3), level, np.uint8))
    before, after = [2, 2, 22, 22], [8, 6, 30, 28]
    script = {LEVELS[0]: [[*before, 1]], LEVELS[3]: [[*after, 1]]}
    boxes = track_face(FaceSource(path), 99, Scripted(script), smooth=9)
    np.testing.assert_allclose(boxes, [before] * 12 + [after] * 12, atol=1e-3)
