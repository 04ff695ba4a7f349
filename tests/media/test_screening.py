"""Files of strangers: what is a media file, and how large it is, before any work."""

from __future__ import annotations

import subprocess
import zipfile

import numpy as np
import PIL.Image
import pytest

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.screening import is_media, picture_size, sound_seconds, video_seconds
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n"
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><rect/></svg>'


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("screening") / "clip.mp4", 1.2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just some text, as long as a header needs to be" * 9,
        PLAYLIST,
        b"ffconcat version 1.0\nfile clip.mp4\n",
        DRAWING,
        b'<?xml version="1.0"?>\n' + DRAWING,
        "text with a byte order mark".encode("utf-16"),
        b"%PDF-1.7\n",
        b"\x7fELF\x02\x01\x01",
        b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5) + PLAYLIST,  # ffmpeg looks behind the tag
        b"ID3\x04\x00\x00\x00\x00\x00\x05" + b"ID3\x04\x00\x00\x00\x00\x00\x00" + PLAYLIST,
    ],
)
def test_what_is_no_media_is_refused(content, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(content)
    assert not is_media(tmp_path / "clip.mp4")


def test_an_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "clip.mp4", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    assert not is_media(tmp_path / "clip.mp4")


def convert(*arguments) -> None:
    command = [ffmpeg_exe(), "-v", "error", "-i", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("this ffmpeg does not write such files")


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts", "a.m2ts", "a.flv", "a.mpg"]
)
def test_containers_are_taken(name, video, tmp_path):
    convert(video, tmp_path / name)
    assert is_media(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["a.wav", "a.mp3", "a.m4a", "a.ogg", "a.flac", "a.aac", "a.aiff", "a.opus"]
)
def test_sounds_are_taken(name, video, tmp_path):
    convert(video, "-vn", tmp_path / name)
    assert is_media(tmp_path / name)
    assert sound_seconds(tmp_path / name, 60) == pytest.approx(1.2, abs=0.1)


def test_a_sound_behind_several_tags_is_taken(video, tmp_path):
    convert(video, "-vn", "-id3v2_version", "0", tmp_path / "a.mp3")
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5)
    (tmp_path / "b.mp3").write_bytes(tag * 2 + (tmp_path / "a.mp3").read_bytes())
    assert is_media(tmp_path / "b.mp3")
    assert sound_seconds(tmp_path / "b.mp3", 60) == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.gif"])
def test_pictures_are_taken(name, tmp_path):
    PIL.Image.new("RGB", (64, 48)).save(tmp_path / name)
    assert is_media(tmp_path / name)
    assert picture_size(tmp_path / name) == (64, 48)


def test_the_size_of_a_picture_is_read_without_decoding(tmp_path):
    picture = np.zeros((12_000, 12_000), np.uint8)  # 144 million pixels in 140 kB
    PIL.Image.fromarray(picture).save(tmp_path / "bomb.png", compress_level=1)
    assert picture_size(tmp_path / "bomb.png") == (12_000, 12_000)
    (tmp_path / "cut.png").write_bytes((tmp_path / "bomb.png").read_bytes()[:20])
    with pytest.raises(ClipError, match="not a whole picture"):
        picture_size(tmp_path / "cut.png")


def test_lengths_are_measured(video, tmp_path):
    assert video_seconds(video) == pytest.approx(1.2, abs=0.05)
    long = write_wav(tmp_path / "long.wav", 9.0)
    assert sound_seconds(long, 60) == pytest.approx(9.0, abs=0.05)
    assert sound_seconds(long, 3) == pytest.approx(4.0, abs=0.05)  # and no more is decoded


def test_a_video_without_sound_has_none(tmp_path):
    with pytest.raises(ClipError) as caught:
        sound_seconds(write_video(tmp_path / "mute.mp4", 0.4, sound=False), 9)
    assert caught.value.reason is Reason.NO_AUDIO
