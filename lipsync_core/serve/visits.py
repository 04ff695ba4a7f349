"""Visits: the files of each open page, and their removal when the page is closed.

All files are in one folder of the server's own. It is removed when the server ends, and by the next
server where the process was killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import exclusive_lock, is_locked
from lipsync_core.serve.jobs import Job
from lipsync_core.serve.preview import Preview

log = logging.getLogger(__name__)
GRACE_SECONDS = 5.0  # a page that lost its connection comes back within this time
UNUSED_SECONDS = 120.0  # an upload that no visit has taken
LOCK = "lock"


@contextlib.contextmanager
def server_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder for the files of one server, readable by its user alone; removed with all in it.

    parent: None is a folder of this user's in that for temporary files. Folders that killed servers
    left there are removed first. Raises LipsyncError when somebody else has made `parent`.
    """
    if parent is None:
        parent = Path(tempfile.gettempdir()).resolve() / f"lipsync-serve-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    facts = parent.lstat()
    if parent.is_symlink() or facts.st_uid != os.getuid():
        raise LipsyncError(f"{parent}: belongs to another user; set TMPDIR to a folder of your own")
    parent.chmod(0o700)
    folder = parent / secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        with exclusive_lock(parent / LOCK):  # no server sees the folder of another unlocked
            _remove_left(parent)
            folder.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(exclusive_lock(folder / LOCK))
        yield folder


def _remove_left(parent: Path) -> None:
    for left in parent.iterdir():
        if left.is_dir() and not left.is_symlink() and not is_locked(left / LOCK):
            log.info("%s: left by a killed server, removed", left)
            shutil.rmtree(left, ignore_errors=True)


@dataclass
class Visit:
    """One open page. face, sound: checked uploads; each lies in a folder of its own.

    connections: streams that the page holds open; since: when that number last became 0.
    """

    folder: Path
    face: Path | None = None
    sound: Path | None = None
    preview: Preview | None = None
    job: Job | None = None
    connections: int = 0
    since: float = field(default_factory=time.monotonic)


class Visits:
    """All open pages of one server, by the key that each page makes up for itself.

    folder: holds nothing else. Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._visits: dict[str, Visit] = {}
        self._unused: dict[Path, float] = {}  # uploads that no visit has taken -> when they came
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._visits)

    def get(self, key: str) -> Visit:
        """The visit of this key; a new one when there is none."""
        with self._lock:
            if key not in self._visits:
                self._visits[key] = Visit(self._new_folder())
            return self._visits[key]

    def is_open(self, visit: Visit) -> bool:
        """False when it has been closed."""
        with self._lock:
            return any(visit is each for each in self._visits.values())

    def new_upload(self, name: str) -> Path:
        """Where to write an upload of this (safe) name; a visit takes it, or it is removed."""
        path = self._new_folder() / name
        with self._lock:
            self._unused[path] = time.monotonic()
        return path

    def take(self, path: str | Path) -> Path:
        """Take an upload for a visit. Raises LipsyncError when there is no such upload."""
        with self._lock:
            if self._unused.pop(Path(path), None) is None:
                raise LipsyncError("this file is not here any more; drop it again")
        return Path(path)

    def remove(self, upload: Path | None) -> None:
        """Remove an upload and its folder."""
        if upload is not None:
            shutil.rmtree(upload.parent, ignore_errors=True)

    def arrive(self, key: str) -> None:
        """A page holds a stream open."""
        visit = self.get(key)
        with self._lock:
            visit.connections += 1

    def leave(self, key: str) -> None:
        """A page's stream has ended."""
        with self._lock:
            if visit := self._visits.get(key):
                visit.connections -= 1
                visit.since = time.monotonic()

    def close(self, key: str) -> None:
        """End a visit: cancel its job and remove its files."""
        with self._lock:
            visit = self._visits.pop(key, None)
        if visit is None:
            return
        if visit.job is not None:
            visit.job.cancel()
        for upload in (visit.face, visit.sound):
            self.remove(upload)
        shutil.rmtree(visit.folder, ignore_errors=True)

    def sweep(self, grace: float = GRACE_SECONDS, unused: float = UNUSED_SECONDS) -> None:
        """Close the visits whose page is gone, and remove uploads that none has taken."""
        now = time.monotonic()
        with self._lock:
            gone = [
                key
                for key, visit in self._visits.items()
                if visit.connections == 0 and now - visit.since > grace
            ]
            old = [path for path, came in self._unused.items() if now - came > unused]
            for path in old:
                del self._unused[path]
        for key in gone:
            self.close(key)
        for path in old:
            self.remove(path)

    def _new_folder(self) -> Path:
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder
