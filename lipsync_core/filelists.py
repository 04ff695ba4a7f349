"""Splits: who trains, who validates, who tests. By speaker, deterministic, stable.

A speaker's split follows from a hash of its name and the seed, so that adding clips or speakers
moves nobody. Official lists (`train.txt`, `val.txt`, `test.txt` in the data root, as LRS2 has
them) win.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lipsync_core.clips import source_id
from lipsync_core.errors import LipsyncError
from lipsync_core.files import write_text
from lipsync_core.stage import Row, read_table

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
# The first columns of clips.csv; the stages' measures follow.
COLUMNS = ("clip", "speaker", "split", "kept", "reason", "frames", "coverage", "seconds", "fps_in")


def position(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    word = hashlib.sha1(f"{seed}:{name}".encode()).digest()[:8]
    return int.from_bytes(word, "big") / 2**64


def split_speakers(speakers: Sequence[str], val: float, test: float, seed: int) -> dict[str, str]:
    """Speaker -> "train", "val" or "test", with shares `val` and `test` of the speakers.

    When chance leaves validation (or test) without a speaker, one is moved there, as long as one
    stays in training; training comes first, then validation.
    """
    order = sorted(set(speakers), key=lambda speaker: position(speaker, seed))
    chosen = {}
    for speaker in order:
        place = position(speaker, seed)
        chosen[speaker] = "val" if place < val else "test" if place < val + test else "train"
    if order and "train" not in chosen.values():
        chosen[order[-1]] = "train"
    for name, share, donors in (("val", val, ("train", "test")), ("test", test, ("train",))):
        if share == 0 or name in chosen.values():
            continue
        for donor in donors:
            those = [speaker for speaker in order if chosen[speaker] == donor]
            if len(those) > (donor == "train"):
                chosen[those[0]] = name
                break
    return chosen


def official_lists(data_root: Path, known: Sequence[str]) -> dict[str, str]:
    """Clip id -> split from `<data_root>/{train,val,test}.txt`; empty when there are none.

    A line is a clip id, maybe followed by a second token (LRS2), which is ignored.
    """
    ids = set(known)
    chosen: dict[str, str] = {}
    for split in SPLITS:
        path = data_root / f"{split}.txt"
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            for name in (line, line.rpartition(" ")[0]):
                if name in ids:
                    chosen[name] = split
                    break
    return chosen


def assign(
    clips: Sequence[str], data_root: Path, val: float, test: float, seed: int
) -> dict[str, str]:
    """Clip id -> split of the kept clips (ids `<speaker>/<clip>`).

    Where official lists name any of the clips, the unnamed ones train. With one speaker only,
    clips are split instead of speakers; a single clip trains and validates.
    """
    official = official_lists(data_root, [*clips, *map(source_id, clips)])
    if official:
        # The lists name videos; the people in one stay together.
        named = {clip: official.get(clip) or official.get(source_id(clip)) for clip in clips}
        return {clip: split or "train" for clip, split in named.items()}
    speakers = {clip: clip.partition("/")[0] for clip in clips}
    if len(set(speakers.values())) > 1:
        split = split_speakers(list(speakers.values()), val, test, seed)
        return {clip: split[speaker] for clip, speaker in speakers.items()}
    if clips:
        log.warning("one speaker only: clips, not speakers, are split; figures will flatter")
    split = split_speakers([source_id(clip) for clip in clips], val, test, seed)
    return {clip: split[source_id(clip)] for clip in clips}


def check_leaks(split: Mapping[str, str]) -> None:
    """Raise LipsyncError when a speaker of a multi-speaker corpus is in more than one split."""
    homes: dict[str, set[str]] = {}
    for clip, name in split.items():
        homes.setdefault(clip.partition("/")[0], set()).add(name)
    leaks = sorted(speaker for speaker, names in homes.items() if len(names) > 1)
    if leaks and len(homes) > 1:
        raise LipsyncError(
            f"filelists: {len(leaks)} speakers are in more than one split, first {leaks[:5]}; "
            "correct the official lists in the data root, or remove them"
        )


def write_filelists(
    tables: Sequence[Path],
    folder: Path,
    data_root: Path,
    val: float,
    test: float,
    seed: int,
    max_dropped_share: float = 1.0,
) -> Counter[str]:
    """Write `{train,val,test}.txt` and `clips.csv` into `folder` from the checks tables.

    Returns how many clips were kept and how many dropped for each reason. Raises LipsyncError
    when more than `max_dropped_share` of the clips were dropped, or a speaker leaks.
    """
    rows: dict[str, Row] = {}
    for table in tables:
        rows |= read_table(table)
    rows = dict(sorted(rows.items()))
    kept = [clip for clip, row in rows.items() if row["outcome"] == "kept"]
    split = assign(kept, data_root, val, test, seed)
    check_leaks(split)
    counts = Counter(row["reason"] or "kept" for row in rows.values())
    summary = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    log.info("%d clips: %s", len(rows), summary)
    if len(rows) - len(kept) > max_dropped_share * len(rows):
        raise LipsyncError(
            f"{len(rows) - len(kept)} of {len(rows)} clips were dropped ({summary}), more than "
            f"split.max_dropped_share = {max_dropped_share}; see {tables[0].parent}"
        )
    for name in SPLITS:
        lines = [f"{clip}\n" for clip in kept if split[clip] == name]
        write_text(folder / f"{name}.txt", "".join(lines))
    _write_clips_table(folder / "clips.csv", rows, split)
    return counts


def _write_clips_table(path: Path, rows: Mapping[str, Row], split: Mapping[str, str]) -> None:
    measures = dict.fromkeys(name for row in rows.values() for name in row)
    names = [*COLUMNS, *(name for name in measures if name not in (*COLUMNS, "outcome", "bytes"))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for clip, row in rows.items():
        own = {
            "speaker": clip.partition("/")[0],
            "split": split.get(clip, ""),
            "kept": int(row["outcome"] == "kept"),
            "frames": row.get("frames") or 0,
            "coverage": row.get("coverage") or 0,
        }
        writer.writerow(row | own)
    write_text(path, text.getvalue())


def held_out_pair(folder: Path) -> tuple[str, str]:
    """Two clips to try a dubbing on: whose face, and whose sound.

    The face is the first test clip (else validation, else training); the sound is the first clip
    of another speaker, looked for in the same order. With a single clip it is both.
    Raises LipsyncError when no clip was kept.
    """
    ids = [
        line
        for name in ("test", "val", "train")
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    ]
    if not ids:
        raise LipsyncError(f"{folder / 'clips.csv'}: no clip was kept; see its column `reason`")
    face = ids[0]
    others = [clip for clip in ids if clip.partition("/")[0] != face.partition("/")[0]]
    return face, (others or ids)[0]
