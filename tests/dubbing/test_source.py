"""The frames of a face file: pictures and videos, parts of them, backwards, changed."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from lipsync_core.dubbing import source as sources
from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.dubbing.source import FaceSource
from lipsync_core.errors import LipsyncError
from lipsync_core.media.color import to_bgr
from lipsync_core.media.video import VideoWriter

pytestmark = pytest.mark.media
SIZE = (64, 48)  # width, height


def pattern(level=0):
    """Red to the right, green downwards: uint8 (48, 64, 3) BGR."""
    frame = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    frame[..., 0] = level
    frame[..., 1] = np.linspace(40, 200, SIZE[1])[:, None]
    frame[..., 2] = np.linspace(40, 200, SIZE[0])[None]
    return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "face.mp4"
    with VideoWriter(path, SIZE, fps=50) as writer:
        for number in range(60):
            writer.write(pattern(4 * number))
    return path


def whole(source, frame):
    width, height = source.size
    return to_bgr(frame.planes, (0, 0, width, height), source.color)


def test_video(video):
    source = FaceSource(video, Geometry())
    frames = list(source.play())
    assert (source.size, source.gap * source.tick, source.seconds) == (SIZE, Fraction(1, 50), 1.2)
    assert [frame.time * source.tick for frame in frames] == [Fraction(k, 50) for k in range(60)]
    assert np.abs(whole(source, frames[30]).astype(int) - pattern(120)).mean() < 4


def test_a_part_of_it(video):
    source = FaceSource(video, Geometry(), start=0.2, end=0.5)
    assert [float(frame.time * source.tick) for frame in source.play()] == pytest.approx(
        np.arange(10, 25) / 50
    )
    assert source.seconds == pytest.approx(0.3)
    with pytest.raises(LipsyncError, match=r"face\.mp4: no frame between 5 s and its end"):
        list(FaceSource(video, Geometry(), start=5).play())


def test_static(video):
    source = FaceSource(video, Geometry(), static=True)
    assert len(list(source.play())) == 1 and source.seconds == 0


def test_backwards_in_parts(video, monkeypatch):
    monkeypatch.setattr(sources, "MAX_CHUNK_FRAMES", 7)
    source = FaceSource(video, Geometry())
    frames = list(source.play())
    back = list(source.backwards([frame.time for frame in frames[1:-1]]))
    assert [frame.time for frame in back] == [frame.time for frame in frames[-2:0:-1]]
    for one, other in zip(back, frames[-2:0:-1], strict=True):
        np.testing.assert_array_equal(one.planes, other.planes)


def test_picture(tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), pattern(90)[:, :63])
    source = FaceSource(path, Geometry())
    (frame,) = source.play()
    assert source.still and source.size == SIZE  # made even
    assert np.abs(whole(source, frame)[:, :63].astype(int) - pattern(90)[:, :63]).mean() < 3
    frame.planes[:] = 0
    assert next(source.play()).planes.any()  # may be drawn upon


def test_damaged_picture(tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(cv2.imencode(".png", pattern())[1].tobytes()[:100])
    with pytest.raises(LipsyncError, match=r"face\.png: this picture cannot be decoded"):
        FaceSource(path, Geometry()).size  # noqa: B018


def test_resized_then_turned_then_cut_out(tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.repeat(np.repeat(pattern(90), 2, axis=0), 2, axis=1))
    geometry = Geometry(resize_factor=2, rotate=True, crop=(10, -1, 5, 31))
    source = FaceSource(path, geometry)
    assert source.size == (26, 54)
    expected = np.rot90(pattern(90), -1)[10:64, 4:30]
    (frame,) = source.play()
    assert np.abs(whole(source, frame).astype(int) - expected).mean() < 4
    # The detector sees the same part, scaled down.
    small = geometry.apply_scaled(cv2.resize(pattern(90), (32, 24)), 64, 48)
    assert small.shape == (27, 13, 3)
    assert np.abs(small.astype(int) - cv2.resize(expected, (13, 27))).mean() < 6


def test_nothing_left(tmp_path):
    with pytest.raises(
        LipsyncError, match=r"crop \[40, 41, 0, -1\] .* leaves nothing of the 64x48"
    ):
        Geometry(crop=(40, 41, 0, -1)).region(*SIZE)
