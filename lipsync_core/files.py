"""Atomic files and content digests. Knows nothing of media."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it when the block succeeds.

    The temporary name keeps the suffix (encoders and `numpy.save` look at it), begins with a dot
    (discovery skips it), and is removed when the block raises. Parent folders are made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A digest, not the name itself: a 255-byte name has no room for a prefix.
    token = hashlib.sha1(os.fsencode(target.name)).hexdigest()[:12]
    temporary = target.with_name(f".{token}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_text_if_changed(path: str | os.PathLike[str], text: str) -> bool:
    """Like `write_text`, but leave an equal file (and its mtime) alone. True when written."""
    target = Path(path)
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return False
    write_text(target, text)
    return True


def digest(value: Any) -> str:
    """SHA-1 (40 hex digits) of the canonical JSON of `value` (str, numbers, lists, dicts)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha1(text.encode()).hexdigest()


def file_sha(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
