"""Journals of the preparation: a JSON line per finished clip, a file per stage and shard. Light.

A journal is `<results>/<stage>/.journal/<shard>.jsonl`. Lines are appended while a shard is
processed, and it is rewritten at the end, so a kill cuts off the last line at most.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.errors import DamagedFile, LipsyncError
from lipsync_core.runtime.files import exclusive_lock, file_sha, is_locked, write_text

log = logging.getLogger(__name__)
Record = dict[str, Any]


def journal_path(stage_folder: Path, shard: int) -> Path:
    """Path of the journal of one shard of a stage."""
    return stage_folder / ".journal" / f"{shard}.jsonl"


def lock_path(journal: Path) -> Path:
    """The file that is locked while a process works on the shard of `journal`."""
    return journal.with_suffix(".lock")


def read_journal(path: Path) -> dict[str, Record]:
    """Clip id -> its last record; a line that a kill cut short is left out."""
    if not path.is_file():
        return {}
    records = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        records[record["clip"]] = record
    return records


def write_journal(path: Path, records: Iterable[Record]) -> None:
    """Replace a journal by these records, atomically."""
    write_text(path, "".join(json.dumps(record) + "\n" for record in records))


@contextlib.contextmanager
def append_journal(path: Path) -> Iterator[Callable[[Record], None]]:
    """Yield a function that appends a record; a kill cuts the last one short at most."""
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("\n")  # ends a line that a kill cut short

        def append(record: Record) -> None:
            stream.write(json.dumps(record) + "\n")
            stream.flush()

        yield append


def report_damage(path: Path) -> None:
    """Remove a damaged file of a clip and have the next run make it again.

    path: `<results>/<stage>/<clip id><suffix>`. Without effect on a file of no journal.
    """
    folder = next((above for above in path.parents if (above / ".journal").is_dir()), None)
    if folder is None:
        return
    clip_id = source_id(path.relative_to(folder).as_posix().removesuffix(path.suffix))
    path.unlink(missing_ok=True)
    for journal in sorted((folder / ".journal").glob("*.jsonl")):
        if clip_id in read_journal(journal):
            with open(_damage_path(journal), "a", encoding="utf-8") as stream:
                stream.write(f"{clip_id}\n")
            log.warning("%s: damaged and removed; the next run makes it again", path)


@contextlib.contextmanager
def reporting_damage() -> Iterator[None]:
    """Call `report_damage` for a DamagedFile that the block raises; it propagates."""
    try:
        yield
    except DamagedFile as error:
        report_damage(Path(error.path))
        raise


def reported_damage(stage_folder: Path) -> dict[int, str]:
    """Shard -> digest of all damage reported in it; it changes with each report."""
    folder = stage_folder / ".journal"
    return {int(path.stem): file_sha(path, "sha1") for path in folder.glob("*.damaged")}


def _damage_path(journal: Path) -> Path:
    return journal.with_suffix(".damaged")


def redistribute(results: Path, shard_by_id: Mapping[str, int]) -> None:
    """Move the records of clips whose shard has changed, so that their files stay valid.

    Parameters
    ----------
    results: the results folder; the journals of all its stages are updated.
    shard_by_id: clip id -> shard. Other clips stay in their shard.

    A kill loses nothing: all records are copied before any is removed, and a second call goes on.
    Raises LipsyncError when a process works on one of the shards.
    """
    for folder in sorted(results.glob("*/.journal")):
        paths = {int(path.stem): path for path in sorted(folder.glob("*.jsonl"))}
        held = [path for path in paths.values() if is_locked(lock_path(path))]
        if held:
            raise LipsyncError(
                f"{held[0]}: its shard is being prepared while `shards` was changed; let that run "
                "end (or end it), then run again"
            )
        with contextlib.ExitStack() as locks:
            for path in paths.values():
                locks.enter_context(exclusive_lock(lock_path(path)))
            _move(folder.parent, paths, shard_by_id)


def _move(stage_folder: Path, paths: Mapping[int, Path], shard_by_id: Mapping[str, int]) -> None:
    here = {shard: read_journal(path) for shard, path in paths.items()}
    after: dict[int, dict[str, Record]] = {shard: {} for shard in here}
    moved = 0
    for shard, records in here.items():
        for clip_id, record in records.items():
            shard_now = shard_by_id.get(source_id(clip_id), shard)
            moved += shard_now != shard
            if shard_now == shard or clip_id not in here.get(shard_now, {}):
                after.setdefault(shard_now, {})[clip_id] = record
    if not moved:
        return
    log.info("%s: %d clips have another shard now, none is made again", stage_folder, moved)
    for shard, records in after.items():
        copied = here.get(shard, {}) | records
        write_journal(journal_path(stage_folder, shard), copied.values())
    for shard, records in after.items():
        write_journal(journal_path(stage_folder, shard), records.values())
