"""The Python that jobs run in: how a shell reaches it, and how it reads file names."""

from __future__ import annotations

import os
import shlex
import sys

from lipsync_core.errors import LipsyncError


def reach_by_name() -> None:
    """Let this process know its Python by name, found in PATH, where its path would need quotes.

    Snakemake writes `sys.executable` into shell commands without quotes: in a folder called
    "My Drive" no job would start. Processes that are started from here inherit PATH.
    """
    if shlex.quote(sys.executable) == sys.executable:
        return
    folder, name = os.path.split(sys.executable)
    os.environ["PATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PATH"))))
    sys.executable = name


def require_utf8() -> None:
    """Refuse a Python that reads file names in the encoding of an old locale.

    The ids of clips would differ from those on other machines, and names in the config would not
    be found. The C and POSIX locales are no such case: Python takes UTF-8 there.
    Raises LipsyncError.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise LipsyncError(
            f"Python takes file names for {encoding} here (by the locale); run the same command "
            "with PYTHONUTF8=1 before it: `export PYTHONUTF8=1`"
        )
