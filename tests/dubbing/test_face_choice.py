"""Which face is dubbed, and where it is at the source's own times."""

import numpy as np
import pandas as pd
import pytest

from lipsync_core.config import CropConfig, TrackConfig
from lipsync_core.dubbing.face_choice import FaceChooser, face_path, user_path
from lipsync_core.dubbing.faces import FaceSettings
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track

SIZE = (400, 300)
NO_SMOOTHING = TrackConfig(smooth=0, max_gap=2)


def detections(*people, frames=20, cuts=()):
    """Faces that stay in a box: (x1, y1, x2, y2, frames in which they are seen)."""
    rows = [
        {"frame": frame, "x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": 0.9, "landmarks": []}
        for x1, y1, x2, y2, seen in people
        for frame in seen
    ]
    table = pd.DataFrame(rows).sort_values("frame", kind="stable", ignore_index=True)
    table = table.astype({"frame": np.int32})
    return Detections(frames, *SIZE, table, cuts=cuts)


SMALL = (300, 50, 340, 90, range(20))
LARGE = (50, 60, 150, 180, range(20))


@pytest.mark.parametrize(
    "choice, left",
    [
        ("largest", 50),
        ("index 1", 50),
        ("index 2", 300),
        ("nearest 320,70", 300),
        ("nearest 0.2, 0.4", 50),
        ("everyone", 50),
    ],
)
def test_choice(tmp_path, choice, left):
    chooser = FaceChooser(tmp_path / "f.mp4", detections(SMALL, LARGE), FaceSettings(), False)
    assert chooser.face_path(choice).at(0.4).box[0] == left


def test_everyone_includes_those_who_are_alone(tmp_path):
    alone = (200, 50, 240, 90, range(12, 20))
    found = detections((50, 60, 150, 180, range(8)), alone, cuts=(10,))
    chooser = FaceChooser(tmp_path / "f.mp4", found, FaceSettings(), False)
    assert chooser.face_path("everyone").at(15 / 25).box[0] == 200
    assert chooser.face_path("largest").at(15 / 25) is None


@pytest.mark.parametrize(
    "choice, message",
    [
        ("index 3", "2 faces were found"),
        ("tallest", "wanted largest"),
        ("reference p.jpg", "not with resize_factor"),
        ("reference q.jpg", "no such picture"),
    ],
)
def test_no_such_choice(tmp_path, monkeypatch, choice, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.jpg").touch()
    chooser = FaceChooser(tmp_path / "f.mp4", detections(SMALL, LARGE), FaceSettings(), False)
    with pytest.raises(LipsyncError, match=message):
        chooser.face_path(choice)


def test_no_face(tmp_path):
    found = detections(SMALL)
    none = Detections(20, *SIZE, found.faces.iloc[:0])
    with pytest.raises(LipsyncError, match=r"f\.mp4: no face in any of its 20 frames"):
        FaceChooser(tmp_path / "f.mp4", none, FaceSettings(), False).face_path("largest")


def moving(cuts=()):
    """A face that moves by 10 pixels a frame (at 25 frames a second), unseen in frames 8-12."""
    frames = np.array([*range(8), *range(13, 20)], np.int32)
    boxes = np.stack([10.0 * frames, 0 * frames + 50, 10.0 * frames + 60, 0 * frames + 110], 1)
    track = Track(frames, boxes.astype(np.float32), cuts=cuts)
    none = detections(SMALL, cuts=cuts)
    return face_path([track], NO_SMOOTHING, CropConfig(), none)


def test_between_two_frames_boxes_are_interpolated():
    path = moving()
    assert [path.at(time / 25).box[0] for time in (2, 2.25, 2.5, 2.6, 3)] == [20, 22, 25, 26, 30]


def test_gaps_and_ends():
    path = moving()
    assert path.at(10 / 25) is None  # longer than max_gap
    assert path.at(7.4 / 25).box[0] == 70 and path.at(7.6 / 25) is None
    assert path.at(19.9 / 25).box[0] == 190 and path.at(20.1 / 25) is None


def test_no_interpolation_across_a_cut():
    path = moving(cuts=(3,))
    assert [path.at(time / 25).box[0] for time in (2.4, 2.6)] == [20, 30]
    assert [path.shot(time / 25) for time in (0, 2.4, 2.6)] == [0, 0, 1]


def test_pads_and_margin_are_those_of_the_crops():
    track = Track(np.arange(3, dtype=np.int32), np.tile([100.0, 100, 140, 150], (3, 1)))
    crop = CropConfig(pads=[1, 2, 3, 4], margin=0.1)
    path = face_path([track], NO_SMOOTHING, crop, detections(SMALL, frames=3))
    assert path.at(0).box == (92, 94, 149, 157)
    square = face_path([track], NO_SMOOTHING, CropConfig(mode="square"), detections(SMALL))
    assert square.at(0).box == (95, 100, 145, 150)


def test_a_box_of_the_user():
    path = user_path((10, 100, 20, 90), SIZE, "f.mp4")
    assert path.at(0).box == path.at(1e6).box == (20, 10, 90, 100)
    with pytest.raises(LipsyncError, match="order: top bottom left right"):
        user_path((100, 10, 20, 90), SIZE, "f.mp4")
    with pytest.raises(LipsyncError, match=r"outside of the 400x300 frame of f\.mp4"):
        user_path((500, 600, 20, 90), SIZE, "f.mp4")
