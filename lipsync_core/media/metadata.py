"""Tags of a media file's container."""

from __future__ import annotations

import re

from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.runtime.files import PathLike

MAX_BYTES = 1 << 20  # of all tags; a file may hold any amount


def read_tags(path: PathLike) -> dict[str, str]:
    """The global tags of a media file, their names in small letters.

    Raises ClipError: unreadable when it is no media file, timed_out.
    """
    with Decoder(path, ["-f", "ffmetadata", "pipe:1"]) as decoder:
        text = bytearray(MAX_BYTES)
        size = decoder.fill(memoryview(text))
        if size < MAX_BYTES and decoder.finish():
            raise decoder.failure("its tags cannot be read")
    return parse_ffmetadata(text[:size].decode(errors="replace"))


def parse_ffmetadata(text: str) -> dict[str, str]:
    """The global tags in ffmpeg's metadata format; `\\` stands before = ; # \\ and line ends."""
    found = {}
    for match in re.finditer(r"((?:\\.|[^\\\n])*)(?:\n|$)", text, re.DOTALL):
        line = match[1]
        if re.match(r"\[(STREAM|CHAPTER)\]$", line):
            break
        parts = re.fullmatch(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL)
        if parts and not line.startswith((";", "#")):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts.groups())
            found[key.lower()] = value
    return found
