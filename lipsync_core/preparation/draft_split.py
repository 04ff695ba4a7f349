"""A split of the clips that have crops, before their sync is measured and they are checked.

For the bootstrap training that measures sync. It follows the rules of the final split, so that a
network trained on its training clips has seen few or none of the final held-out ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.filelists import ListedClip
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import assignment
from lipsync_core.preparation.stages import FACES, MELS
from lipsync_core.runtime.tables import Row, read_by_clip


class DraftSplit(NamedTuple):
    """train, val: the clips or their parts. frames: clip id -> frames of its video. keys: clip id
    -> digest of its crops."""

    train: list[ListedClip]
    val: list[ListedClip]
    frames: dict[str, int]
    keys: dict[str, str]


def draft_split(
    results: Path,
    clips: Sequence[Clip],
    val: float,
    test: float,
    seed: int,
    groups: Collection[str] = (),
) -> DraftSplit:
    """Training and validation clips among those with usable crops and audio.

    clips: the index. The others: see `splits.write_filelists`. Raises LipsyncError where there is
    none for one of the two.
    """
    rows: dict[str, Row] = {}
    for shard in sorted({clip.shard for clip in clips}):
        sounds = read_by_clip(results / MELS.folder / f"{shard}.csv")
        for clip, row in read_by_clip(results / FACES.folder / f"{shard}.csv").items():
            heard = sounds.get(source_id(clip), {}).get("outcome") == "kept"
            if row["outcome"] == "kept" and heard and _opens(results, clip):
                rows[clip] = row
    known = {clip.id: clip for clip in clips}
    official = {clip: known[source_id(clip)].split for clip in rows}
    corpora = {clip: known[source_id(clip)].corpus for clip in rows}
    seconds = {clip: float(row["seconds"]) for clip, row in rows.items()}
    _, parts = assignment.assign(results, official, val, test, seed, seconds, corpora, groups)
    chosen = {
        name: [own[name] for _, own in sorted(parts.items()) if name in own]
        for name in ("train", "val")
    }
    if not all(chosen.values()):
        raise LipsyncError(
            f"{results}: too few clips with a face to measure their sync by a network trained on "
            "them; set `sync.model` to weights that measure it, or `sync.correct: off`"
        )
    frames = {clip: int(row["frames"]) for clip, row in rows.items()}
    return DraftSplit(**chosen, frames=frames, keys={clip: rows[clip]["key"] for clip in rows})


def _opens(results: Path, clip: str) -> bool:
    try:
        return bool(ClipDataset.load(results, [clip]).clips)
    except LipsyncError:  # too few frames in a row; the training of SyncNet would reject it
        return False
