"""Versions of the software used, from installed metadata (torch is not imported)."""

from __future__ import annotations

import importlib.metadata
import platform

from lipsync_core import __version__
from lipsync_core.media import ffmpeg_binary

PACKAGES = ("torch", "numpy", "opencv-python", "librosa", "snakemake")


def collect_versions() -> dict[str, str]:
    """Name -> version of this package, Python, the main libraries and ffmpeg."""
    found = {"lipsync_core": __version__, "Python": platform.python_version()}
    return found | {name: _installed(name) for name in PACKAGES} | {"ffmpeg": _ffmpeg()}


def _installed(name: str) -> str:
    for candidate in (name, f"{name}-headless"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def _ffmpeg() -> str:
    """The version and build of ffmpeg, and where it came from."""
    binary = ffmpeg_binary.chosen()
    origin = "imageio-ffmpeg" if binary.bundled else binary.path
    return f"{binary.identity}, {origin}"
