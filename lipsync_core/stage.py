"""Run one stage over one shard: skip what is current, record every clip, lose nothing.

A finished clip is one line in the shard's journal (`<folder>/.journal/<shard>.jsonl`), written as
soon as its file is in place, so an interrupt loses at most the clip in hand. The table that the
rule declares is written from the journal at the end: one row a clip, kept or dropped(reason).
A process that a killed run left behind is waited for, and its temporary files are removed.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lipsync_core.clips import Clip
from lipsync_core.errors import ClipError, LipsyncError
from lipsync_core.files import (
    atomic_path,
    digest,
    only_one,
    remove_leftovers,
    write_text,
)
from lipsync_core.progress import Progress
from lipsync_core.stages import Stage

log = logging.getLogger(__name__)

Row = dict[str, Any]
Measures = dict[str, float | int | str]
# The columns every table has; measures follow.
COLUMNS = ("clip", "key", "outcome", "reason", "detail", "dropped_by", "bytes")


@dataclass(frozen=True)
class Task:
    """A clip to work on: where its file goes, and what the stages before said of it.

    `before` maps a stage's folder name ("audio") to its row for this clip.
    """

    clip: Clip
    target: Path
    before: Mapping[str, Row]


# A worker takes tasks and yields, for each, its measures or the error that drops it.
Worker = Callable[[Iterable[Task]], Iterator[tuple[Task, Measures | ClipError]]]


def one_by_one(function: Callable[[Task], Measures]) -> Worker:
    """A worker that handles each task alone. A ClipError drops that clip only."""

    def work(tasks: Iterable[Task]) -> Iterator[tuple[Task, Measures | ClipError]]:
        for task in tasks:
            try:
                yield task, function(task)
            except ClipError as error:
                yield task, error

    return work


def run_shard(
    stage: Stage,
    clips: Sequence[Clip],
    results: Path,
    shard: int,
    params: Mapping[str, Any],
    worker: Worker,
) -> list[Row]:
    """Bring `stage` up to date for the clips of one shard and write its table.

    Parameters
    ----------
    clips: the shard's members.
    results: the results folder.
    params: the settings that the output depends on.
    worker: does the work for the clips that need it.

    A clip dropped by an earlier stage stays dropped, with that stage's reason.
    Returns the rows of the table, in the order of `clips`.
    """
    folder = results / stage.folder
    journal = folder / ".journal" / f"{shard}.jsonl"
    with only_one(journal.with_suffix(".lock")):
        return _Run(stage, shard, folder, journal).bring_up_to_date(clips, results, params, worker)


@dataclass
class _Run:
    """One run of one stage over one shard."""

    stage: Stage
    shard: int
    folder: Path
    journal: Path

    def bring_up_to_date(
        self, clips: Sequence[Clip], results: Path, params: Mapping[str, Any], worker: Worker
    ) -> list[Row]:
        stage, earlier = self.stage, self._earlier(results)
        done = _read_journal(self.journal)
        table = self.folder / f"{self.shard}.csv"
        ids = [*(clip.id for clip in clips), *done]
        homes = {(self.folder / clip_id).parent for clip_id in ids} if stage.suffix else set()
        remove_leftovers(homes, (table, self.journal))
        records: dict[str, Row] = {}
        tasks: dict[str, Task] = {}
        keys: dict[str, str] = {}
        past: dict[str, dict[str, Row]] = {}
        for clip in clips:
            past[clip.id] = before = _before(clip, earlier)
            dropped = next((row for row in before.values() if row["outcome"] == "dropped"), None)
            origin = [clip.signature, *(before[other.folder]["key"] for other in stage.reads)]
            key = digest([stage.rule, stage.version, dict(params), origin])
            target = clip.artefact(self.folder, stage.suffix) if stage.suffix else self.folder
            keys[clip.id] = key
            if dropped is not None:
                story = (dropped["reason"], dropped["detail"], dropped["dropped_by"])
                records[clip.id] = _record(clip, key, *story)
                _discard(target, stage)
            elif clip.id in done and _current(done[clip.id], key, target, stage):
                records[clip.id] = done[clip.id]
            else:
                tasks[clip.id] = Task(clip, target, before)
        for clip_id in done.keys() - keys.keys():
            _discard(self.folder / f"{clip_id}{stage.suffix}", stage)
        counts = (len(clips), len(clips) - len(tasks), len(tasks))
        log.info("%s shard %s: %d clips, %d current, %d to do", stage.rule, self.shard, *counts)
        if tasks:
            with open(self.journal, "a", encoding="utf-8") as stream:
                stream.write("\n")  # ends a line that a kill cut short
                records |= self._work(list(tasks.values()), keys, worker, stream)
        lines = (json.dumps(records[clip.id]) + "\n" for clip in clips)
        write_text(self.journal, "".join(lines))
        rows = [_row(records[clip.id], past[clip.id]) for clip in clips]
        write_table(table, rows)
        return rows

    def _earlier(self, results: Path) -> dict[str, dict[str, Row]]:
        return {
            other.folder: read_table(results / other.folder / f"{self.shard}.csv")
            for other in self.stage.before
        }

    def _work(
        self,
        tasks: Sequence[Task],
        keys: Mapping[str, str],
        worker: Worker,
        journal: IO[str],
    ) -> dict[str, Row]:
        """Records of the tasks; each is in the journal before the next begins."""
        stage, records = self.stage, {}
        with Progress(len(tasks), f"{stage.rule} shard {self.shard}", "clip") as progress:
            for task, result in worker(tasks):
                clip, key = task.clip, keys[task.clip.id]
                if isinstance(result, ClipError):
                    _discard(task.target, stage)
                    story = (str(result.reason), result.detail, stage.rule)
                    record = _record(clip, key, *story, measures=result.measures)
                    log.warning("%s: dropped %s", clip.id, result)
                else:
                    record = _record(clip, key, measures=result)
                    if stage.suffix:
                        record["bytes"] = task.target.stat().st_size
                journal.write(json.dumps(record) + "\n")
                journal.flush()
                records[clip.id] = record
                progress.advance(note=clip.id)
        missing = [task.clip.id for task in tasks if task.clip.id not in records]
        if missing:
            raise RuntimeError(f"{stage.rule}: the worker gave no result for {missing[:5]}")
        return records


def _before(clip: Clip, earlier: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """The clip's row in each earlier table."""
    try:
        return {name: table[clip.id] for name, table in earlier.items()}
    except KeyError as error:
        raise LipsyncError(
            f"{clip.id}: a table of shard {clip.shard} has no row for it; the corpus changed while "
            "it was prepared: run again"
        ) from error


