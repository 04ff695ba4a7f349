"""Run one stage over one shard: skip what is current, record every clip, lose nothing.

A worker may make several clips of one (a video with several people): the further ones are rows of
their own in the table, right after their source's, and clips of their own for the stages after.

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

from lipsync_core.corpus.clips import Clip, part_id, source_id
from lipsync_core.corpus.journal import (
    journal_path,
    lock_path,
    read_journal,
    report_damage,
    write_journal,
)
from lipsync_core.errors import ClipError, DamagedFile, LipsyncError, Reason
from lipsync_core.preparation.stages import Stage
from lipsync_core.runtime.files import digest, exclusive_lock, remove_stale_temporaries, write_text
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)

Row = dict[str, Any]
Measures = dict[str, float | int | str]
# The measures of a clip, those of each clip that was made of it (itself first), or why not.
Outcome = Measures | Sequence[Measures] | ClipError
# A journal's record: `COLUMNS`, a clip's own measures apart, the records of its further clips, and
# whether it was dropped for a damaged file of an earlier stage.
MEASURES, PARTS, DAMAGED = "measures", "parts", "damaged"
# The columns every table has; measures follow.
COLUMNS = ("clip", "key", "outcome", "reason", "detail", "dropped_by", "bytes")


@dataclass(frozen=True)
class ClipJob:
    """A clip to work on: where its file goes, and what the stages before said of it.

    `upstream` maps a stage's folder name ("audio") to its row for this clip. Where a clip becomes
    several, the others go to `part(1)`, `part(2)`, ..., written in this order.
    """

    clip: Clip
    target: Path
    upstream: Mapping[str, Row]

    def part(self, number: int) -> Path:
        """Where the file of a further clip goes; `part(0)` is the target."""
        return _part(self.target, number)


# A worker takes jobs and yields, for each, its measures or the error that drops it.
Worker = Callable[[Iterable[ClipJob]], Iterator[tuple[ClipJob, Outcome]]]


def per_clip(function: Callable[[ClipJob], Measures | Sequence[Measures]]) -> Worker:
    """A worker that handles each job alone. A ClipError drops that clip only."""

    def work(jobs: Iterable[ClipJob]) -> Iterator[tuple[ClipJob, Outcome]]:
        for job in jobs:
            try:
                yield job, function(job)
            except ClipError as error:
                yield job, error

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
    Returns the rows of the table, in the order of `clips`, each with its further clips after it.
    """
    folder = results / stage.folder
    journal = journal_path(folder, shard)
    with exclusive_lock(lock_path(journal)):
        return ShardRun(stage, shard, folder, journal).bring_up_to_date(
            clips, results, params, worker
        )


@dataclass
class ShardRun:
    """One run of one stage over one shard."""

    stage: Stage
    shard: int
    folder: Path
    journal: Path

    def bring_up_to_date(
        self, clips: Sequence[Clip], results: Path, params: Mapping[str, Any], worker: Worker
    ) -> list[Row]:
        stage, table = self.stage, self.folder / f"{self.shard}.csv"
        earlier = {
            other.folder: read_table(results / other.folder / table.name)
            for other in stage.upstream
        }
        clips = _with_parts(clips, earlier.values())
        done = read_journal(self.journal)
        # Other shards write to the same folders: only what is this shard's own is removed.
        ids = dict.fromkeys([*(clip.id for clip in clips), *done]) if stage.suffix else ()
        own = (self.folder / f"{clip_id}{stage.suffix}" for clip_id in ids)
        remove_stale_temporaries((), (table, self.journal, *own))
        records: dict[str, Row] = {}
        jobs: list[ClipJob] = []
        keys: dict[str, str] = {}
        upstream: dict[str, dict[str, Row]] = {}
        for clip in clips:
            upstream[clip.id] = rows = _upstream_rows(clip, earlier)
            dropped = next((row for row in rows.values() if row["outcome"] == "dropped"), None)
            origin = [clip.signature, *(rows[other.folder]["key"] for other in stage.reads)]
            keys[clip.id] = key = digest([stage.rule, stage.version, dict(params), origin])
            target = clip.artifact(self.folder, stage.suffix) if stage.suffix else self.folder
            if dropped is not None:
                story = (dropped["reason"], dropped["detail"], dropped["dropped_by"])
                records[clip.id] = _record(clip.id, key, *story)
                _discard(target, stage)
            elif clip.id in done and _current(done[clip.id], key, target, stage):
                records[clip.id] = done[clip.id]
            else:
                jobs.append(ClipJob(clip, target, rows))
        for clip_id in done.keys() - keys.keys():
            _discard(self.folder / f"{clip_id}{stage.suffix}", stage)
        counts = (len(clips), len(clips) - len(jobs), len(jobs))
        log.info("%s shard %s: %d clips, %d current, %d to do", stage.rule, self.shard, *counts)
        if jobs:
            with open(self.journal, "a", encoding="utf-8") as stream:
                stream.write("\n")  # ends a line that a kill cut short
                records |= self._work(jobs, keys, worker, stream)
        write_journal(self.journal, (records[clip.id] for clip in clips))
        rows = [row for clip in clips for row in _rows(records[clip.id], upstream[clip.id])]
        write_table(table, rows)
        return rows

    def _work(
        self,
        jobs: Sequence[ClipJob],
        keys: Mapping[str, str],
        worker: Worker,
        journal: IO[str],
    ) -> dict[str, Row]:
        """Records of the jobs; each is in the journal before the next begins."""
        stage, records = self.stage, {}
        with Progress(len(jobs), f"{stage.rule} shard {self.shard}", "clip") as progress:
            for job, result in worker(jobs):
                clip, key = job.clip, keys[job.clip.id]
                made = 0 if isinstance(result, ClipError) else len(_measures(result))
                _discard(job.target, stage, first=made)
                if isinstance(result, ClipError):
                    story = (str(result.reason), result.detail, stage.rule)
                    record = _record(clip.id, key, *story, measures=result.measures)
                    log.warning("%s: dropped %s", clip.id, result)
                    if isinstance(result, DamagedFile):
                        record[DAMAGED] = True
                        report_damage(Path(result.path))
                else:
                    record, *parts = (
                        _record(part_id(clip.id, number), key, measures=measures)
                        | ({"bytes": job.part(number).stat().st_size} if stage.suffix else {})
                        for number, measures in enumerate(_measures(result))
                    )
                    if parts:
                        record[PARTS] = parts
                journal.write(json.dumps(record) + "\n")
                journal.flush()
                records[clip.id] = record
                progress.advance(note=clip.id)
        missing = [job.clip.id for job in jobs if job.clip.id not in records]
        if missing:
            raise RuntimeError(f"{stage.rule}: the worker gave no result for {missing[:5]}")
        return records


