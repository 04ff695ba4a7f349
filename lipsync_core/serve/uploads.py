"""What visitors may upload: limits, names, and checks of the content before any work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.errors import UNPRINTABLE, ClipError, LipsyncError, Reason
from lipsync_core.media import screening
from lipsync_core.media.video import is_image, probe
from lipsync_core.runtime.files import PathLike

MAX_NAME_BYTES = 120
FACES = "MP4, MOV, MKV, WebM, AVI, GIF, JPEG, PNG, WebP, BMP or TIFF"
SOUNDS = "WAV, MP3, M4A, OGG, Opus, FLAC, or a video with sound"


@dataclass(frozen=True)
class Limits:
    """The largest that is taken: bytes of a file, seconds, pixels of a frame (4096 x 2304)."""

    bytes: int = 500 << 20
    seconds: float = 600.0
    pixels: int = 4096 * 2304


def safe_name(name: str) -> str:
    """`name`, shortened where it is long, as the name of a file in a folder of its own.

    Raises LipsyncError for a path, a hidden file, or characters that no name should have.
    """
    if not name or name[0] in ".-" or re.search(r"[/\\]", name) or UNPRINTABLE.search(name):
        shown = f"{name[:60]!r}" if name else "a file without a name"
        raise LipsyncError(f"{shown}: not taken under this name; rename it, such as face.mp4")
    stem, suffix = Path(name).stem, Path(name).suffix[:12]
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore") + suffix


def check_face(path: Path, limits: Limits) -> None:
    """Raise LipsyncError, naming the file and the remedy, unless it can be a face."""
    _check_file(path, limits, FACES)
    if is_image(path):
        width, height = screening.picture_size(path)
    else:
        found = probe(path)
        width, height = found.width, found.height
    if width * height > limits.pixels:
        raise LipsyncError(
            f"{path.name}: {width}x{height} pixels are too many; scale it down to 1920x1080"
        )
    if not is_image(path):
        _check_length(path, screening.video_seconds(path), limits)


def check_sound(path: Path, limits: Limits) -> None:
    """Raise LipsyncError, naming the file and the remedy, unless it can be the sound."""
    _check_file(path, limits, SOUNDS)
    if is_image(path):
        raise LipsyncError(f"{path.name}: a picture has no sound; drop {SOUNDS}")
    _check_length(path, screening.sound_seconds(path, limits.seconds), limits)


def _check_file(path: Path, limits: Limits, wanted: str) -> None:
    size = path.stat().st_size
    if size > limits.bytes:
        most = limits.bytes >> 20
        raise LipsyncError(f"{path.name}: {size >> 20} MB; at most {most} MB are taken: cut it")
    if not size:
        raise LipsyncError(f"{path.name}: the file is empty; choose another")
    if not screening.is_media(path):
        raise LipsyncError(f"{path.name}: not a media file of a kind taken here; drop {wanted}")


def _check_length(path: Path, seconds: float, limits: Limits) -> None:
    if seconds > limits.seconds:
        most = limits.seconds
        raise LipsyncError(f"{path.name}: longer than the {most:g} s that are taken; cut it")


def polite(error: LipsyncError | OSError, folder: PathLike) -> str:
    """One line about an error for a visitor: files by their own names, without the folders.

    folder: all uploads lie somewhere below.
    """
    if isinstance(error, ClipError):
        text = error.detail
        if error.reason is Reason.UNREADABLE:
            text += "; convert it to MP4, WAV or JPEG and try again"
    elif isinstance(error, LipsyncError):
        text = str(error)
    else:
        text = f"the server cannot go on ({error.strerror or 'input/output error'}); try later"
    return re.sub(re.escape(str(folder)) + r"(/[\w-]+)*/", "", " ".join(text.split()))
