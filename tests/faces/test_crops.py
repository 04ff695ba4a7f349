import multiprocessing
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from lipsync_core.demo.photos import photo_path
from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.faces import crops, decoding
from lipsync_core.faces.archive import CropArchive
from lipsync_core.faces.crops import (
    ALIGNED_LANDMARKS,
    CropSpec,
    CropStats,
    crop_box,
    fit_similarity,
    iter_crops,
    write_crops,
)
from lipsync_core.faces.track import Track
from lipsync_core.media.video import VideoWriter, read_frames

SIZE = (320, 240)
BOX = [101.4, 60.6, 221.2, 200.0]  # 119.8 x 139.4


def track(frames, box=BOX) -> Track:
    frames = np.array(frames, np.int32)
    return Track(frames, np.tile(np.array(box, np.float32), (len(frames), 1)))


def write_one(video, track, path, pads=(0, 0, 0, 0), **options) -> CropStats:
    """`write_crops` of one track."""
    (stats,) = write_crops(video, [track], [path], CropSpec(pads=pads), **options)
    return stats


@pytest.fixture(scope="module")
def portrait():
    picture = cv2.imread(str(photo_path("collins")))[:384]
    return cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def video(tmp_path_factory, portrait):
    """Eight frames, each brighter than the one before."""
    path = tmp_path_factory.mktemp("crops") / "clip.mp4"
    with VideoWriter(path, SIZE) as writer:
        for index in range(8):
            writer.write(cv2.convertScaleAbs(portrait, alpha=0.5 + 0.05 * index))
    return path


@pytest.fixture
def archive(tmp_path, video):
    write_one(video, track([0, 1, 2, 5, 6]), tmp_path / "a.zip", size=256)
    return CropArchive(tmp_path / "a.zip")


def test_cut_rounds_pads_and_clips():
    frame = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    np.testing.assert_array_equal(crop_box(frame, [2.4, 3.6, 9.5, 12.2]), frame[4:12, 2:10])
    np.testing.assert_array_equal(
        crop_box(frame, [4, 4, 8, 8], pads=(1, 2, 3, 4)), frame[3:10, 1:12]
    )
    np.testing.assert_array_equal(crop_box(frame, [-5, -5, 99, 99], (9, 9, 9, 9)), frame)
    np.testing.assert_array_equal(crop_box(frame, [4, 4, 12, 12], (0, -2, 0, 0)), frame[4:10, 4:12])


@pytest.mark.parametrize("box", [[40, 2, 50, 9], [2, -9, 9, -3], [8, 8, 8, 8], [9, 9, 3, 3]])
def test_a_box_outside_of_the_frame_cuts_nothing(box):
    assert crop_box(np.zeros((20, 30, 3), np.uint8), box).size == 0