def _with_parts(clips: Sequence[Clip], tables: Iterable[Mapping[str, Row]]) -> list[Clip]:
    """The clips, each followed by those that an earlier stage made of it."""
    own = {clip.id for clip in clips}
    parts: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for table in tables for name in table if name not in own):
        parts.setdefault(source_id(name), []).append(name)
    return [
        member
        for clip in clips
        for member in (clip, *(clip._replace(id=name) for name in parts.get(clip.id, ())))
    ]


def _upstream_rows(clip: Clip, earlier: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """The row of the clip, or of the one it was made of, in each earlier table."""
    try:
        return {
            name: table.get(clip.id) or table[source_id(clip.id)] for name, table in earlier.items()
        }
    except KeyError as error:
        raise LipsyncError(
            f"{clip.id}: a table of shard {clip.shard} has no row for it; the corpus changed while "
            "it was prepared: run again"
        ) from error


def _record(
    clip_id: str,
    key: str,
    reason: str = "",
    detail: str = "",
    dropped_by: str = "",
    measures: Mapping[str, Any] | None = None,
) -> Row:
    outcome = "dropped" if reason else "kept"
    values = (clip_id, key, outcome, reason, detail, dropped_by, 0)
    return dict(zip(COLUMNS, values, strict=True)) | {MEASURES: dict(measures or {})}


def _rows(record: Row, upstream: Mapping[str, Row]) -> Iterator[Row]:
    """The table's row of a record, then those of its further clips.

    Each has the measures of the stages before: the last table tells the whole story.
    """
    inherited: Row = {}
    for earlier in upstream.values():
        inherited |= {name: value for name, value in earlier.items() if value}
    for each in (record, *record.get(PARTS, ())):
        yield inherited | {name: each[name] for name in COLUMNS} | each[MEASURES]


def _measures(result: Measures | Sequence[Measures]) -> Sequence[Measures]:
    return [result] if isinstance(result, Mapping) else result


def _current(record: Row, key: str, target: Path, stage: Stage) -> bool:
    """Is the journal's record still true? A missing or truncated file is redone.

    So is a clip that took too long: the limit is no part of the key, and machines differ; and one
    of which a file of an earlier stage was damaged: that is made anew.
    """
    if record["key"] != key or MEASURES not in record or record.get(DAMAGED):
        return False
    # Nor what an earlier stage had dropped: it has not, this time.
    if record["reason"] == Reason.TIMED_OUT or record["dropped_by"] not in ("", stage.rule):
        return False
    if record["outcome"] == "dropped" or not stage.suffix:
        return True
    made = (record, *record.get(PARTS, ()))
    files = (_part(target, number) for number in range(len(made)))
    return all(
        path.is_file() and path.stat().st_size == part["bytes"]
        for path, part in zip(files, made, strict=True)
    )


def _part(target: Path, number: int) -> Path:
    return target.with_name(
        part_id(target.name.removesuffix(target.suffix), number) + target.suffix
    )


def _discard(target: Path, stage: Stage, first: int = 0) -> None:
    """Remove a clip's files from number `first` on: its own is 0, those of further clips follow."""
    if not stage.suffix:
        return
    last = max(first, 1)
    # They are written in rising order and removed in falling order: there are no holes.
    while _part(target, last).exists():
        last += 1
    for number in range(last - 1, first - 1, -1):
        _part(target, number).unlink(missing_ok=True)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, atomically; columns are the union of the rows' keys, `COLUMNS` first."""
    names = dict.fromkeys(COLUMNS) | dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path) -> dict[str, Row]:
    """Clip id -> row (all values str) of a table written by `write_table`."""
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["clip"]: row for row in csv.DictReader(stream)}
