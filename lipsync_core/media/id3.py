"""ID3 tags at the beginning of a file, behind which ffmpeg looks for what it is. Light."""

from __future__ import annotations

from typing import IO

HEADER_BYTES = 10
FOOTER = 0x10  # a flag: the header is repeated behind the tag
MAX_TAGS = 16  # ffmpeg's choice of a reader skips one


def skip_tags(stream: IO[bytes]) -> None:
    """Seek to the first byte behind the ID3v2 tags at the beginning of a binary file.

    The layout of a tag: https://id3.org/id3v2.4.0-structure, sections 3.1 and 3.4.
    """
    place = 0
    for _ in range(MAX_TAGS):
        stream.seek(place)
        head = stream.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES or not head.startswith(b"ID3"):
            break
        size = 0
        for byte in head[6:]:  # seven bits each
            size = size << 7 | byte & 0x7F
        place += HEADER_BYTES + size + (HEADER_BYTES if head[5] & FOOTER else 0)
    stream.seek(place)
