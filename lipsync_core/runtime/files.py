"""Atomic files, locks and content digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PathLike = str | os.PathLike[str]
log = logging.getLogger(__name__)
STALE_TEMPORARY = re.compile(r"\.([0-9a-f]{12})(\+\d+)?\.\d+\.tmp(\..*)?")
NUMBERED = re.compile(r"(.+)(\+\d+)", re.DOTALL)  # the name of a further file of one owner


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it when the block succeeds.

    The content is synced before the rename, and the rename before the block ends: after a power cut
    `path` has the old content or the new one. Without that, some file systems (XFS, NFS, ext4 by
    its options) leave it empty.

    The temporary name keeps the suffix (encoders and `numpy.save` look at it), begins with a dot
    (discovery skips it), differs in each thread of each process, and is removed when the block
    raises. Parent folders are created.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    token, number = _token(target)
    temporary = target.with_name(f".{token}{number}.{threading.get_native_id()}.tmp{target.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        with contextlib.suppress(OSError):  # some systems cannot open, or sync, a folder
            _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unnamed_path(path: PathLike) -> Iterator[tuple[Path, int | None]]:
    """Like `atomic_path`, for another program that writes the file: (path to write, descriptor).

    Where the system allows it (Linux, on most file systems) the file has no name until the block
    succeeds: it is gone when the process is killed. The descriptor has to be passed on to the
    program then; the path names it. Elsewhere the descriptor is None, the path that of
    `atomic_path`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    except (AttributeError, OSError):
        with atomic_path(target) as temporary:
            yield temporary.absolute(), None
        return
    try:
        yield Path(f"/dev/fd/{descriptor}"), descriptor
        with atomic_path(target) as temporary:
            temporary.unlink(missing_ok=True)
            # A descriptor of a folder, though the path is absolute: only then does Python follow
            # the link to the file.
            os.link(f"/proc/self/fd/{descriptor}", temporary.absolute(), src_dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    # Windows syncs only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _token(target: Path) -> tuple[str, str]:
    """The parts of the name of a temporary file: a digest, and "+<number>" if `target` has one.

    `a.zip`, `a+1.zip` and `a+2.zip` have the same digest, by which all of them are found.
    """
    match = NUMBERED.fullmatch(target.name.removesuffix(target.suffix))
    name, number = (match[1] + target.suffix, match[2]) if match else (target.name, "")
    # A digest, not the name itself: a 255-byte name has no room for a prefix.
    return hashlib.sha1(os.fsencode(name)).hexdigest()[:12], number


def remove_stale_temporaries(folders: Iterable[Path], targets: Iterable[Path] = ()) -> None:
    """Remove temporary files that killed processes left.

    folders: no other process writes there, so all temporary files are removed. targets: files in
    folders that others write to as well; only their own temporary files are removed, and those of
    `<target>+<number>`.
    """
    tokens_in: dict[Path, set[str] | None] = {}
    for target in targets:
        tokens_in.setdefault(target.parent, set()).add(_token(target)[0])
    for folder, tokens in (tokens_in | dict.fromkeys(folders)).items():
        names = os.listdir(folder) if folder.is_dir() else []
        for name in names:
            match = STALE_TEMPORARY.fullmatch(name)
            if match and (tokens is None or match[1] in tokens):
                log.info("%s: left by a killed process, removed", folder / name)
                (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive_lock(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock`; wait for a process that holds it.

    The system releases it when the process ends, however it ends. Without effect where the system
    or the file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("%s: another process holds the lock (of a killed run?); waiting", lock)
                fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError as error:
                log.debug("%s: locks are not supported (%s)", lock, error)
        yield


def is_locked(lock: Path) -> bool:
    """True while a process is in `exclusive_lock(lock)`."""
    if fcntl is None or not lock.is_file():
        return False
    with open(lock) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def write_text(path: PathLike, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically; what UTF-8 cannot hold is written \\uNNNN."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_text_if_changed(path: PathLike, text: str) -> bool:
    """Like `write_text`, but keep an equal file and its mtime. Returns whether it was written."""
    target = Path(path)
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return False
    write_text(target, text)
    return True


def digest(value: Any) -> str:
    """SHA-1 (40 hex digits) of the canonical JSON of `value` (str, numbers, lists, dicts)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha1(text.encode()).hexdigest()


def file_sha(path: PathLike, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
