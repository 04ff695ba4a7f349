"""The index of the clips, in `results/index/`. Light: the Snakefile imports it.

`clips.tsv` is the whole list, `shards/<n>.tsv` the part that one job reads, and `summary.json`,
written last, what the Snakefile reads: a job does not read the lines of all clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lipsync_core.corpus.clips import Clip, by_shard, labels_digest, members_digest, splits_digest
from lipsync_core.corpus.journal import redistribute
from lipsync_core.runtime.files import write_text, write_text_if_changed
from lipsync_core.runtime.tables import format_table, read_lines


@dataclass(frozen=True)
class Summary:
    """members: digest of each shard that has clips; splits: of the official splits.

    clips: their number; demo: whether it is the demo corpus; text: digest of `clips.tsv`; labels:
    of licences and metadata.
    """

    members: dict[int, str]
    splits: str
    clips: int
    demo: bool
    text: str
    labels: str = ""


def index_path(results: Path) -> Path:
    """Path of the index in a results folder."""
    return results / "index" / "clips.tsv"


def write_index(results: Path, clips: Sequence[Clip], demo: bool = False) -> Summary:
    """Write the changed files of the index; the others keep their modification time.

    The records of clips whose shard changed (with `shards`) are moved.
    """
    text = format_table(Clip._fields, clips, "\t")
    shards = by_shard(clips)
    summary = Summary(
        members={shard: members_digest(members) for shard, members in shards.items()},
        splits=splits_digest(clips),
        clips=len(clips),
        demo=demo,
        text=hashlib.sha1(text.encode()).hexdigest(),
        labels=labels_digest(clips),
    )
    if summary == read_summary(results) and index_path(results).is_file():
        return summary
    before = {clip.id: clip.shard for clip in read_index(index_path(results))}
    shard_by_id = {clip.id: clip.shard for clip in clips}
    if not before or any(shard_by_id.get(name, shard) != shard for name, shard in before.items()):
        redistribute(results, shard_by_id)
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
    """The summary that `write_index` wrote last, or None."""
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
