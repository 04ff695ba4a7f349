"""Strided detection: which frames are detected, and how the others are interpolated."""

import cv2
import numpy as np
import pytest

from lipsync_core.faces.boxes import iou
from lipsync_core.faces.detection import detect_videos
from lipsync_core.faces.detectors.base import Faces
from lipsync_core.faces.keyframes import StridedFaces, match_faces
from lipsync_core.media.video import VideoWriter
from tests.support.media import portrait
from tests.support.tracks import main_track

NONE = Faces(np.zeros((0, 5), np.float32), np.zeros((0, 10), np.float32))


def faces(*boxes) -> Faces:
    """Faces with these boxes (x1, y1, x2, y2[, score]), all landmarks in the left top corner."""
    rows = np.array([(*box, 0.9)[:5] for box in boxes], np.float32).reshape(-1, 5)
    return Faces(rows, np.tile(rows[:, :2], 5))


def run(truth: list[Faces], stride: int, motion: float = 0.2) -> tuple[list[int], np.ndarray]:
    """Frames looked at, in this order, and the table, of a clip with these faces."""
    clip, looked = StridedFaces(stride, motion), []

    def answer(requests):
        while requests:
            index, frame = requests.pop(0)
            assert int(frame) == index
            looked.append(index)
            requests += clip.add_faces(index, truth[index])

    for index in range(len(truth)):
        answer(clip.push(np.array(index)))
    answer(clip.end())
    assert clip.complete and clip.detected_frames == len(looked) and clip.frames == len(truth)
    return looked, clip.table()


def moving(speed: float, count: int = 21) -> list[Faces]:
    return [faces((10 + speed * t, 20, 50 + speed * t, 60)) for t in range(count)]


def test_slow_faces_are_interpolated_and_marked():
    truth = moving(0.5)
    looked, table = run(truth, 5)
    assert looked == [0, 5, 10, 15, 20]
    assert table[:, 0].tolist() == list(range(21))
    assert table[:, 1].tolist() == [float(index % 5 == 0) for index in range(21)]
    for row, expected in zip(table, truth, strict=True):
        assert row[2:7] == pytest.approx(expected.boxes[0])
        assert row[7:] == pytest.approx(expected.landmarks[0])


def test_the_last_frame_is_looked_at():
    assert run(moving(0.5, 13), 5)[0] == [0, 5, 10, 12]
    assert run(moving(0.5, 1), 5)[0] == [0]
    assert len(run([], 5)[1]) == 0


def test_stride_one_looks_at_every_frame():
    looked, table = run(moving(3), 1)
    assert looked == list(range(21)) and table[:, 1].all()


def test_fast_faces_are_looked_at_in_every_frame():
    looked, table = run([*moving(0.5, 11), *moving(2.5, 17)[6:]], 5)
    assert looked == [0, 5, 10, 15, 11, 12, 13, 14, 20, 16, 17, 18, 19, 21]
    assert table[11:, 1].all() and not table[1:5, 1].any()


@pytest.mark.parametrize("gone", [range(7, 12), range(12, 21), range(9), [4, 5, 6]])
def test_a_lost_face_is_searched_frame_by_frame(gone):
    truth = [NONE if index in gone else picture for index, picture in enumerate(moving(0.1))]
    looked, table = run(truth, 5)
    assert sorted(set(range(21)) - set(gone)) == table[:, 0].tolist()
    edges = [index for index in gone if not {index - 1, index + 1} <= set(gone)]
    assert set(edges) <= {*looked, 0, 20}


def test_a_jump_is_no_motion():
    jump = [*moving(0, 8), *([faces((300, 20, 340, 60))] * 8)]
    _, table = run(jump, 5)
    assert set(table[:, 2].tolist()) == {10, 300}


def test_a_flickering_face_in_the_crowd_does_not_matter():
    large, small = (0, 0, 100, 100, 0.9), (200, 0, 220, 20, 0.6)
    truth = [faces(large, small) if index % 10 == 0 else faces(large) for index in range(21)]
    looked, table = run(truth, 5)
    assert len(looked) == 5
    assert (table[:, 2] == 200).sum() == 3