def _record(
    clip: Clip,
    key: str,
    reason: str = "",
    detail: str = "",
    dropped_by: str = "",
    measures: Mapping[str, Any] | None = None,
) -> Row:
    """A line of the journal: `COLUMNS`, and the stage's own measures apart."""
    outcome = "dropped" if reason else "kept"
    values = (clip.id, key, outcome, reason, detail, dropped_by, 0)
    return dict(zip(COLUMNS, values, strict=True)) | {"measures": dict(measures or {})}


def _row(record: Row, before: Mapping[str, Row]) -> Row:
    """A row with the measures of the stages before: the last table tells the whole story."""
    row = {name: record[name] for name in COLUMNS}
    for earlier in before.values():
        row |= {name: value for name, value in earlier.items() if name not in COLUMNS and value}
    return row | record["measures"]


def _current(record: Row, key: str, target: Path, stage: Stage) -> bool:
    """Is the journal's record still true? A missing or truncated file is redone."""
    if record["key"] != key or "measures" not in record:
        return False
    if record["outcome"] == "dropped" or not stage.suffix:
        return True
    return target.is_file() and target.stat().st_size == record["bytes"]


def _discard(target: Path, stage: Stage) -> None:
    if stage.suffix:
        target.unlink(missing_ok=True)


def _read_journal(path: Path) -> dict[str, Row]:
    if not path.is_file():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut short by a kill
        rows[row["clip"]] = row
    return rows


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, atomically; columns are the union of the rows' keys, `COLUMNS` first."""
    names = dict.fromkeys(COLUMNS) | dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def read_table(path: Path) -> dict[str, Row]:
    """Clip id -> row (all values str) of a table written by `write_table`."""
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["clip"]: row for row in csv.DictReader(stream)}
