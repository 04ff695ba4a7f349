import numpy as np
import pandas as pd
import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.association import link
from lipsync_core.faces.tracking.tracks import fill_gaps, nearest_track, smooth_boxes
from tests.support.tracks import main_track


def detections(*faces: tuple[int, float, float, float]) -> Detections:
    """Squares given as (frame, center x, center y, side)."""
    rows = sorted(faces)
    table = pd.DataFrame({"frame": np.array([row[0] for row in rows], np.int32)})
    center = np.array([row[1:3] for row in rows], np.float32).reshape(-1, 2)
    half = np.array([[row[3] / 2] for row in rows], np.float32).reshape(-1, 1)
    table[["x1", "y1"]] = center - half
    table[["x2", "y2"]] = center + half
    table["score"] = np.float32(0.9)
    frames = rows[-1][0] + 1 if rows else 10
    return Detections(frames, 1000, 1000, table)


def centers(track: Track) -> np.ndarray:
    return (track.boxes[:, :2] + track.boxes[:, 2:]) / 2


def walk(frames, start=100.0, speed=3.0, side=80.0, y=200.0):
    return [(frame, start + speed * frame, y, side) for frame in frames]


def test_steady_motion_is_kept_without_lag():
    track = main_track(detections(*walk(range(60))), max_gap=5, smooth=9)
    assert track.frames.dtype == np.int32 and track.boxes.dtype == np.float32
    assert track.frames.tolist() == list(range(60))
    np.testing.assert_allclose(centers(track)[:, 0], 100 + 3.0 * np.arange(60), atol=1e-3)


def test_a_nod_is_followed_and_jitter_removed():
    rng = np.random.default_rng(0)
    frame = np.arange(200)
    true = 300 + 20 * np.sin(2 * np.pi * 1.0 * frame / 25)  # one nod a second
    noisy = true + rng.normal(0, 2, 200)
    faces = detections(*((index, 400.0, float(y), 100.0) for index, y in enumerate(noisy)))
    raw = centers(main_track(faces, 5, smooth=0))[:, 1]
    calm = centers(main_track(faces, 5, smooth=9))[:, 1]
    np.testing.assert_allclose(raw, noisy, atol=1e-3)
    assert np.abs(np.diff(calm - true)).mean() < 0.35 * np.abs(np.diff(raw - true)).mean()
    assert np.std(calm - true) < 0.65 * np.std(raw - true)
    lags = [np.std(np.roll(calm, -lag)[20:-20] - true[20:-20]) for lag in range(-3, 4)]
    assert int(np.argmin(lags)) == 3  # no shift fits better than none


def test_short_gaps_are_filled_and_long_ones_stay():
    faces = detections(*walk([*range(10), *range(13, 20), *range(30, 40)]))
    track = main_track(faces, max_gap=3, smooth=0)
    assert track.frames.tolist() == [*range(20), *range(30, 40)]
    np.testing.assert_allclose(centers(track)[:, 0], 100 + 3.0 * track.frames, atol=1e-3)
    assert main_track(faces, max_gap=2, smooth=0).frames.tolist() == faces.faces["frame"].tolist()
    assert len(main_track(faces, max_gap=10, smooth=0)) == 40


def test_smoothing_does_not_cross_a_gap():
    frames = np.array([*range(20), *range(60, 80)], np.int32)
    boxes = np.where(frames[:, None] < 40, 100.0, 200.0).astype(np.float32) + np.zeros((1, 4))
    calm = smooth_boxes(Track(frames, boxes.astype(np.float32)), 11)
    np.testing.assert_allclose(calm.boxes, boxes, atol=1e-4)


def test_smoothing_does_not_cross_a_cut():
    frames = np.arange(40, dtype=np.int32)
    boxes = (np.where(frames[:, None] < 20, 100, 200) + np.zeros((1, 4))).astype(np.float32)
    track = Track(frames, boxes, cuts=(20,))
    np.testing.assert_allclose(smooth_boxes(track, 11).boxes, boxes, atol=1e-4)
    assert [len(run) for run in track.runs()] == [20, 20]


def test_the_span_of_a_track_leaves_out_shots_that_do_not_show_it():
    frames = np.array([*range(10, 20), *range(60, 70), *range(75, 80)], np.int32)
    boxes = np.zeros((len(frames), 4), np.float32)
    assert Track(frames, boxes).num_frames() == 70
    assert Track(frames, boxes, cuts=(5, 30, 60, 90)).num_frames() == 40  # 10 to 29, 60 to 79


@pytest.mark.parametrize("length", range(1, 12))
def test_short_runs_can_be_smoothed(length):
    boxes = np.arange(length, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    calm = smooth_boxes(Track(np.arange(length, dtype=np.int32), boxes), 9)
    np.testing.assert_allclose(calm.boxes, boxes, atol=1e-4)


def test_the_largest_face_over_time_is_the_speaker():
    speaker = walk(range(50), start=200, speed=0.5, side=120)
    bystander = walk(range(50), start=600, speed=-0.5, side=60)
    glimpse = [(20, 850.0, 800.0, 160.0)]  # large, but for one frame
    track = main_track(detections(*speaker, *bystander, *glimpse), 5, 0)
    np.testing.assert_allclose(centers(track)[:, 0], [face[1] for face in speaker], atol=1e-3)


def test_longest_prefers_time_to_size():
    short = walk(range(10), start=200, side=200)
    long = walk(range(40), start=600, side=50)
    faces = detections(*short, *long)
    assert len(main_track(faces, 0, 0)) == 10
    assert len(main_track(faces, 0, 0, choice="longest")) == 40
    with pytest.raises(LipsyncError, match="largest or longest"):
        main_track(faces, 0, 0, choice="loudest")


def test_two_faces_keep_their_identities():
    first = walk(range(40), start=200, speed=4, side=100, y=200)
    second = walk(range(40), start=360, speed=-4, side=100, y=330)  # they pass each other
    tracks = link(detections(*first, *second))
    assert [len(track) for track in tracks] == [40, 40]
    assert sorted(float(track.boxes[:, 1].mean()) for track in tracks) == [150, 280]


def test_a_face_elsewhere_begins_a_new_track():
    faces = detections(*walk(range(10)), *walk(range(10, 20), start=700))
    assert [len(track) for track in link(faces)] == [10, 10]


def test_a_face_lost_for_long_is_not_taken_up_again():
    faces = detections(*walk(range(10), speed=0), *walk(range(100, 110), speed=0))
    assert [len(track) for track in link(faces)] == [10, 10]
    assert len(link(detections(*walk(range(10), speed=0), *walk(range(40, 50), speed=0)))) == 1


def test_no_face_gives_an_empty_track():
    track = main_track(detections(), 5, 9)
    assert len(track) == 0
    assert track.frames.dtype == np.int32 and track.boxes.shape == (0, 4)


def test_one_face_in_one_frame():
    track = main_track(detections((7, 50, 50, 20)), 5, 9)
    assert track.frames.tolist() == [7]
    assert fill_gaps(track, 5) is track


def test_the_face_that_a_list_points_at():
    def still(first, x):
        frames = np.arange(first, first + 50, dtype=np.int32)
        return Track(frames, np.float32([[x, 40, x + 20, 60]]).repeat(50, axis=0))

    left, right, late = still(0, 0), still(10, 150), still(60, 90)
    assert nearest_track([left, right, late], "0.5,0.5", 200, 100) is right
    assert nearest_track([left, right, late], "0.2,0.5", 200, 100) is left
    assert nearest_track([late], "0.2,0.5", 200, 100) is late
