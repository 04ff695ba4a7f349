"""Accounting of clips: in + split_off = kept + dropped (reason) at each stage; it must add up.

A stage may split a clip (one clip per person in a video): the new ones count as split off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.preparation.stages import Stage
from lipsync_core.runtime.tables import read_table, write_table

FILELISTS = "filelists"  # the stage that makes the lists
REASONS = tuple(reason.value for reason in Reason)
COLUMNS = ("stage", "in", "split_off", "kept", "dropped")


@dataclass
class StageCounts:
    """Clip counts of one stage; `split_off` are clips that it made of others, `reasons` drops."""

    stage: str
    entered: int
    split_off: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        return self.reasons.total()


def count_stages(
    results: Path, chain: Sequence[Stage], shards: Collection[int], found: Collection[str]
) -> list[StageCounts]:
    """Count the clips through the tables of all shards.

    Parameters
    ----------
    results: the results folder. chain: the stages in order. shards: those that have clips.
    found: the ids in the index.

    Raises LipsyncError when a table lacks a clip or has one too many, when a row is neither kept
    nor dropped for a known reason, or when a dropped clip comes back.
    """
    lines: list[StageCounts] = []
    dropped: dict[str, str] = {}  # clip -> reason
    expected = set(found)
    for stage in chain:
        line = StageCounts(stage.rule, len(expected) - len(dropped))
        seen: set[str] = set()
        for shard in shards:
            table = results / stage.folder / f"{shard}.csv"
            for row in read_table(table):
                clip, outcome, reason = row["clip"], row["outcome"], row["reason"]
                split_off = stage.suffix and source_id(clip) in expected
                if clip in seen or not (clip in expected or split_off):
                    raise _wrong(table, f"{clip!r} has two rows, or is no clip of the index")
                if (outcome, bool(reason)) not in (("kept", False), ("dropped", True)):
                    raise _wrong(table, f"{clip!r} is {outcome!r} for reason {reason!r}")
                if reason and reason not in REASONS:
                    raise _wrong(table, f"{clip!r} has the unknown reason {reason!r}")
                if reason != dropped.get(clip, reason):
                    raise _wrong(table, f"{clip!r} was dropped ({dropped[clip]}) and is back")
                if reason and clip not in dropped and row["dropped_by"] != stage.rule:
                    raise _wrong(table, f"{clip!r} was dropped by {row['dropped_by']!r}, not here")
                seen.add(clip)
                if not reason:
                    line.kept += 1
                elif clip not in dropped:
                    dropped[clip] = reason
                    line.reasons[reason] += 1
        if missing := sorted(expected - seen):
            raise _wrong(results / stage.folder, f"no row for {len(missing)} clips, {missing[:5]}")
        line.split_off = len(seen - expected)
        expected = seen
        lines.append(line)
    return lines


def write_accounting(path: Path, lines: Sequence[StageCounts]) -> None:
    """Write stage, in, split_off, kept, dropped and one column a reason, and a line for all.

    Raises LipsyncError, after writing, when in + split_off = kept + dropped fails anywhere, or a
    stage does not begin with what the one before kept.
    """
    total = StageCounts(
        "all", lines[0].entered, sum(line.split_off for line in lines), lines[-1].kept
    )
    for line in lines:
        total.reasons.update(line.reasons)
    rows = []
    for line in (*lines, total):
        counts = (line.stage, line.entered, line.split_off, line.kept, line.dropped)
        reasons = {reason: line.reasons[reason] for reason in REASONS}
        rows.append(dict(zip(COLUMNS, counts, strict=True)) | reasons)
    write_table(path, rows)
    entered = lines[0].entered
    for line in (*lines, total):
        if line is not total and line.entered != entered:
            raise _wrong(path, f"{line.stage} began with {line.entered} clips, not {entered}")
        if (came := line.entered + line.split_off) != line.kept + line.dropped:
            raise _wrong(
                path, f"{line.stage}: {came} clips in, {line.kept} kept and {line.dropped} dropped"
            )
        entered = line.kept


def read_accounting(path: Path) -> list[StageCounts]:
    """The lines that `write_accounting` wrote, the one for all last; [] when there is no file."""
    if not path.is_file():
        return []
    lines = []
    for row in read_table(path):
        counts = (int(row[name]) for name in COLUMNS[1:4])
        counted = {name: int(row.get(name) or 0) for name in REASONS}  # an older one knew fewer
        reasons = Counter({name: count for name, count in counted.items() if count})
        lines.append(StageCounts(row["stage"], *counts, reasons))
    return lines


def _wrong(place: Path, what: str) -> LipsyncError:
    return LipsyncError(
        f"{place}: the account of clips does not add up: {what}; if files were added or removed "
        "meanwhile, run again; else delete the tables beside it"
    )
