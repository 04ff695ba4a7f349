"""Moving previews of a generator for the page: one video an evaluation, of the same faces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.report import results as artifacts
from lipsync_core.report.blocks import count
from lipsync_core.report.gallery import data_uri
from lipsync_core.runtime.tables import Row

MAX_SHOWN = 12  # of a generator, evenly spaced over its training
MAX_BYTES = 2_500_000  # of a generator's videos together
NAME = re.compile(r"step_(\d+)\.mp4")
FIGURES = {  # name -> column of metrics.csv, format
    "L1": ("val_l1", ".3g"),
    "sync loss": ("val_sync_loss", ".3g"),
    "lip motion in silence": ("val_silent_lip_motion_ratio", ".0%"),
    "sharpness": ("val_sharpness_ratio", ".0%"),
}


@dataclass(frozen=True)
class Preview:
    """The video of one evaluation. step: as shown; figures: those of its row, "" without one."""

    step: str
    uri: str
    figures: str


def training_previews(folder: Path, rows: Sequence[Row]) -> list[Preview]:
    """The previews in a folder in order of step, the first and the last among them.

    rows: of metrics.csv. Fewer where they are many or large, see `MAX_SHOWN` and `MAX_BYTES`.
    """
    found = {
        int(match[1]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := NAME.fullmatch(path.name)) and path.stat().st_size
    }
    by_step = {artifacts.number(row.get("step")): row for row in rows}
    chosen = _choose({step: path.stat().st_size for step, path in found.items()})
    return [
        Preview(
            count(step),
            data_uri(found[step].read_bytes(), "video/mp4"),
            _figures(by_step.get(step, {})),
        )
        for step in chosen
    ]


def _choose(sizes: dict[int, int]) -> list[int]:
    """As many steps as fit, evenly spaced; of one alone, the last."""
    steps = sorted(sizes)
    for wanted in range(min(MAX_SHOWN, len(steps)), 0, -1):
        last = len(steps) - 1
        places = [last - round(k * last / max(1, wanted - 1)) for k in reversed(range(wanted))]
        chosen = [steps[place] for place in places]
        if sum(sizes[step] for step in chosen) <= MAX_BYTES:
            return chosen
    return []


def _figures(row: Row) -> str:
    found = []
    for name, (column, form) in FIGURES.items():
        value = artifacts.number(row.get(column))
        if value is not None:
            found.append(f"{name} {format(value, form)}")
    return ", ".join(found)
