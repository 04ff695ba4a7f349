"""Logging of a job: to its log file and to standard error, errors as one readable line."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from lipsync_core.errors import LipsyncError

log = logging.getLogger(__name__)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextlib.contextmanager
def job_log(path: str) -> Iterator[None]:
    """Log the block to `path` and to standard error.

    A LipsyncError ends the process with its message and exit code, a full disk with a message; any
    other exception leaves its traceback in the log file too, and propagates.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    to_screen = logging.StreamHandler()
    for handler in (to_file, to_screen):
        handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[to_file, to_screen], force=True)
    try:
        yield
    except LipsyncError as error:
        log.error("%s (log: %s)", error, path)
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            log.error("%s; finished work is kept: free disk space and run again", error)
            sys.exit(1)
        # Only the file: the interpreter prints the same traceback to standard error.
        to_screen.setLevel(logging.CRITICAL)
        log.exception("failed")
        raise
