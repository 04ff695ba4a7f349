"""Faces of a dubbing at the edges of pauses."""

from fractions import Fraction

import cv2
import numpy as np

from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.face_choice import FacePath
from lipsync_core.dubbing.render import Renderer, Speaker
from lipsync_core.dubbing.timeline import TimedFrame
from lipsync_core.media.color import ColorTags

SILENT = np.array([[0.4, 1.6]])  # of 2 s
FRAMES = 50


class Engine:
    """Keeps what it is given; paints the reference."""

    image_size = 96

    def __init__(self):
        self.mels, self.faces = [], []

    def generate(self, mels, faces):
        self.mels.extend(mels)
        self.faces.extend(faces.copy())
        return faces[:, 3:].transpose(0, 2, 3, 1)


def rendered(level_of, silent=SILENT):
    """What the generator was given for each frame; level_of: gray level of the mouth in a frame."""
    box = np.array([[0, 0, 96, 96]], np.float32)
    path = FacePath(box, np.full((1, 10), np.nan, np.float32), (), (96, 96), constant=True)
    mel = np.full((161, 80), 1, np.float32)
    speaker = Speaker(path, mel, 2.0, silent, Compositor())
    engine = Engine()
    renderer = Renderer(engine, [speaker], Fraction(1, 25), Fraction(1, 25), ColorTags(), 1)
    frames = []
    for number in range(FRAMES):
        image = np.full((96, 96, 3), 150, np.uint8)
        image[66:82, 40:56] = level_of(number)
        frames.append(TimedFrame(number, number, cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)))
    drawn = [face for each in renderer.rendered(iter(frames), 7) for face in each.drawings]
    assert len(drawn) == FRAMES
    return np.array(engine.mels), np.array(engine.faces)


def test_the_generator_runs_once_a_frame_and_hears_the_speech_fade():
    mels, _ = rendered(lambda number: 100)
    assert len(mels) == FRAMES
    level = mels.mean(axis=(1, 2))
    assert (level[:10] == 1).all() and (level[23:28] == -4).all() and (level[40:] == 1).all()
    assert 0 < np.abs(np.diff(level)).max() < 1  # of 5


def test_the_reference_changes_little_by_little():
    _, faces = rendered(lambda number: 140 if number < 5 else 40)
    mouth = 255 * faces[:, 3:, 70:78, 44:52].mean(axis=(1, 2, 3))
    assert np.allclose(mouth[23:28], 140, atol=3)  # the most closed one
    assert np.allclose(mouth[[6, 9, 41, 49]], 40, atol=3)  # that of the frame
    assert np.abs(np.diff(mouth[6:])).max() < 20


def test_without_rest_the_mouth_follows_the_sound():
    mels, faces = rendered(lambda number: 140 if number < 5 else 40, silent=None)
    assert (mels == 1).all() and faces[25, 3:, 70:78, 44:52].mean() < 50 / 255
