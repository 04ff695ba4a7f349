"""Versions of what took part, read from installed metadata (torch is not imported)."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

from lipsync_core import __version__
from lipsync_core.video import ffmpeg_exe

PACKAGES = ("torch", "numpy", "opencv-python", "librosa", "snakemake")


def collect_versions() -> dict[str, str]:
    """Name -> version of this package, Python, the main libraries and ffmpeg."""
    found = {"lipsync_core": __version__, "Python": platform.python_version()}
    return found | {name: _installed(name) for name in PACKAGES} | {"ffmpeg": _ffmpeg_line()}


def _installed(name: str) -> str:
    for candidate in (name, f"{name}-headless"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def _ffmpeg_line() -> str:
    """The version in the first line of `ffmpeg -version`."""
    done = subprocess.run([ffmpeg_exe(), "-version"], capture_output=True, text=True, check=False)
    line = done.stdout.partition("\n")[0]
    return line.removeprefix("ffmpeg version ").partition(" Copyright")[0] or "unknown"