def test_every_face_is_interpolated_for_itself():
    truth = [faces((0, 0, 50 + t, 50, 0.8), (100 - t, 0, 150, 50, 0.9)) for t in range(6)]
    truth[5] = Faces(truth[5].boxes[::-1], truth[5].landmarks[::-1])
    looked, table = run(truth, 5)
    assert looked == [0, 5]
    third = table[table[:, 0] == 3]
    assert third[:, 2:7] == pytest.approx(np.array([[97, 0, 150, 50, 0.9], [0, 0, 53, 50, 0.8]]))


def test_what_agrees():
    one = faces((0, 0, 40, 80))
    assert match_faces(NONE, NONE, 0.2).shape == (0, 2)
    assert match_faces(one, NONE, 0.2) is None and match_faces(NONE, one, 0.2) is None
    assert match_faces(one, faces((0, 15, 40, 95)), 0.2).tolist() == [[0, 0]]
    assert match_faces(one, faces((0, 17, 40, 97)), 0.2) is None  # over 0.2 of 80 pixels
    assert match_faces(one, faces((0, 0, 40, 100)), 0.2) is None  # grown
    assert match_faces(one, faces((100, 0, 140, 80)), 10) is None  # someone else


class Bright:
    """Takes the bright part of a picture for the face."""

    name = "bright"

    def __init__(self):
        self.detected_frames = 0

    def detect_faces(self, frames):
        self.detected_frames += len(frames)
        found = []
        for frame in frames:
            rows, columns = np.nonzero(frame.mean(axis=2) > 60)
            if len(rows) > 50:
                box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            found.append(faces(box) if len(rows) > 50 else NONE)
        return found


@pytest.fixture(scope="module")
def swaying(tmp_path_factory):
    """A portrait that sways, jumps at frame 40 and hides at frames 60 to 69; its true boxes."""
    path = tmp_path_factory.mktemp("stride") / "clip.mp4"
    picture = cv2.convertScaleAbs(cv2.resize(portrait(), (64, 64)), alpha=0.5, beta=120)
    truth = np.full((90, 4), np.nan)
    with VideoWriter(path, (320, 160)) as writer:
        for index in range(90):
            frame = np.full((160, 320, 3), 10, np.uint8)
            left = round(40 + 20 * np.sin(index / 9)) + (120 if index >= 40 else 0)
            top = round(40 + 10 * np.sin(index / 14))
            if not 60 <= index < 70:
                frame[top : top + 64, left : left + 64] = picture
                truth[index] = left, top, left + 64, top + 64
            writer.write(frame)
    return path, truth


def test_the_track_of_a_moving_face_is_that_of_every_frame(swaying):
    path, truth = swaying
    results = {}
    for stride in (1, 5):
        detector = Bright()
        [(_, found)] = detect_videos([(0, path)], detector, batch_size=7, stride=stride)
        results[stride] = found
        assert found.frames == 90 and found.detected_frames == detector.detected_frames
        assert found.faces["frame"].tolist() == np.flatnonzero(~np.isnan(truth[:, 0])).tolist()
        track = main_track(found, max_gap=0, smooth=9)
        overlaps = np.diag(iou(track.boxes, truth[track.frames]))
        assert overlaps.min() > 0.85 and overlaps.mean() > 0.94
    assert results[1].detected_frames == 90 and results[1].faces["detected"].all()
    assert 19 < results[5].detected_frames < 60
    jump = results[5].faces.set_index("frame").loc[36:40]
    assert jump["detected"].all()


@pytest.mark.parametrize("batch_size", [2, 32])
def test_batches_change_nothing(swaying, batch_size):
    path, _ = swaying
    items = [(key, path) for key in range(2)]
    single = detect_videos(items, Bright(), batch_size=1, stride=5)
    batched = detect_videos(items, Bright(), batch_size=batch_size, stride=5)
    for (_, one), (_, other) in zip(single, batched, strict=True):
        assert one.faces.drop(columns="landmarks").equals(other.faces.drop(columns="landmarks"))
        assert one.detected_frames == other.detected_frames


def test_people_who_touch_are_looked_at_in_every_frame():
    near, far = [faces((0, 0, 50, 50), (left, 0, left + 50, 50)) for left in (45, 60)]
    assert match_faces(near, near, 0.2) is None
    assert match_faces(far, far, 0.2) is not None
