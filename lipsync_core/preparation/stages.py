"""The stages of preparation: names, versions, files and settings. Light: no heavy imports.

A stage's key for a clip is a digest of its source's signature, its settings and its version; a file
whose key still matches is kept. Raise a stage's version when its output changes (golden-output
tests fail then).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Measures = dict[str, float | int | str]  # what a stage measures of a clip: column -> value


@dataclass(frozen=True)
class Stage:
    """One stage: `folder` below the results, `suffix` of the file per clip ("" for none).

    `reads`: the stages whose files are its input: its key includes theirs;
    `after`: further stages whose dropped clips it skips;
    `settings`: the config keys, written "a" or "a.b", that its output depends on.
    """

    rule: str
    folder: str
    suffix: str
    version: int
    reads: tuple[Stage, ...] = ()
    after: tuple[Stage, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def upstream(self) -> tuple[Stage, ...]:
        """The stages whose tables it reads, in their order."""
        return self.after + self.reads

    def path(self, results: Path, clip_id: str) -> Path:
        """The file of a clip; the stage's folder when it keeps none."""
        folder = results / self.folder
        return folder / f"{clip_id}{self.suffix}" if self.suffix else folder

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Exactly the settings that the output depends on, by their dotted names."""
        return {
            name: functools.reduce(operator.getitem, name.split("."), config)
            for name in self.settings
        }


# "ffmpeg" is the identity of the program that decodes, see `ffmpeg_binary.Binary`.
AUDIO = Stage("extract_audio", "audio", ".wav", version=2, settings=("ffmpeg",))
MELS = Stage(
    "mel_spectrograms", "mels", ".npy", version=6, reads=(AUDIO,), settings=("audio.dnsmos",)
)
BOXES = Stage(
    "detect_faces",
    "boxes",
    ".parquet",
    version=4,
    after=(AUDIO,),
    settings=(
        "ffmpeg",
        "detector",
        "detect.long_side",
        "detect.threshold",
        "detect.stride",
        "detect.motion",
        "detect.precision",
    ),
)
FACES = Stage(
    "crop_faces",
    "faces",
    ".zip",
    version=8,
    reads=(BOXES,),
    settings=("ffmpeg", "track", "crop"),
)
CHECKS = Stage(
    "check_clips", "checks", "", version=5, reads=(AUDIO, MELS, BOXES, FACES), settings=("check",)
)
ALL = (AUDIO, MELS, BOXES, FACES, CHECKS)
# Only where the config's `sync.correct` is not off; then the checks read its table too.
SYNC = Stage(
    "measure_sync", "sync", "", version=1, after=(MELS,), reads=(AUDIO, FACES), settings=("sync",)
)
SYNC_CHECKS = replace(CHECKS, reads=(*CHECKS.reads, SYNC), settings=("check", "sync"))


def chain(correct: str) -> tuple[Stage, ...]:
    """The stages that are run with `sync.correct`, in order."""
    return ALL if correct == "off" else (AUDIO, MELS, BOXES, FACES, SYNC, SYNC_CHECKS)
