from __future__ import annotations

import os
import signal
import socket
import stat
import time

import pytest

from lipsync_core import audio, decoder, timebase, video
from lipsync_core.errors import ClipError
from tests.media import write_video

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
        monkeypatch.setattr(decoder, "ffmpeg_exe", lambda: str(program))

    return put


@pytest.mark.parametrize(
    "read",
    [
        lambda path, limit: video.probe(path, limit),
        lambda path, limit: timebase.survey(path, limit=limit),
        lambda path, limit: audio.load_wav(path, limit),
        lambda path, limit: list(video.read_frames(path, limit=limit)),
    ],
)
def test_a_hang_ends_in_time(clip, fake, read):
    fake("exec sleep 60")
    start = time.monotonic()
    with pytest.raises(ClipError) as caught:
        read(clip, 0.2)
    assert caught.value.reason == "timed_out"
    assert time.monotonic() - start < 10


def test_a_hang_in_the_middle_and_at_the_end(clip, fake):
    header = "printf 'YUV4MPEG2 W2 H2 F25:1\\nFRAME\\n123456'"
    for rest in ("exec sleep 60", "exec >&- sleep 60"):
        fake(f"{header}; {rest}")
        frames = video.read_frames(clip, limit=0.2)
        assert next(frames).shape == (2, 2, 3)
        with pytest.raises(ClipError) as caught:
            next(frames)
        assert caught.value.reason == "timed_out"


def test_the_callers_own_time_is_not_counted(clip):
    frames = video.read_frames(clip, limit=0.5)
    next(frames)
    time.sleep(0.8)
    assert sum(1 for _ in frames) == 9


def test_what_was_read_lengthens_the_limit(clip, fake):
    fake("for i in 1 2 3 4 5 6; do printf .; sleep 0.1; done")
    with decoder.Decoder(clip, [], 0.3) as process:
        byte = bytearray(1)
        while process.fill(memoryview(byte)):
            process.earn(60)
        assert process.finish() == 0


def test_a_crash_of_ffmpeg_is_the_clips_fault(clip, fake):
    fake(f"printf 'YUV4MPEG2 W2 H2\\nFRAME\\n123456'; kill -{int(signal.SIGSEGV)} $$")
    with pytest.raises(ClipError, match="SIGSEGV") as caught:
        list(video.read_frames(clip))
    assert caught.value.reason == "unreadable"


def test_leaving_ends_ffmpeg(clip, fake):
    fake("exec sleep 60")
    with decoder.Decoder(clip, []) as process:
        number = process._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_picture_of_absurd_size_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 0.4)
    monkeypatch.setattr(decoder, "MAX_PIXELS", 160 * 160 - 1)
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
            video.probe(tmp_path / "a.mp4", 5)
        with pytest.raises(TimeoutError):
            server.accept()