def test_members_are_stored_jpegs_named_by_frame(tmp_path, video):
    stats = write_one(video, track([0, 1, 2, 5, 6]), tmp_path / "new" / "a.zip")
    assert stats == CropStats(5, pytest.approx(139.4, abs=0.01))
    with zipfile.ZipFile(tmp_path / "new/a.zip") as stored:
        names = [f"{frame}.jpg" for frame in (0, 1, 2, 5, 6)]
        assert stored.namelist() == names
        for info in stored.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
        picture = cv2.imdecode(np.frombuffer(stored.read("5.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (139, 120, 3)  # as cut, not scaled


def test_equal_inputs_give_equal_bytes(tmp_path, video):
    for name in ("a.zip", "b.zip"):
        write_one(video, track(range(4)), tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_right_frame_and_place_is_stored(archive, portrait):
    for frame in (0, 2, 6):
        expected = cv2.convertScaleAbs(portrait, alpha=0.5 + 0.05 * frame)[61:200, 101:221]
        expected = cv2.resize(expected, (96, 96), interpolation=cv2.INTER_AREA)
        crop = archive.decode(frame, 96)
        assert crop.shape == (96, 96, 3) and crop.dtype == np.uint8
        assert np.abs(crop.astype(int) - expected).mean() < 4


def test_large_crops_are_scaled_down_and_small_ones_never_up(tmp_path, video):
    write_one(video, track([0]), tmp_path / "small.zip", size=70)
    with zipfile.ZipFile(tmp_path / "small.zip") as stored:
        picture = cv2.imdecode(np.frombuffer(stored.read("0.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (70, 60, 3)


def test_pads_and_long_side_are_in_full_size_pixels(tmp_path, video):
    pads = (0, 20, 10, 0)
    write_one(video, track([0]), tmp_path / "full.zip", pads)
    stats = write_one(video, track([0]), tmp_path / "half.zip", pads, long_side=160)
    assert stats.face_px == pytest.approx(139.4, abs=0.01)
    full = CropArchive(tmp_path / "full.zip").decode(0, 64).astype(int)
    half = CropArchive(tmp_path / "half.zip").decode(0, 64).astype(int)
    assert np.abs(full - half).mean() < 6
    with zipfile.ZipFile(tmp_path / "full.zip") as stored:
        picture = cv2.imdecode(np.frombuffer(stored.read("0.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (159, 130, 3)


def test_a_still_can_be_cropped(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "still.png"), portrait)
    assert write_one(tmp_path / "still.png", track([0]), tmp_path / "a.zip").frames == 1
    crop = CropArchive(tmp_path / "a.zip").decode(0, 120)
    assert np.abs(crop.astype(int).mean() - portrait[61:200, 101:221].mean()) < 1


def test_boxes_off_the_picture_leave_a_gap(tmp_path, video):
    boxes = np.array([BOX, [400, 300, 500, 400], BOX], np.float32)
    stats = write_one(video, Track(np.arange(3, dtype=np.int32), boxes), tmp_path / "a.zip")
    assert stats.frames == 2
    assert CropArchive(tmp_path / "a.zip").frames.tolist() == [0, 2]


def test_an_empty_track_gives_an_empty_archive(tmp_path, video):
    assert write_one(video, track([]), tmp_path / "a.zip") == CropStats(0, 0.0)
    assert CropArchive(tmp_path / "a.zip").frames.tolist() == []


def test_a_failure_leaves_no_archive(tmp_path):
    with pytest.raises(ClipError):
        write_one(tmp_path / "absent.mp4", track([0]), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_frames_are_sorted_numbers(tmp_path, archive):
    assert archive.frames.tolist() == [0, 1, 2, 5, 6]
    assert archive.frames.dtype == np.int32
    with zipfile.ZipFile(archive.path) as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        for frame in (6, 0, 5):
            new.writestr(f"{frame}.jpg", old.read(f"{frame}.jpg"))
    other = CropArchive(tmp_path / "b.zip")
    assert other.frames.tolist() == [0, 5, 6]
    np.testing.assert_array_equal(other.decode(5, 96), archive.decode(5, 96))


@pytest.mark.parametrize("side", [512, 300, 150])
def test_reduced_decoding_looks_like_full_decoding(tmp_path, portrait, side):
    picture = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as stored:
        stored.writestr("3.jpg", cv2.imencode(".jpg", picture)[1].tobytes())
    crop = CropArchive(tmp_path / "a.zip").decode(3, 96).astype(int)
    expected = cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA)
    assert crop.shape == (96, 96, 3)
    assert np.abs(crop - expected).mean() < 3


def test_threads_processes_and_copies_read_the_same(archive):
    expected = {frame: archive.decode(frame, 48) for frame in (0, 1, 2, 5, 6)}
    wanted = [0, 1, 2, 5, 6] * 20
    with ThreadPoolExecutor(4) as pool:
        crops = list(pool.map(lambda frame: archive.decode(frame, 48), wanted))
    for frame, crop in zip(wanted, crops, strict=True):
        np.testing.assert_array_equal(crop, expected[frame])
    copy = pickle.loads(pickle.dumps(archive))
    np.testing.assert_array_equal(copy.decode(5, 48), expected[5])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(archive.decode, (6, 48)), expected[6])
    archive.close()
    np.testing.assert_array_equal(archive.decode(1, 48), expected[1])


def test_a_frame_without_a_crop_is_a_key_error(archive):
    for frame in (3, 7, -1):
        with pytest.raises(KeyError, match=f"no frame {frame}"):
            archive.decode(frame, 96)


def _torn(path):
    path.write_bytes(path.read_bytes()[:-500])


def _deflated(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored:
        stored.writestr("0.jpg", b"0" * 100)


def _foreign(path):
    with zipfile.ZipFile(path, "w") as stored:
        stored.writestr("readme.txt", b"hello")


def _no_picture(path):
    with zipfile.ZipFile(path, "w") as stored:
        stored.writestr("0.jpg", b"\xff\xd8 not a picture at all")


@pytest.mark.parametrize("damage", [_torn, _deflated, _foreign, _no_picture, lambda p: p.unlink()])
def test_a_broken_archive_is_reported(archive, damage):
    damage(archive.path)
    with pytest.raises(ClipError, match=r"a\.zip: not a whole archive") as caught:
        archive.decode(0, 96)
    assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize("length", [10, 60, 3000])
def test_an_archive_cut_short_while_in_use_is_reported(archive, length):
    assert len(archive.frames) == 5
    with open(archive.path, "r+b") as stream:
        stream.truncate(length)
    with pytest.raises(ClipError, match=r"0\.jpg"):
        archive.decode(0, 96)


STYLES = [
    CropSpec(),
    CropSpec(pads=(7, 11, 3, 50)),
    CropSpec(pads=(-20, 0, -9, 0), margin=0.2),
    CropSpec("square", margin=0.1),
    CropSpec("aligned"),
    CropSpec("aligned", margin=0.3),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [256, 24])
def test_reading_the_region_changes_no_pixel(monkeypatch, video, style, size):
    boxes = np.array([[91.4, 61.5, 150.5, 130.2], [121, 99.5, 180, 190.25]], np.float32)
    spots = np.array([[0.3, 0.4], [0.75, 0.35], [0.5, 0.6], [0.4, 0.8], [0.7, 0.75]])
    corner, extent = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    points = (corner + spots * extent).reshape(-1, 10).astype(np.float32)
    faces = Track(np.array([1, 6], np.int32), boxes, points)
    found = [crop for _, _, crop in iter_crops(video, [faces], style, size)]
    whole = decoding.Region(0, 0, *SIZE, read_frames(video))
    monkeypatch.setattr(crops, "open_region", lambda *_: whole)
    expected = [crop for _, _, crop in iter_crops(video, [faces], style, size)]
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("box", [[-9, 3, 40, 50.5], [200, 100, 330, 260]])
def test_the_region_ends_with_the_picture(video, box):
    frame = next(read_frames(video))
    [(_, _, crop)] = iter_crops(video, [track([0], box)])
    np.testing.assert_array_equal(crop, crop_box(frame, box))


def face(picture, style, points=None, box=BOX, size=256):
    """The crop of one frame that shows `picture`."""
    one = track([0], box)
    if points is not None:
        one = Track(one.frames, one.boxes, np.float32(points).reshape(1, 10))
    ((number, row, crop),) = iter_crops(picture, [one], style, size)
    assert (number, row) == (0, 0)
    return crop


@pytest.fixture
def still(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "still.png"), portrait)
    return tmp_path / "still.png"


def test_a_square_is_centered_on_the_box(still, portrait):
    crop = face(still, CropSpec("square"))
    assert crop.shape == (139, 139, 3)
    np.testing.assert_array_equal(crop, portrait[61:200, 92:231])
    assert face(still, CropSpec("square", margin=0.25)).shape == (209, 209, 3)
    assert face(still, CropSpec("square", pads=(0, 40, 0, 0))).shape == (179, 179, 3)


def test_a_square_beyond_the_edge_repeats_the_last_pixels(still, portrait):
    crop = face(still, CropSpec("square"), box=[-40, -20, 40, 40])
    assert crop.shape == (80, 80, 3)
    np.testing.assert_array_equal(crop[30:70, 40:], portrait[0:40, 0:40])
    np.testing.assert_array_equal(crop[:30], np.repeat(crop[30:31], 30, axis=0))


def test_a_margin_is_a_share_of_the_face(still, portrait):
    margin = 0.1  # of 139.4 pixels: 13.9
    crop = face(still, CropSpec("box", margin=margin))
    np.testing.assert_array_equal(crop, portrait[61 - 14 : 200 + 14, 101 - 14 : 221 + 14])


def turned(angle, side, center):
    """ALIGNED_LANDMARKS in a square of `side` pixels, turned by `angle` about its center."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (ALIGNED_LANDMARKS - 0.5) @ np.array([[cos, sin], [-sin, cos]]) * side + center


@pytest.mark.parametrize("angle", [0, 0.4, -1.2])
def test_similarities_are_found(angle):
    points = np.stack([turned(angle, side, (120, 80)) for side in (50, 90)])
    factor, shift = fit_similarity(points).T
    np.testing.assert_allclose(factor, np.array([50, 90]) * np.exp(1j * angle))
    np.testing.assert_allclose(factor * (0.5 + 0.5j) + shift, [120 + 80j] * 2)


def test_an_aligned_crop_has_the_eyes_in_their_places(tmp_path):
    picture = np.zeros((300, 400, 3), np.uint8)
    points = turned(0.5, 128, (200, 150))
    for x, y in points:  # five dots where the landmarks are
        cv2.circle(
            picture, (round(16 * (x - 0.5)), round(16 * (y - 0.5))), 64, (255,) * 3, -1, 0, 4
        )
    cv2.imwrite(str(tmp_path / "dots.png"), picture)
    for margin, size in ((0.0, 256), (0.25, 256), (0.0, 32)):
        crop = face(tmp_path / "dots.png", CropSpec("aligned", margin=margin), points, size=size)
        side = min(size, round(128 * (1 + 2 * margin)))
        assert crop.shape == (side, side, 3)
        _, _, _, centers = cv2.connectedComponentsWithStats((crop[..., 0] > 60).astype(np.uint8))
        found = (centers[1:] + 0.5) / side * (1 + 2 * margin) - margin
        nearest = np.abs(found[:, None] - ALIGNED_LANDMARKS[None]).max(axis=2).min(axis=0)
        assert nearest.max() < 0.6 / side


def test_an_aligned_crop_of_a_large_face_is_smooth(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (900, 900, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    crop = face(tmp_path / "noise.png", CropSpec("aligned"), turned(0.1, 800, (450, 450)), size=100)
    assert crop.std() < 25  # single pixels would have 73


def test_boxes_without_landmarks_cannot_be_aligned(still):
    with pytest.raises(LipsyncError, match="no landmarks; set `detector: centerface`"):
        face(still, CropSpec("aligned"))
    with pytest.raises(LipsyncError, match=r"is not known; use box \| square \| aligned"):
        face(still, CropSpec("round"))


@pytest.mark.parametrize("mode", ["box", "square", "aligned"])
def test_a_face_outside_of_the_picture_has_no_crop_in_any_mode(still, mode):
    away = Track(
        np.zeros(1, np.int32),
        np.float32([[400, 300, 500, 400]]),
        np.float32(turned(0, 90, (450, 350))).reshape(1, 10),
    )
    assert list(iter_crops(still, [away], CropSpec(mode))) == []


def test_several_tracks_are_cut_in_one_pass(tmp_path, video):
    tracks = [track([0, 1, 2]), track([2, 3, 7], [10, 10, 60, 90]), track([])]
    paths = [tmp_path / f"{number}.zip" for number in range(3)]
    stats = write_crops(video, tracks, paths)
    assert [stat.frames for stat in stats] == [3, 3, 0]
    assert [CropArchive(path).frames.tolist() for path in paths] == [[0, 1, 2], [2, 3, 7], []]
    write_one(video, tracks[1], tmp_path / "alone.zip")
    assert (tmp_path / "alone.zip").read_bytes() == paths[1].read_bytes()
