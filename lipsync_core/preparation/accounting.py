"""In = kept + dropped (reason), stage by stage, from the index to the lists; it must add up.

A stage may split a clip (one clip per person in a video): the new ones count as split off.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipsync_core.corpus.clips import source_id
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.preparation.stages import Stage
from lipsync_core.runtime.files import write_text

LAST = "filelists"
KNOWN = frozenset(reason.value for reason in Reason)


@dataclass
class Line:
    """One stage: the clips that came in, those that it split off (further people in a video),
    those it kept, and how many it dropped for each reason.
    """

    stage: str
    entered: int
    split_off: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def count_stages(
    results: Path, chain: Sequence[Stage], shards: Collection[int], found: Collection[str]
) -> list[Line]:
    """Count the clips through the tables of all shards.

    Parameters
    ----------
    results: the results folder. chain: the stages in order. shards: those that have clips.
    found: the ids in the index.

    Raises LipsyncError when a table lacks a clip or has one too many, when a row is neither kept
    nor dropped for a known reason, or when a dropped clip comes back.
    """
    lines, dropped = [], {}
    expected = set(found)
    for stage in chain:
        line = Line(stage.rule, len(expected) - len(dropped))
        seen: set[str] = set()
        split_off: set[str] = set()
        for shard in shards:
            table = results / stage.folder / f"{shard}.csv"
            for clip, outcome, reason, dropped_by in _outcomes(table):
                if clip not in expected and source_id(clip) in expected:
                    split_off.add(clip)
                elif clip in seen or clip not in expected:
                    raise _wrong(table, f"{clip!r} has two rows, or is no clip of the index")
                seen.add(clip)
                if (outcome, bool(reason)) not in (("kept", False), ("dropped", True)):
                    raise _wrong(table, f"{clip!r} is {outcome!r} for reason {reason!r}")
                if reason and reason not in KNOWN:
                    raise _wrong(table, f"{clip!r} has the unknown reason {reason!r}")
                if clip in dropped:
                    if reason != dropped[clip]:
                        raise _wrong(table, f"{clip!r} was dropped ({dropped[clip]}) and is back")
                elif reason:
                    if dropped_by != stage.rule:
                        raise _wrong(table, f"{clip!r} was dropped by {dropped_by!r}, not here")
                    dropped[clip] = reason
                    line.reasons[reason] += 1
                else:
                    line.kept += 1
        if expected - seen:
            missing = sorted(expected - seen)
            raise _wrong(results / stage.folder, f"no row for {len(missing)} clips, {missing[:5]}")
        line.split_off = len(split_off)
        if stage.suffix or not split_off:
            expected |= split_off
        else:
            raise _wrong(
                results / stage.folder,
                f"clips that no stage can have split off, {sorted(split_off)[:5]}",
            )
        lines.append(line)
    return lines


def _outcomes(table: Path) -> list[tuple[str, str, str, str]]:
    with open(table, newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows)
        places = [header.index(name) for name in ("clip", "outcome", "reason", "dropped_by")]
        return [tuple(row[place] for place in places) for row in rows]


def last_line(kept_before: int, reasons: Mapping[str, int], listed: int) -> Line:
    """The line of the lists: `listed` clips in train, val and test; the rest dropped (reason)."""
    return Line(LAST, kept_before, kept=listed, reasons=Counter(reasons))


def write_accounting(path: Path, lines: Sequence[Line]) -> None:
    """Write stage, in, split_off, kept, dropped and one column a reason, and a line for all.

    Raises LipsyncError, after writing, when in + split_off = kept + dropped fails anywhere, or a
    stage does not begin with what the one before kept.
    """
    total = Line("all", lines[0].entered, sum(line.split_off for line in lines), lines[-1].kept)
    for line in lines:
        total.reasons.update(line.reasons)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    reasons = [reason.value for reason in Reason]
    writer.writerow(["stage", "in", "split_off", "kept", "dropped", *reasons])
    for line in (*lines, total):
        counts = (line.reasons[reason] for reason in reasons)
        writer.writerow(
            [line.stage, line.entered, line.split_off, line.kept, line.reasons.total(), *counts]
        )
    write_text(path, text.getvalue())
    entered = lines[0].entered
    for line in (*lines, total):
        if line is not total and line.entered != entered:
            raise _wrong(path, f"{line.stage} began with {line.entered} clips, not {entered}")
        if line.entered + line.split_off != line.kept + line.reasons.total():
            raise _wrong(
                path,
                f"{line.stage}: {line.entered + line.split_off} clips in, {line.kept} kept and "
                f"{line.reasons.total()} dropped",
            )
        entered = line.kept


def _wrong(place: Path, what: str) -> LipsyncError:
    return LipsyncError(
        f"{place}: the account of clips does not add up: {what}; if files were added or removed "
        "meanwhile, run again; else delete the tables beside it"
    )
