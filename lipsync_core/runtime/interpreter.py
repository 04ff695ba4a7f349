"""Checks of the Python interpreter: its path in shell commands, its file name encoding."""

from __future__ import annotations

import os
import shlex
import sys

from lipsync_core.errors import LipsyncError


def use_name_without_spaces() -> None:
    """Set `sys.executable` to a bare name found in PATH where its path would need quotes.

    Snakemake writes `sys.executable` into shell commands without quotes: in a folder called
    "My Drive" no job would start. Child processes inherit PATH.
    """
    if shlex.quote(sys.executable) == sys.executable:
        return
    folder, name = os.path.split(sys.executable)
    os.environ["PATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PATH"))))
    sys.executable = name


def require_utf8() -> None:
    """Raise LipsyncError when Python decodes file names in another encoding than UTF-8.

    The ids of clips would differ from those on other machines, and names in the config would not
    be found. In the C and POSIX locales Python uses UTF-8.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise LipsyncError(
            f"Python decodes file names as {encoding} because of the locale; run the same command "
            "with PYTHONUTF8=1 before it: `export PYTHONUTF8=1`"
        )
