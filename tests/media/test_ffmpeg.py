from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from lipsync_core.corpus.clips import Clip
from lipsync_core.errors import ClipError
from lipsync_core.media import audio, ffmpeg, timestamps, video
from lipsync_core.preparation import segments
from tests.support.media import write_video

pytestmark = pytest.mark.media

CUT = Clip("a/b", "a", 0, "", "", "cut.mkv", segment="0.1-0.3", origin="a.mp4")
HANG = ["-f", "null", "/dev/null"]


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "a.mp4", 0.4)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a shell script in the place of ffmpeg."""

    def put(script: str) -> None:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(ffmpeg, "ffmpeg_exe", lambda: str(program))

    return put


@pytest.mark.parametrize(
    "read",
    [
        video.probe,
        timestamps.read_timeline,
        audio.load_wav,
        lambda path: list(video.read_frames(path)),
        lambda path: audio.extract_audio(path, path.with_suffix(".wav")),
        lambda path: video.VideoWriter(path.with_name("out.mp4"), (16, 16), audio=path),
        lambda path: segments.ensure_segment(CUT, path.parent),
    ],
)
def test_a_hang_ends_in_time(clip, fake, read):
    fake("exec sleep 60")
    start = time.monotonic()
    with ffmpeg.time_limit(0.2), pytest.raises(ClipError) as caught:
        read(clip)
    assert caught.value.reason == "timed_out"
    assert time.monotonic() - start < 10


def test_a_hang_in_the_middle_and_at_the_end(clip, fake):
    header = "printf 'YUV4MPEG2 W2 H2 F25:1\\nFRAME\\n123456'"
    for rest in ("exec sleep 60", "exec >&- sleep 60"):
        fake(f"{header}; {rest}")
        with ffmpeg.time_limit(0.2), pytest.raises(ClipError) as caught:
            frames = video.read_frames(clip)
            assert next(frames).shape == (2, 2, 3)
            next(frames)
        assert caught.value.reason == "timed_out"


def test_the_callers_own_time_is_not_counted(clip):
    with ffmpeg.time_limit(2):
        frames = video.read_frames(clip)
        next(frames)
    time.sleep(2.1)
    assert sum(1 for _ in frames) == 9


def test_what_was_read_lengthens_the_limit(clip, fake):
    fake("for i in 1 2 3 4 5 6; do printf .; sleep 0.3; done")
    with ffmpeg.time_limit(1.5), ffmpeg.Decoder(clip, []) as process:
        byte = bytearray(1)
        while process.fill(memoryview(byte)):
            process.extend_deadline(60)
        assert process.finish() == 0


def test_a_crash_of_ffmpeg_is_the_clips_fault(clip, fake):
    fake(f"printf 'YUV4MPEG2 W2 H2\\nFRAME\\n123456'; kill -{int(signal.SIGSEGV)} $$")
    with pytest.raises(ClipError, match="SIGSEGV") as caught:
        list(video.read_frames(clip))
    assert caught.value.reason == "unreadable"


def test_leaving_ends_ffmpeg(clip, fake):
    fake("exec sleep 60")
    with ffmpeg.Decoder(clip, []) as process:
        number = process._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_picture_of_absurd_size_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 0.4)
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 160 * 160 - 1)
    with pytest.raises(ClipError) as caught:
        video.probe(path)
    assert caught.value.reason == "unreadable"
    with pytest.raises(ClipError):
        list(video.read_frames(path))


def test_no_file_reaches_the_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        (tmp_path / "a.mp4").write_text(playlist)
        with pytest.raises(ClipError):
            video.probe(tmp_path / "a.mp4")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[: len(data) // 2], "moov atom not found"),
        (lambda data: data[: data.find(b"mdat") + 4], "moov atom not found"),
        (lambda data: bytes(len(data)), "moov atom not found"),
        (lambda data: b"hello", "moov atom not found"),
        (
            lambda data: (
                data[: data.find(b"mdat") + 4].ljust(data.find(b"moov") - 4, b"\0")
                + data[data.find(b"moov") - 4 :]
            ),
            # From version 6 on, and before.
            "Decode error rate 1 exceeds maximum|Error while decoding stream #0:0: Invalid data",
        ),
    ],
)
def test_the_cause_is_told_not_its_consequences(tmp_path, damage, why):
    whole = tmp_path / "whole.mp4"
    command = [ffmpeg.ffmpeg_exe(), "-v", "error", "-i", write_video(tmp_path / "a.mp4", 0.4)]
    subprocess.run([*command, "-c", "copy", whole], check=True)  # its directory is at the end
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(damage(whole.read_bytes()))
    for read in (video.probe, lambda path: list(video.read_frames(path))):
        with pytest.raises(ClipError, match=why) as caught:
            read(broken)
        assert caught.value.reason == "unreadable"


def test_data_that_ffmpeg_cannot_name_are_invalid(tmp_path):
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF\0\0\0\0AVI " + bytes(2000))
    with pytest.raises(ClipError, match="Invalid data found when processing input"):
        video.probe(path)


# An empty tag, and one of 5 bytes with a footer.
ID3 = "ID3\4\0\0\0\0\0\0" + "ID3\4\0\x10\0\0\0\5" + "\0" * 5 + "3DI\4\0\x10\0\0\0\5"


@pytest.mark.parametrize(
    "start",
    [
        "ffconcat version 1.0\n",
        "#EXTM3U\n",
        "\ufeff#EXTM3U\n",
        "<?xml version='1.0'?>\n<MPD",
        "<!-- a comment --><MPD",
        f"{' ' * 100}<MPD",
        f"{ID3}#EXTM3U\n",
        f"{ID3}{ID3}ffconcat version 1.0\n",
    ],
)
def test_lists_of_other_files_are_not_opened(tmp_path, start):
    write_video(tmp_path / "secret.mp4", 0.4)
    named = tmp_path / "clip.mp4"
    named.write_text(f"{start}file secret.mp4\nsecret.mp4\n", encoding="utf-8")
    with pytest.raises(ClipError, match=r"clip\.mp4: a list of other files"):
        video.probe(named)
