"""Run one stage over one shard: skip what is current, record every clip, lose nothing.

A worker may split a clip (a video with several people): the new clips are rows of their own in the
table, right after their source's, and clips of their own for the later stages.

A finished clip is one line in the shard's journal (`<folder>/.journal/<shard>.jsonl`), written as
soon as its file is in place, so an interrupt loses at most the clip in progress. The table that the
rule declares is written from the journal at the end: one row a clip, kept or dropped(reason).
A process that a killed run left behind is waited for, and its temporary files are removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.journal import (
    append_journal,
    journal_path,
    lock_path,
    read_journal,
    report_damage,
    write_journal,
)
from lipsync_core.corpus.layouts.items import part_id, source_id
from lipsync_core.errors import ClipError, DamagedFile, LipsyncError, Reason
from lipsync_core.preparation.stages import Measures, Stage
from lipsync_core.runtime.files import digest, exclusive_lock, remove_stale_temporaries
from lipsync_core.runtime.progress import Progress
from lipsync_core.runtime.tables import Row, read_by_clip, write_table

log = logging.getLogger(__name__)

# The measures of a clip, or those of each clip that it was split into (itself first), or the error
# that drops it.
Outcome = Measures | Sequence[Measures] | ClipError
# A journal's record: `COLUMNS`, the clip's own measures, the records of the clips split off it, and
# whether it was dropped for a damaged file of an earlier stage.
MEASURES, PARTS, DAMAGED = "measures", "parts", "damaged"
# The columns every table has; measures follow.
COLUMNS = ("clip", "key", "outcome", "reason", "detail", "dropped_by", "bytes")


@dataclass(frozen=True)
class ClipJob:
    """A clip to work on and where its file goes.

    upstream: folder of an earlier stage ("audio") -> its row for this clip. key: digest of what the
    result depends on. Where a clip is split, the others go to `part(1)`, `part(2)`, ..., written in
    this order.
    """

    clip: Clip
    target: Path
    upstream: Mapping[str, Row]
    key: str

    def part(self, number: int) -> Path:
        """Where the file of a clip that is split off goes; `part(0)` is the target."""
        return _part(self.target, number)


# Takes jobs and yields, for each, its measures or the error that drops it.
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
    Returns the rows of the table, in the order of `clips`, those of split clips after their source.
    """
    run = ShardRun(stage, results, shard, params)
    with exclusive_lock(lock_path(run.journal)):
        return run.bring_up_to_date(clips, worker)


@dataclass(frozen=True)
class ShardRun:
    """One run of one stage over one shard; see `run_shard`."""

    stage: Stage
    results: Path
    shard: int
    params: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return self.results / self.stage.folder

    @property
    def journal(self) -> Path:
        return journal_path(self.folder, self.shard)

    def bring_up_to_date(self, clips: Sequence[Clip], worker: Worker) -> list[Row]:
        stage, table = self.stage, self.folder / f"{self.shard}.csv"
        upstream = {
            other.folder: read_by_clip(self.results / other.folder / table.name)
            for other in stage.upstream
        }
        clips = _with_parts(clips, upstream.values())
        done = read_journal(self.journal)
        # Other shards write to the same folders: remove only the files of this shard.
        ids = dict.fromkeys([*(clip.id for clip in clips), *done]) if stage.suffix else ()
        own = (stage.path(self.results, clip_id) for clip_id in ids)
        remove_stale_temporaries((), (table, self.journal, *own))
        jobs = {clip.id: self._job(clip, upstream) for clip in clips}
        known = {clip_id: self._known(job, done.get(clip_id)) for clip_id, job in jobs.items()}
        records = {clip_id: record for clip_id, record in known.items() if record is not None}
        for clip_id in done.keys() - jobs.keys():
            _discard(stage.path(self.results, clip_id), stage)
        todo = [job for clip_id, job in jobs.items() if clip_id not in records]
        counts = (len(jobs), len(records), len(todo))
        log.info("%s shard %s: %d clips, %d current, %d to do", stage.rule, self.shard, *counts)
        if todo:
            records |= self._work(todo, worker)
        write_journal(self.journal, (records[clip_id] for clip_id in jobs))
        rows = [row for name, job in jobs.items() for row in _rows(records[name], job.upstream)]
        write_table(table, rows, first=COLUMNS)
        return rows

    def _job(self, clip: Clip, upstream: Mapping[str, Mapping[str, Row]]) -> ClipJob:
        try:  # the row of the clip, or of the one that it was split off
            rows = {
                name: table.get(clip.id) or table[source_id(clip.id)]
                for name, table in upstream.items()
            }
        except KeyError as error:
            raise LipsyncError(
                f"{clip.id}: a table of shard {clip.shard} has no row for it; the corpus changed "
                "while it was prepared: run again"
            ) from error
        stage = self.stage
        origin = [clip.signature, *(rows[other.folder]["key"] for other in stage.reads)]
        key = digest([stage.rule, stage.version, dict(self.params), origin])
        return ClipJob(clip, stage.path(self.results, clip.id), rows, key)

    def _known(self, job: ClipJob, record: Row | None) -> Row | None:
        """The record of a clip that needs no work: dropped upstream, or done and current."""
        for row in job.upstream.values():
            if row["outcome"] == "dropped":
                _discard(job.target, self.stage)
                why = (row["reason"], row["detail"], row["dropped_by"])
                return _record(job.clip.id, job.key, {}, *why)
        return record if record and _current(record, job, self.stage) else None

    def _work(self, jobs: Sequence[ClipJob], worker: Worker) -> dict[str, Row]:
        """Records of the jobs; each is in the journal before the next job begins."""
        records: dict[str, Row] = {}
        label = f"{self.stage.rule} shard {self.shard}"
        with append_journal(self.journal) as append, Progress(len(jobs), label, "clip") as progress:
            for job, outcome in worker(jobs):
                records[job.clip.id] = record = self._finish(job, outcome)
                append(record)
                progress.advance(note=job.clip.id)
        missing = [job.clip.id for job in jobs if job.clip.id not in records]
        if missing:
            raise RuntimeError(f"{self.stage.rule}: the worker gave no result for {missing[:5]}")
        return records

    def _finish(self, job: ClipJob, outcome: Outcome) -> Row:
        """The record of a job; files of an earlier outcome are removed."""
        clip_id, stage = job.clip.id, self.stage
        if isinstance(outcome, ClipError):
            _discard(job.target, stage)
            log.warning("%s: dropped %s", clip_id, outcome)
            why = (str(outcome.reason), outcome.detail, stage.rule)
            record = _record(clip_id, job.key, outcome.measures, *why)
            if isinstance(outcome, DamagedFile):
                report_damage(Path(outcome.path))
                record[DAMAGED] = True
            return record
        every = [outcome] if isinstance(outcome, Mapping) else outcome
        _discard(job.target, stage, first=len(every))
        record, *parts = (
            _record(part_id(clip_id, number), job.key, measures)
            | ({"bytes": job.part(number).stat().st_size} if stage.suffix else {})
            for number, measures in enumerate(every)
        )
        return record | ({PARTS: parts} if parts else {})


