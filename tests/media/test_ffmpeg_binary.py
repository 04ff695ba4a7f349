from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from pathlib import Path

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.media import ffmpeg, ffmpeg_binary
from lipsync_core.media.ffmpeg_binary import VARIABLE, chosen
from lipsync_core.report.versions import collect_versions

pytestmark = pytest.mark.media

REFUSALS = {  # what a program that lacks it says
    "bwdif": "No such filter: 'bwdif'",
    "yuv4mpegpipe": "Requested output format 'yuv4mpegpipe' is not known.",
    "aac": "Unknown encoder 'aac'",
    "-fps_mode": "Unrecognized option 'fps_mode'.",
    "-max_pixels": "Option max_pixels not found.",
}


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """As on a machine where nobody chose an ffmpeg."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def program(tmp_path):
    """Writes a shell script called ffmpeg; it may go on to the real one as "$real"."""
    real = shlex.quote(chosen().path)

    def write(script: str, folder: Path = tmp_path / "an other's bin") -> str:
        folder.mkdir(exist_ok=True)
        path = folder / "ffmpeg"
        path.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def test_the_systems_ffmpeg_changes_nothing(program, monkeypatch):
    folder = Path(program("exit 1")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(folder / "ffmpeg"))
    assert shutil.which("ffmpeg") == str(folder / "ffmpeg")
    assert "imageio_ffmpeg" in ffmpeg.ffmpeg_exe()
    assert collect_versions()["ffmpeg"].endswith(", imageio-ffmpeg")


def test_a_chosen_one_is_used_and_named(program, monkeypatch):
    path = program('exec "$real" "$@"')
    monkeypatch.setenv(VARIABLE, path)
    assert ffmpeg.ffmpeg_exe() == path
    assert collect_versions()["ffmpeg"].endswith(f", {path}")


def test_the_config_chooses_for_the_processes_that_follow(program, monkeypatch):
    path = program('exec "$real" "$@"')
    monkeypatch.setenv(VARIABLE, "")
    assert ffmpeg_binary.choose("auto").bundled
    assert ffmpeg_binary.choose(path).path == os.environ[VARIABLE] == path
    assert ffmpeg_binary.choose("auto").path == path


def test_a_name_is_looked_up_and_a_relative_path_made_absolute(program, monkeypatch):
    path = program('exec "$real" "$@"')
    monkeypatch.setenv("PATH", f"{Path(path).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(VARIABLE, "ffmpeg")
    assert ffmpeg.ffmpeg_exe() == path
    monkeypatch.chdir(Path(path).parent)
    assert ffmpeg_binary.choose("./ffmpeg").path == os.environ[VARIABLE] == path


def test_another_build_has_another_identity(program, monkeypatch):
    bundled = chosen().identity
    monkeypatch.setenv(VARIABLE, program('"$real" "$@" | sed "s/built with/made with/"'))
    version = bundled.partition(" ")[0]
    assert chosen().identity != bundled and chosen().identity.startswith(f"{version} ")
    monkeypatch.setenv(VARIABLE, "auto")
    assert chosen().identity == bundled


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", "version 4.4; set `ffmpeg:`"),
        ("echo hello", "is no ffmpeg"),
        ("exit 3", "it ends with status 3"),
        ("echo libavcodec.so.59: cannot open shared object file >&2; exit 127", "libavcodec.so.59"),
    ],
)
def test_an_unfit_one_is_refused_in_one_line(program, monkeypatch, script, said):
    path = program(script)
    monkeypatch.setenv(VARIABLE, path)
    with pytest.raises(LipsyncError) as caught:
        ffmpeg.ffmpeg_exe()
    assert said in str(caught.value) and repr(path) in str(caught.value)
    assert "ffmpeg:" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("lacking", REFUSALS)
def test_one_that_lacks_what_is_needed_is_refused(program, monkeypatch, lacking):
    script = f"""case "$*" in *{lacking}*) echo "{REFUSALS[lacking]}" >&2; exit 1;; esac"""
    monkeypatch.setenv(VARIABLE, program(script + '\nexec "$real" "$@"'))
    with pytest.raises(LipsyncError, match=re.escape(REFUSALS[lacking])):
        ffmpeg.ffmpeg_exe()


@pytest.mark.parametrize("name", ["/nowhere/ffmpeg", "no-such-ffmpeg"])
def test_a_missing_one_is_named(monkeypatch, name):
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(LipsyncError, match=f"'{name}': no such program"):
        ffmpeg.ffmpeg_exe()


def test_the_bundled_one_can_do_all_that_is_asked_of_others(monkeypatch):
    path = chosen().path
    monkeypatch.setenv(VARIABLE, path)
    assert chosen().path == path and not chosen().bundled
