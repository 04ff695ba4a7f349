"""Files below a folder, and the encoding of their names in tables. Light."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from lipsync_core.errors import LipsyncError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .avi .webm .mpg .mpeg .ts .mts .m2ts .flv .wmv .3gp .ogv .vob".split()
)
PART_SUFFIX = re.compile(r"\+(?=\d+(\.[^./]*)?$)")
AUDIO_SUFFIXES = frozenset(".m4a .aac .wav .mp3 .flac .ogg .opus".split())


def encode(name: str) -> str:
    """`name` with control characters, undecodable bytes and "%" written as %XX.

    So is a "+" before digits at the end (of the stem), which marks a further track of a video.
    """
    if not name.isprintable() or "%" in name:
        name = "".join(
            character
            if character.isprintable() and character != "%"
            else urllib.parse.quote_from_bytes(os.fsencode(character), safe="")
            for character in name
        )
    return PART_SUFFIX.sub("%2B", name) if "+" in name else name


def decode(path: str) -> str:
    """The file name that `encode` wrote."""
    return os.fsdecode(urllib.parse.unquote_to_bytes(path)) if "%" in path else path


def suffix_of(name: str) -> str:
    """The last extension in small letters, with its dot; "" for ".x" and for none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def stamp(stat: os.stat_result) -> str:
    """Size and modification time."""
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def folders(root: Path) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Each folder below `root` once: its encoded path ("" or ending in "/") and its files.

    Hidden entries are ignored; symbolic links are followed, loops are not.
    Raises LipsyncError when `root` is a file.
    """
    stack, seen = [("", str(root))], set()
    while stack:
        prefix, folder = stack.pop()
        try:
            place = Path(folder).stat()
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except FileNotFoundError:
            continue
        except NotADirectoryError as error:
            raise LipsyncError(f"data_root {folder!r} is a file, not a folder") from error
        files = []
        for entry in entries:
            if entry.is_dir():
                stack.append((f"{prefix}{encode(entry.name)}/", entry.path))
            else:
                files.append(entry)
        yield prefix, files


def scan_files(root: Path, suffixes: frozenset[str]) -> dict[str, str]:
    """Encoded path below `root` -> stamp of every file with one of the `suffixes`, in any depth."""
    found = {}
    for prefix, files in folders(root):
        for entry in files:
            if suffix_of(entry.name) in suffixes and entry.is_file():
                found[prefix + encode(entry.name)] = stamp(entry.stat())
    return found