def _with_parts(clips: Sequence[Clip], tables: Iterable[Mapping[str, Row]]) -> list[Clip]:
    """The clips, each followed by those that an earlier stage split off it."""
    own = {clip.id for clip in clips}
    parts: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for table in tables for name in table if name not in own):
        parts.setdefault(source_id(name), []).append(name)
    return [
        member
        for clip in clips
        for member in (clip, *(clip._replace(id=name) for name in parts.get(clip.id, ())))
    ]


def _record(
    clip_id: str,
    key: str,
    measures: Mapping[str, Any],
    reason: str = "",
    detail: str = "",
    dropped_by: str = "",
) -> Row:
    values = (clip_id, key, "dropped" if reason else "kept", reason, detail, dropped_by, 0)
    return dict(zip(COLUMNS, values, strict=True)) | {MEASURES: dict(measures)}


def _rows(record: Row, upstream: Mapping[str, Row]) -> Iterator[Row]:
    """The table's row of a record, then those of the clips split off it.

    Each includes the measures of the earlier stages: the last table has all of them.
    """
    inherited: Row = {}
    for earlier in upstream.values():
        inherited |= {name: value for name, value in earlier.items() if value}
    for each in (record, *record.get(PARTS, ())):
        yield inherited | {name: each[name] for name in COLUMNS} | each[MEASURES]


def _current(record: Row, job: ClipJob, stage: Stage) -> bool:
    """Is the journal's record still valid? A missing or truncated file is redone.

    So is a clip that timed out, since the limit is no part of the key and machines differ; one that
    was dropped for a damaged file of an earlier stage, which is made again; and one that an earlier
    stage had dropped and does not drop now.
    """
    if record["key"] != job.key or MEASURES not in record or record.get(DAMAGED):
        return False
    if record["reason"] == Reason.TIMED_OUT or record["dropped_by"] not in ("", stage.rule):
        return False
    if record["outcome"] == "dropped" or not stage.suffix:
        return True
    files = [
        (job.part(number), each["bytes"])
        for number, each in enumerate((record, *record.get(PARTS, ())))
    ]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def _part(target: Path, number: int) -> Path:
    return target.with_name(
        part_id(target.name.removesuffix(target.suffix), number) + target.suffix
    )


def _discard(target: Path, stage: Stage, first: int = 0) -> None:
    """Remove a clip's files from number `first` on: its own is 0, those split off follow."""
    if not stage.suffix:
        return
    last = max(first, 1)
    # They are written in rising order and removed in falling order: there are no holes.
    while _part(target, last).exists():
        last += 1
    for number in range(last - 1, first - 1, -1):
        _part(target, number).unlink(missing_ok=True)
