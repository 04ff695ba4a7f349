"""Detection over clips, with a detector that takes the bright rectangle of a frame for the face."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.faces import decoding
from lipsync_core.faces.decoding import FrameStream, downscale
from lipsync_core.faces.detection import (
    Detections,
    detect_streams,
    detect_videos,
    read_boxes,
    write_boxes,
)
from lipsync_core.faces.detectors.base import Faces
from lipsync_core.media.video import VideoWriter

pytestmark = pytest.mark.media


class Bright:
    """Finds the bright part of a frame; notes the shape of every batch."""

    name = "bright"

    def __init__(self):
        self.batches = []

    def detect_faces(self, frames):
        self.batches.append(frames.shape)
        return [self._one(frame) for frame in frames]

    def _one(self, frame):
        rows, columns = np.nonzero(frame.mean(axis=2) > 128)
        if not len(rows):
            return Faces(np.zeros((0, 5), np.float32), np.zeros((0, 10), np.float32))
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9]
        points = np.tile([columns.mean(), rows.mean()], 5)
        return Faces(np.array([box], np.float32), np.array([points], np.float32))

    def detect(self, frames):
        return [faces.boxes for faces in self.detect_faces(frames)]


def picture(size, left):
    """(W, H) with a bright rectangle at x = left .. left + W/4, y = H/4 .. 3H/4."""
    width, height = size
    frame = np.full((height, width, 3), 20, np.uint8)
    frame[height // 4 : 3 * height // 4, left : left + width // 4] = 230
    return frame


def clip(path: Path, count=5, size=(128, 96), dark=()):
    """A clip whose rectangle moves 4 pixels a frame; `dark` frames have none."""
    with VideoWriter(path, size) as writer:
        for index in range(count):
            frame = picture(size, 8 + 4 * index)
            writer.write(np.full_like(frame, 20) if index in dark else frame)
    return path


def decoders():
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_boxes_come_in_full_size_pixels(tmp_path):
    path = clip(tmp_path / "a.mp4", count=4, size=(256, 192))
    [(key, found)] = detect_videos([("a", path)], Bright(), long_side=64)
    assert key == "a"
    assert (found.frames, found.width, found.height, found.detector) == (4, 256, 192, "bright")
    faces = found.faces
    assert faces["frame"].tolist() == [0, 1, 2, 3]
    assert faces["x1"].to_numpy() == pytest.approx(8 + 4 * np.arange(4), abs=4)
    assert faces["x2"].to_numpy() == pytest.approx(72 + 4 * np.arange(4), abs=4)
    assert faces["y1"].to_numpy() == pytest.approx(np.full(4, 48), abs=4)
    middle = faces["landmarks"][0]
    assert middle[0::2] == pytest.approx(np.full(5, 40), abs=4)
    assert middle[1::2] == pytest.approx(np.full(5, 96), abs=4)


def test_columns_have_the_types_of_the_contract(tmp_path):
    [(_, found)] = detect_videos([(0, clip(tmp_path / "a.mp4"))], Bright())
    types = {name: str(kind) for name, kind in found.faces.dtypes.items()}
    assert types == {
        "frame": "int32",
        **dict.fromkeys(("x1", "y1", "x2", "y2", "score"), "float32"),
        "landmarks": "object",
        "detected": "bool",
    }


def test_batches_span_clips_and_results_keep_their_order(tmp_path):
    paths = [clip(tmp_path / f"{name}.mp4", count) for name, count in (("b", 5), ("a", 3))]
    paths.append(clip(tmp_path / "c.mp4", 6))
    detector = Bright()
    results = list(detect_videos([(path.stem, path) for path in paths], detector, batch_size=4))
    assert [key for key, _ in results] == ["b", "a", "c"]
    assert [found.frames for _, found in results] == [5, 3, 6]
    assert [shape[0] for shape in detector.batches] == [4, 4, 4, 2]
    alone = next(detect_videos([("c", paths[2])], Bright(), batch_size=1))[1]
    assert results[2][1].faces.equals(alone.faces)


def test_clips_of_other_sizes_get_batches_of_their_own(tmp_path):
    paths = [clip(tmp_path / "a.mp4", 3), clip(tmp_path / "b.mp4", 3, size=(96, 128))]
    detector = Bright()
    assert [found.width for _, found in detect_videos(enumerate(paths), detector)] == [128, 96]
    assert detector.batches == [(3, 96, 128, 3), (3, 128, 96, 3)]


def test_a_broken_clip_is_a_value_and_the_others_go_on(tmp_path):
    good = clip(tmp_path / "good.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(good.read_bytes()[:200])
    items = [("1", broken), ("2", good), ("3", tmp_path / "absent.mp4"), ("4", good)]
    results = dict(detect_videos(items, Bright()))
    assert list(results) == ["1", "2", "3", "4"]
    for key in ("1", "3"):
        assert isinstance(results[key], ClipError)
        assert results[key].reason is Reason.UNREADABLE
    assert results["2"].frames == results["4"].frames == 5


def test_results_come_as_soon_as_they_are_complete(tmp_path):
    path = clip(tmp_path / "a.mp4", 4)
    detector = Bright()
    results = detect_videos([(1, path), (2, path), (3, path)], detector, batch_size=4)
    assert next(results)[0] == 1
    assert len(detector.batches) == 1
    results.close()


def test_closing_early_stops_the_decoders(tmp_path):
    path = clip(tmp_path / "a.mp4", 40)
    results = detect_videos([(index, path) for index in range(9)], Bright(), batch_size=2)
    next(results)
    results.close()
    assert decoders() == []


def test_other_errors_end_the_iteration(tmp_path):
    class Failing(Bright):
        def detect_faces(self, frames):
            raise RuntimeError("out of memory")

    path = clip(tmp_path / "a.mp4", 40)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(detect_videos([(1, path), (2, path)], Failing(), batch_size=2))
    assert decoders() == []


def test_errors_in_a_decoder_thread_reach_the_caller(tmp_path, monkeypatch):
    def fail(*arguments):
        raise LipsyncError("no ffmpeg")

    monkeypatch.setattr(decoding, "open_frames", fail)
    with pytest.raises(LipsyncError, match="no ffmpeg"):
        list(detect_videos([(1, tmp_path / "a.mp4")], Bright()))


def test_frames_without_a_face_have_no_row(tmp_path):
    path = clip(tmp_path / "a.mp4", 5, dark={1, 3})
    [(_, found)] = detect_videos([(0, path)], Bright())
    assert found.frames == 5
    assert found.faces["frame"].tolist() == [0, 2, 4]


def test_a_still_is_a_video_of_one_frame(tmp_path):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), picture((201, 151), 40))
    [(_, found)] = detect_videos([(0, path)], Bright(), long_side=100)
    assert (found.frames, found.width, found.height) == (1, 201, 151)
    assert found.faces.loc[0, ["x1", "x2"]].tolist() == pytest.approx([40, 90], abs=3)


def test_a_still_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "still.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n torn")
    [(_, error)] = detect_videos([(0, path)], Bright())
    assert isinstance(error, ClipError) and error.reason is Reason.UNREADABLE


def found_in(*frames, long_side=None, batch_size=16):
    """Detections of frames that the caller reads, all of one size."""
    stream = FrameStream("a", *frames[0].shape[1::-1]) if frames else FrameStream("a", 1, 1)
    small = (downscale(frame, long_side) for frame in frames)
    [(_, found)] = detect_streams([(stream, small)], Bright(), batch_size)
    return found


def test_streams_of_the_callers_frames():
    frames = [picture((200, 150), left) for left in (20, 60, 100)]
    found = found_in(*frames, long_side=100, batch_size=2)
    assert (found.frames, found.width, found.height) == (3, 200, 150)
    assert found.faces["frame"].tolist() == [0, 1, 2]
    assert found.faces["x1"].tolist() == pytest.approx([20, 60, 100], abs=2)
    alone = [found_in(frame, long_side=100).faces["x1"][0] for frame in frames]
    assert found.faces["x1"].tolist() == alone
    assert found_in().frames == 0


def test_boxes_survive_writing_and_reading(tmp_path):
    [(_, found)] = detect_videos([(0, clip(tmp_path / "a.mp4", dark={2}))], Bright())
    write_boxes(tmp_path / "frame=7" / "a.parquet", found)
    write_boxes(tmp_path / "b.parquet", found)
    assert (tmp_path / "frame=7/a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    again = read_boxes(tmp_path / "frame=7" / "a.parquet")
    assert (again.frames, again.width, again.height, again.detector) == (5, 128, 96, "bright")
    columns = ["frame", "x1", "y1", "x2", "y2", "score", "detected"]
    assert again.faces[columns].equals(found.faces[columns])
    assert (again.faces.dtypes == found.faces.dtypes).all()
    for one, other in zip(again.faces["landmarks"], found.faces["landmarks"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_faces_and_no_landmarks_can_be_written(tmp_path):
    empty = found_in(np.zeros((8, 8, 3), np.uint8))
    write_boxes(tmp_path / "a.parquet", empty)
    assert len(read_boxes(tmp_path / "a.parquet").faces) == 0
    found = found_in(picture((40, 40), 4))
    bare = found.faces.assign(landmarks=[np.zeros(0, np.float32)])
    write_boxes(tmp_path / "b.parquet", Detections(1, 40, 40, bare, "bright"))
    assert len(read_boxes(tmp_path / "b.parquet").faces["landmarks"][0]) == 0


@pytest.mark.parametrize("damage", ["absent", "torn", "foreign"])
def test_a_broken_file_of_boxes_is_reported(tmp_path, damage):
    path = tmp_path / "a.parquet"
    found = found_in(picture((40, 40), 4))
    if damage == "torn":
        write_boxes(path, found)
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "foreign":
        found.faces[["frame", "x1"]].to_parquet(path)
    with pytest.raises(LipsyncError, match=r"a\.parquet"):
        read_boxes(path)


def test_known_sizes_spare_a_look_at_the_file(tmp_path, monkeypatch):
    path = clip(tmp_path / "a.mp4", 3, size=(256, 192))
    [(_, expected)] = detect_videos([("a", path)], Bright(), long_side=64)
    monkeypatch.setattr(decoding, "probe", None)
    sizes = {"a": (256, 192)}
    [(_, found)] = detect_videos([("a", path)], Bright(), long_side=64, size_of=sizes.get)
    assert (found.width, found.height) == (256, 192)
    assert found.faces["x1"].tolist() == expected.faces["x1"].tolist()


def test_the_rate_of_looking_survives_writing(tmp_path):
    path = clip(tmp_path / "a.mp4", 12)
    [(_, found)] = detect_videos([(0, path)], Bright(), stride=4, motion=1)
    assert found.detected_frames == 4
    write_boxes(tmp_path / "a.parquet", found)
    again = read_boxes(tmp_path / "a.parquet")
    assert again.detected_frames == 4
    assert again.faces["detected"].tolist() == [index in (0, 4, 8, 11) for index in range(12)]
