from __future__ import annotations

import struct
import subprocess
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from lipsync_core.errors import ClipError, LipsyncError
from lipsync_core.media import video
from lipsync_core.media.ffmpeg import ffmpeg_exe
from tests.support.media import portrait, write_video, write_wav

pytestmark = pytest.mark.media


def count(path, **options) -> int:
    return sum(1 for _ in video.read_frames(path, **options))


def test_probe(tmp_path):
    path = write_video(tmp_path / "a.mp4", seconds=1.2, fps=30)
    probe = video.probe(path)
    assert (probe.width, probe.height, probe.fps, probe.has_audio) == (160, 160, 30, True)
    assert probe.seconds == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("fps", [12, 25, 30, 50])
def test_frames_at_25_whatever_the_rate(tmp_path, fps):
    path = write_video(tmp_path / "a.mp4", seconds=2, fps=fps, sound=False)
    assert count(path) == pytest.approx(50, abs=1)


def test_frames_are_the_pictures_written(tmp_path):
    path = tmp_path / "a.mp4"
    with video.VideoWriter(path, (160, 160)) as writer:
        for _ in range(3):
            writer.write(portrait())
    for frame in video.read_frames(path):
        assert frame.dtype == np.uint8
        error = np.abs(frame.astype(int) - portrait()).mean()
        assert error < 4, "colors or channels are off"


def test_grey_stays_grey(tmp_path):
    path = tmp_path / "a.mp4"
    with video.VideoWriter(path, (64, 64)) as writer:
        writer.write(np.full((64, 64, 3), 60, np.uint8))
    frame = next(video.read_frames(path, exact_color=True))
    assert np.abs(frame.astype(int) - 60).max() <= 1


def test_long_side(tmp_path):
    path = write_video(tmp_path / "a.mp4", seconds=0.2, sound=False)
    assert next(video.read_frames(path, long_side=100)).shape == (100, 100, 3)
    assert next(video.read_frames(path, long_side=1000)).shape == (160, 160, 3)


def test_rotation_is_applied(tmp_path):
    path = tmp_path / "a.mp4"
    with video.VideoWriter(path, (160, 80)) as writer:
        writer.write(portrait()[:80])
    data = path.read_bytes()
    matrix = data.index(b"tkhd") + 44  # the first track's header: how its pictures are turned
    quarter = struct.pack(">9i", *(0, 1 << 16, 0), *(-1 << 16, 0, 0), *(0, 0, 1 << 30))
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data[:matrix] + quarter + data[matrix + len(quarter) :])
    assert (video.probe(turned).width, video.probe(turned).height) == (80, 160)
    assert next(video.read_frames(turned)).shape == (160, 80, 3)


def test_interlaced_pictures_are_made_whole(tmp_path):
    def combing(picture: np.ndarray) -> float:
        rows = picture.astype(int).mean(-1)
        return np.abs(rows[2:] - 2 * rows[1:-1] + rows[:-2]).mean()

    # A bar that moves 4 pixels a field: woven fields make a comb of its edges.
    moving = "color=gray:s=96x64:r=50:d=1[g];color=white:s=8x64:r=50:d=1[b];[g][b]overlay=x=200*t"
    command = [ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", moving]
    woven = ["-vf", "interlace=lowpass=off", "-flags", "+ilme+ildct", "-c:v", "mpeg2video"]
    subprocess.run([*command, *woven, "-q:v", "1", tmp_path / "i.ts"], check=True)
    whole = list(video.read_frames(tmp_path / "i.ts"))
    assert len(whole) == 25
    with av.open(str(tmp_path / "i.ts")) as container:
        combed = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert combing(combed[5]) > 5
    assert combing(whole[5]) < 1


def test_a_change_of_size_keeps_count_and_size(tmp_path):
    for name, size, start in (("1.ts", "64x64", "0"), ("2.ts", "96x48", "1")):
        pattern = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=1", "-output_ts_offset", start]
        command = [ffmpeg_exe(), "-v", "error", *pattern, "-c:v", "mpeg2video"]
        subprocess.run([*command, tmp_path / name], check=True)
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    shapes = [frame.shape for frame in video.read_frames(both)]
    assert set(shapes) == {(64, 64, 3)}
    assert len(shapes) == pytest.approx(50, abs=1)


def test_closing_the_reader_stops_ffmpeg(tmp_path, monkeypatch):
    started = []
    original = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
    )
    path = write_video(tmp_path / "a.mp4", seconds=4, sound=False)
    started.clear()
    frames = video.read_frames(path)
    next(frames)
    frames.close()
    assert started[0].returncode is not None


def test_unreadable_files(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "head.mp4").write_bytes(whole[:200])
    for name in ("text.mp4", "empty.mp4", "head.mp4", "missing.mp4"):
        with pytest.raises(ClipError) as caught:
            video.probe(tmp_path / name)
        assert caught.value.reason == "unreadable"
        with pytest.raises(ClipError) as caught:
            count(tmp_path / name)
        assert caught.value.reason == "unreadable"


def test_sound_only_has_no_video(tmp_path):
    with pytest.raises(ClipError) as caught:
        video.probe(write_wav(tmp_path / "a.wav", 1))
    assert caught.value.reason == "no_video"


def test_still_pictures_are_told_by_content(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "face.png"), portrait())
    disguised = (tmp_path / "face.png").rename(tmp_path / "face.mp4")
    assert video.is_image(disguised)
    assert np.array_equal(video.read_image(disguised), portrait())
    clip = write_video(tmp_path / "a.png.mp4", seconds=0.2)
    assert not video.is_image(clip)
    assert video.read_image(clip) is None


def test_a_picture_that_memory_cannot_hold_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    rows = b"".join([b"\0" + bytes(2_500)] * 20_000)  # 20,000 x 20,000 in black and white
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ClipError, match=r"bomb\.png: .*400000000 pixels"):
        video.read_image(path)
    monkeypatch.setattr(video, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(ClipError, match="too much for a still picture"):
        video.read_image(path)


def test_writer_keeps_sound_length_and_metadata(tmp_path):
    sound = write_wav(tmp_path / "a.wav", 3)
    path = tmp_path / "out 'é'.mp4"
    with video.VideoWriter(
        path,
        (161, 159),
        fps=Fraction(30000, 1001),
        audio=sound,
        metadata={"comment": "a = b; c"},
        seconds=1.0,
    ) as writer:
        for _ in range(30):
            writer.write(np.zeros((159, 161, 3), np.uint8))
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "a = b; c"
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.05)
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert container.streams.audio
    assert video.probe(path).width == 162


def test_writer_leaves_nothing_when_it_fails(tmp_path):
    path = tmp_path / "out.mp4"
    with pytest.raises(ZeroDivisionError), video.VideoWriter(path, (16, 16)) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.txt").write_text("no sound")
    with (
        pytest.raises(LipsyncError, match=r"x\.txt: .*Invalid data"),
        video.VideoWriter(path, (16, 16), audio=tmp_path / "x.txt") as writer,
    ):
        writer.write(np.zeros((16, 16, 3), np.uint8))
    assert not path.exists()


def test_writer_checks_frames(tmp_path):
    with (
        pytest.raises(ValueError, match="wanted"),
        video.VideoWriter(tmp_path / "o.mp4", (16, 16)) as writer,
    ):
        writer.write(np.zeros((8, 8, 3), np.uint8))


def test_one_thread_gives_the_same_bytes(tmp_path):
    one = write_video(tmp_path / "1.mp4", seconds=0.5).read_bytes()
    assert write_video(tmp_path / "2.mp4", seconds=0.5).read_bytes() == one
