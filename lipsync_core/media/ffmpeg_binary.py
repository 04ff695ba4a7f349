"""Choose the ffmpeg program and test that it supports what this package uses. Light imports.

The default is the one in the pinned imageio-ffmpeg wheel, so that the same input gives the same
files on every machine. The environment variable `LIPSYNC_FFMPEG` names another one; the Snakefile
sets it from the config key `ffmpeg`, and every process that a job starts inherits it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lipsync_core.errors import LipsyncError
from lipsync_core.media import raw_matroska

VARIABLE = "LIPSYNC_FFMPEG"
BUNDLED = "auto"
MIN_VERSION = (5, 1)  # the first with -fps_mode
TRIAL_TIMEOUT = 60  # seconds; a trial takes 0.1
REQUIRED = ".".join(map(str, MIN_VERSION))
REMEDY = (
    f"set `ffmpeg:` in the config (or {VARIABLE}) to one of version {REQUIRED} or newer, or to "
    f"{BUNDLED} for the bundled one"
)


class Binary(NamedTuple):
    """A tested ffmpeg program.

    identity: its version and a digest of its build options. bundled: it comes from the wheel.
    """

    path: str
    identity: str
    bundled: bool


def chosen() -> Binary:
    """The ffmpeg of this process: the one that `LIPSYNC_FFMPEG` names, else the bundled one.

    Raises LipsyncError when it is missing, does not run, is older than `MIN_VERSION`, or lacks a
    filter, format, encoder or option that this package uses.
    """
    setting = os.environ.get(VARIABLE) or BUNDLED
    return _checked(setting if setting == BUNDLED else _located(setting))


def choose(setting: str) -> Binary:
    """Make `setting` (a path, a program's name, or "auto") the choice of this process.

    The processes that it starts inherit it. "auto" leaves a choice of the environment in force.
    """
    if setting != BUNDLED:
        os.environ[VARIABLE] = _located(setting)
    return chosen()


@functools.cache
def _checked(path: str) -> Binary:
    if path == BUNDLED:
        path = _bundled()
        return Binary(path, _identity(path, _run(path, ["-version"])), bundled=True)
    about = _run(path, ["-version"])
    version = re.match(r"ffmpeg version n?(\d+)\.(\d+)", about)
    # A build from git has no version number; the trial decides.
    if version and (int(version[1]), int(version[2])) < MIN_VERSION:
        raise LipsyncError(f"ffmpeg {path!r} is version {version[1]}.{version[2]}; {REMEDY}")
    _try(path)
    return Binary(path, _identity(path, about), bundled=False)


def _bundled() -> str:
    # imageio_ffmpeg.get_ffmpeg_exe() prefers IMAGEIO_FFMPEG_EXE and falls back to the system's
    # ffmpeg; importing it takes 50 ms.
    package = importlib.util.find_spec("imageio_ffmpeg")
    folders = package.submodule_search_locations if package else None
    programs = sorted(Path(folders[0], "binaries").glob("ffmpeg-*")) if folders else []
    if not programs:
        raise LipsyncError(
            f"imageio-ffmpeg holds no ffmpeg for this platform; install one of version {REQUIRED} "
            f"or newer, and set `ffmpeg:` in the config (or {VARIABLE}) to its path"
        )
    return str(programs[0])


def _located(setting: str) -> str:
    found = shutil.which(setting)
    if not found:
        raise LipsyncError(f"ffmpeg {setting!r}: no such program; {REMEDY}")
    return str(Path(found).absolute())


def _identity(path: str, about: str) -> str:
    version = re.match(r"ffmpeg version (\S+)", about)
    if not version:
        raise LipsyncError(f"{path!r} is no ffmpeg: it prints no version; {REMEDY}")
    return f"{version[1]} ({hashlib.sha1(about.encode()).hexdigest()[:8]})"


def _try(path: str) -> None:
    """Run every filter, format and option that this package uses, on 0.25 s of zeros.

    Raises LipsyncError with ffmpeg's message about what is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        zeros = Path(folder, "zeros")
        zeros.write_bytes(bytes(64 * 64 * 3 * 6))
        _run(path, _trial(str(zeros), folder))
        second = raw_matroska.frame_head(40_000_000, 40_000_000, 384) + bytes(384)
        frames = raw_matroska.header(16, 16, 40_000_000) + second
        Path(folder, "frames").write_bytes(frames)
        _run(path, _stamped_trial(f"{folder}/frames", folder))


def _trial(zeros: str, folder: str) -> Sequence[str]:
    filters = (
        "bwdif=deint=interlaced,fps=25:start_time=0,crop=w='min(32,iw)':h='min(32,ih)':x=0:y=0,"
        "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=w=16:h=16:out_color_matrix=bt601:out_range=tv"
        ":flags=area+accurate_rnd+full_chroma_int+full_chroma_inp"
    )
    copied = f"[f=framecrc]{folder}/crc|[f=s16le]{folder}/pcm"
    video, audio = ("-map", "0:V:0"), ("-map", "1:a:0?")
    return (
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        *("-protocol_whitelist", "file", "-max_pixels", "8192", "-threads", "1"),
        *("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", "64x64", "-r", "25", "-i", zeros),
        *("-f", "s16le", "-i", zeros),
        *(*video, "-vf", filters, "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", f"{folder}/y4m"),
        *(*video, "-frames:v", "1", "-f", "framecrc", f"{folder}/one"),
        *(*video, *audio, "-c", "copy", "-f", "null", "-"),
        *(*audio, "-af", "aresample=16000", "-ac", "1", "-c:a", "pcm_s16le", "-f", "tee", copied),
        *(*video, *audio, "-fps_mode", "passthrough", "-c:v", "mpeg4", "-q:v", "2"),
        *("-c:a", "pcm_s16le", "-map_metadata", "-1", f"{folder}/cut.mkv"),
        *(*video, *audio, "-c:v", "mpeg4", "-b:v", "6M", "-pix_fmt", "yuv420p", "-c:a", "aac"),
        *("-b:a", "128k", "-t", "0.2", "-movflags", "+faststart", "-fflags", "+bitexact"),
        *("-flags:v", "+bitexact", "-flags:a", "+bitexact", "-metadata:g:0", "comment=trial"),
        f"{folder}/out.mp4",
    )


def _stamped_trial(frames: str, folder: str) -> Sequence[str]:
    native = (
        "showinfo=checksum=0,bwdif=mode=send_frame:deint=interlaced,format=yuv420p|yuvj420p,"
        "settb=1/90000,trim=start_pts=1,metadata=mode=add:key=shown:value=1,"
        "metadata=mode=print:key=shown:direct=1:file=-"
    )
    tagged = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,setsar=1/1"
    passed = ("-fps_mode", "passthrough")
    return (
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        *("-reinit_filter", "0", "-noaccurate_seek", "-copyts", "-start_at_zero"),
        *("-f", "matroska", "-i", frames, "-map", "0:V:0"),
        *("-vf", native, *passed, "-f", "rawvideo", f"{folder}/native"),
        *("-vf", tagged, *passed, "-enc_time_base", "1:10000", "-c:v", "mpeg4"),
        *("-color_primaries", "bt709", "-movie_timescale", "10000"),
        *("-video_track_timescale", "10000", f"{folder}/stamped.mp4"),
    )


def _run(path: str, arguments: Sequence[str]) -> str:
    """Run ffmpeg and return its output. Raises LipsyncError when it fails."""
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRIAL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LipsyncError(f"ffmpeg {path!r} does not run: {error}; {REMEDY}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = lines[0] if lines else f"it ends with status {done.returncode}"
        raise LipsyncError(f"ffmpeg {path!r} cannot do what is needed: {why}; {REMEDY}")
    return done.stdout.decode(errors="replace")
