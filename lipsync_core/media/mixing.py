"""Mix several sounds into one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import ffmpeg

from lipsync_core.errors import LipsyncError
from lipsync_core.media.encoding import pcm_input
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.soundtrack import soundtrack
from lipsync_core.runtime.files import PathLike


@contextlib.contextmanager
def mixed_sound(paths: Sequence[PathLike]) -> Iterator[Path]:
    """A WAV file with the sum of the first audio tracks of `paths`, for the time of the block.

    As long as the longest. Peaks are limited, the levels are kept otherwise. Where the system
    allows it, the file has no name: it is gone when the process is killed. Raises as
    `soundtrack.soundtrack`, and LipsyncError when ffmpeg fails.
    """
    with contextlib.ExitStack() as stack:
        target = _temporary_file(stack)
        tracks = [stack.enter_context(soundtrack(path)) for path in paths]
        mix = ffmpeg.filter(
            [pcm_input(track) for track in tracks],
            *("amix",),
            inputs=len(tracks),
            normalize=0,
            duration="longest",
        ).filter("alimiter", level="false", latency="true")
        command = (
            ffmpeg.output(mix, str(target), format="wav", acodec="pcm_s16le")
            .global_args("-hide_banner", "-loglevel", "error", "-nostdin", "-y")
            .compile(cmd=ffmpeg_exe())
        )
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[track.pcm.fileno() for track in tracks],
        )
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise LipsyncError(f"{', '.join(map(str, paths))}: cannot be mixed: {lines[-1]}")
        yield target


def _temporary_file(stack: contextlib.ExitStack) -> Path:
    """A path by which other programs write and read a temporary file, until `stack` ends."""
    unnamed = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    path = Path(f"/proc/{os.getpid()}/fd/{unnamed.fileno()}")
    if path.exists():
        return path
    return Path(stack.enter_context(tempfile.NamedTemporaryFile(suffix=".wav")).name)
