"""The index of the clips on disk, below `results/index/`. Light: the Snakefile imports it.

`clips.tsv` is the whole list, `shards/<n>.tsv` the part that one job reads, and `summary.json`,
written last, what the Snakefile must know of them: a job need not read 140,000 lines to find its
own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lipsync_core.corpus.clips import Clip, by_shard, members_digest, splits_digest
from lipsync_core.corpus.journal import redistribute
from lipsync_core.runtime.files import write_text, write_text_if_changed
from lipsync_core.runtime.tables import format_table, read_lines


@dataclass(frozen=True)
class Summary:
    """members: digest of each shard that has clips; splits: of the official splits.

    clips: their number; demo: is it the demo corpus? text: digest of `clips.tsv`.
    """

    members: dict[int, str]
    splits: str
    clips: int
    demo: bool
    text: str


def index_path(results: Path) -> Path:
    """Where the index of a results folder lies."""
    return results / "index" / "clips.tsv"


def write_index(results: Path, clips: Sequence[Clip], demo: bool = False) -> Summary:
    """Write what changed of the index; files whose text stays keep their time.

    Clips that are in another shard than before (`shards` was changed) take their records there.
    """
    text = format_table(Clip._fields, clips, "\t")
    shards = by_shard(clips)
    summary = Summary(
        members={shard: members_digest(members) for shard, members in shards.items()},
        splits=splits_digest(clips),
        clips=len(clips),
        demo=demo,
        text=hashlib.sha1(text.encode()).hexdigest(),
    )
    if summary == read_summary(results) and index_path(results).is_file():
        return summary
    before = {clip.id: clip.shard for clip in read_index(index_path(results))}
    homes = {clip.id: clip.shard for clip in clips}
    if not before or any(homes.get(clip_id, shard) != shard for clip_id, shard in before.items()):
        redistribute(results, homes)
    folder = results / "index"
    for old in (folder / "shards").glob("*.tsv"):
        if not old.stem.isdecimal() or int(old.stem) not in shards:
            old.unlink()
    for shard, members in shards.items():
        own = format_table(Clip._fields, members, "\t")
        write_text_if_changed(folder / "shards" / f"{shard}.tsv", own)
    write_text_if_changed(index_path(results), text)
    write_text(folder / "summary.json", json.dumps(asdict(summary), indent=1) + "\n")
    return summary


def read_summary(results: Path) -> Summary | None:
    """What `write_index` said last, or None."""
    path = results / "index" / "summary.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    found["members"] = {int(shard): value for shard, value in found["members"].items()}
    return Summary(**found)


def read_index(path: Path) -> list[Clip]:
    """The clips of an index table; empty when there is none."""
    if not path.is_file():
        return []
    lines = read_lines(path, "\t")
    next(lines, None)
    return [Clip(row[0], row[1], int(row[2]), *row[3:]) for row in lines]


def read_shard(results: Path, shard: int) -> list[Clip]:
    """The clips of one shard."""
    return read_index(results / "index" / "shards" / f"{shard}.tsv")
