"""A video read in one run of ffmpeg gives what the single steps give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import flash_and_beep
from lipsync_core.errors import ClipError, Reason
from lipsync_core.media import ffmpeg
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation import extraction
from tests.support.extraction import separate_runs
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media


@pytest.fixture
def starts(monkeypatch) -> list[list[str]]:
    """The commands of every ffmpeg that a `Decoder` starts."""
    commands: list[list[str]] = []
    real = subprocess.Popen

    def popen(command, **options):
        commands.append(command)
        return real(command, **options)

    monkeypatch.setattr(ffmpeg.subprocess, "Popen", popen)
    return commands


def convert(source: Path, target: Path, *options: str) -> Path:
    command = [ffmpeg_exe(), "-v", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)
    return target


CONVERSIONS = {
    "same.mp4": [],
    "rotated.mp4": ["-c", "copy", "-metadata:s:v:0", "rotate=90"],
    "late sound.mkv": ["-c", "copy"],
    "mpeg.mpg": ["-q:v", "4"],
    "-ts.ts": ["-c", "copy"],
    "mjpeg.avi": ["-c:v", "mjpeg", "-c:a", "pcm_s16le"],
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_same_measures_and_audio_from_one_run(tmp_path, starts, name):
    shown = flash_and_beep.film(30, 2, 0.2)
    source = flash_and_beep.write(tmp_path / "source.mp4", shown, 0.4)
    source = convert(source, tmp_path / name, *CONVERSIONS[name])
    starts.clear()
    found = extraction.extract(source, source, tmp_path / "one.wav")
    assert len(starts) == 1
    assert found == separate_runs(source, tmp_path / "three.wav")
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "three.wav").read_bytes()


def test_a_separate_audio_file_takes_two_runs(tmp_path, starts):
    source = write_video(tmp_path / "a.mp4", 0.8, sound=False)
    sound = write_wav(tmp_path / "a.wav", 0.7)
    starts.clear()
    found = extraction.extract(source, sound, tmp_path / "out.wav")
    assert len(starts) == 2
    assert (found["seconds"], found["audio_seconds"]) == (0.8, 0.7)
    assert found["width"] > 0


@pytest.mark.parametrize(
    ("kind", "reason", "said", "measured"),
    [
        ("soundless", "no_audio", "it has no audio track", True),
        ("sound only", "no_video", "it has audio, but no video", False),
        ("empty", "unreadable", "moov atom not found", False),
        ("missing", "unreadable", "no such file", False),
    ],
)
def test_causes_are_those_of_the_steps(tmp_path, kind, reason, said, measured):
    path = tmp_path / "a.mp4"
    if kind == "soundless":
        write_video(path, 0.8, sound=False)
    elif kind == "sound only":
        write_wav(tmp_path / "a.wav", 0.8).rename(path)
    elif kind == "empty":
        path.touch()
    with pytest.raises(ClipError, match=said) as caught:
        extraction.extract(path, path, tmp_path / "out.wav")
    assert caught.value.reason == reason
    assert str(path) in caught.value.detail
    assert ("fps_in" in caught.value.measures) == measured
    assert not (tmp_path / "out.wav").exists()


def test_what_takes_too_long_is_not_tried_step_by_step(tmp_path, starts, monkeypatch):
    source = write_video(tmp_path / "a.mp4", 0.8)
    slow = tmp_path / "ffmpeg"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_exe", lambda: str(slow))
    starts.clear()
    with ffmpeg.time_limit(0.2), pytest.raises(ClipError, match=r"check\.timeout") as caught:
        extraction.extract(source, source, tmp_path / "out.wav")
    assert caught.value.reason == Reason.TIMED_OUT
    assert len(starts) == 1
