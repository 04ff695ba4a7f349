"""Splits: who trains, who validates, who tests. By speaker, deterministic, stable.

A speaker's split follows from a hash of its name and the seed, so that adding clips or speakers
moves nobody. Official splits (of the layout, or of lists in the data root) win. Copies of a clip
never end in different splits.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lipsync_core import accounting, duplicates
from lipsync_core.clips import Clip, source_id
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.files import write_text
from lipsync_core.index import index_path, read_index
from lipsync_core.layouts.items import SPLITS, TRAINVAL
from lipsync_core.stage import Row, read_table
from lipsync_core.stages import CHECKS, Stage

log = logging.getLogger(__name__)

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


def assign(official: Mapping[str, str], val: float, test: float, seed: int) -> dict[str, str]:
    """Clip id -> split of the kept clips (ids `<speaker>/<clip>`).

    official: clip id -> "train", "val", "test", "trainval" (train or val, drawn by speaker) or ""
    for none. Where any clip has one, those without train. With one speaker only, clips are split
    instead of speakers; a single clip trains and validates.
    """
    if any(official.values()):
        drawn = [clip.partition("/")[0] for clip, name in official.items() if name == TRAINVAL]
        has_val = "val" in official.values() or len(set(drawn)) < 2
        home = split_speakers(drawn, 0 if has_val else val, 0, seed)
        return {
            clip: home[clip.partition("/")[0]] if name == TRAINVAL else name or "train"
            for clip, name in official.items()
        }
    speakers = {clip: clip.partition("/")[0] for clip in official}
    if len(set(speakers.values())) > 1:
        split = split_speakers(list(speakers.values()), val, test, seed)
        return {clip: split[speaker] for clip, speaker in speakers.items()}
    if official:
        log.warning("one speaker only: clips, not speakers, are split; figures will flatter")
    split = split_speakers([source_id(clip) for clip in official], val, test, seed)
    return {clip: split[source_id(clip)] for clip in official}


def check_leaks(split: Mapping[str, str], judged: bool = True) -> None:
    """Raise LipsyncError when a speaker of a multi-speaker corpus is in more than one split.

    With `judged` false (an official split by something else than speakers) only say so.
    """
    homes: dict[str, set[str]] = {}
    for clip, name in split.items():
        homes.setdefault(clip.partition("/")[0], set()).add(name)
    leaks = sorted(speaker for speaker, names in homes.items() if len(names) > 1)
    if not leaks or len(homes) == 1:
        return
    said = f"{len(leaks)} speakers are in more than one split, first {leaks[:5]}"
    if judged:
        raise LipsyncError(
            f"filelists: {said}; correct the official lists in the data root, or remove them"
        )
    log.warning("%s: so the official split has it", said)


def write_filelists(
    results: Path,
    clips: Sequence[Clip],
    chain: Sequence[Stage],
    val: float,
    test: float,
    seed: int,
    max_dropped_share: float = 1.0,
    drop_duplicates: bool = True,
    judged: bool = True,
) -> Counter[str]:
    """Write `{train,val,test}.txt`, `clips.csv` and `accounting.csv` into `results/filelists`.

    Parameters
    ----------
    clips: the index. chain: the stages that were run, in order; the last one's tables are read.
    judged: see `check_leaks`.

    Returns how many clips were kept and how many dropped for each reason. Raises LipsyncError
    when the account of clips does not add up, more than `max_dropped_share` of them were dropped,
    or a speaker leaks.
    """
    shards = sorted({clip.shard for clip in clips})
    rows: dict[str, Row] = {}
    for shard in shards:
        rows |= read_table(results / chain[-1].folder / f"{shard}.csv")
    lines = accounting.count_stages(results, chain, shards, {clip.id for clip in clips})
    rows = dict(sorted(rows.items()))
    official = {clip.id: clip.split for clip in clips}
    kept = {clip: row for clip, row in rows.items() if row["outcome"] == "kept"}
    split = assign({clip: official[source_id(clip)] for clip in kept}, val, test, seed)
    check_leaks(split, judged)
    copies = duplicates.resolve(kept, split, results) if drop_duplicates else {}
    for clip, original in copies.items():
        rows[clip] |= {
            "outcome": "dropped",
            "reason": str(Reason.DUPLICATE),
            "detail": f"the same as {original} (split.drop_duplicates)",
            "dropped_by": accounting.LAST,
        }
        del split[clip]
    lists = {name: [clip for clip in kept if split.get(clip) == name] for name in SPLITS}
    listed = sum(map(len, lists.values()))
    lines.append(accounting.last_line(len(kept), {Reason.DUPLICATE: len(copies)}, listed))
    folder = results / "filelists"
    accounting.write_accounting(folder / "accounting.csv", lines)
    counts = Counter(row["reason"] or "kept" for row in rows.values())
    summary = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    log.info("%d clips: %s", len(rows), summary)
    if len(rows) - listed > max_dropped_share * len(rows):
        raise LipsyncError(
            f"{len(rows) - listed} of {len(rows)} clips were dropped ({summary}), more than "
            f"split.max_dropped_share = {max_dropped_share}; see {results / CHECKS.folder}"
        )
    for name, members in lists.items():
        write_text(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in members))
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


def dubbing_files(entry: Mapping[str, str], results: Path, data_root: Path) -> tuple[Path, Path]:
    """The face and the audio file of an entry of `dub`; only "auto" asks for a prepared corpus.

    Raises as `held_out_pair`.
    """
    files = {key: Path(entry[key]) for key in ("face", "audio")}
    if "auto" in (entry["face"], entry["audio"]):
        face, audio = (source_id(clip) for clip in held_out_pair(results / "filelists"))
        known = {clip.id: clip for clip in read_index(index_path(results))}
        if entry["face"] == "auto":
            files["face"] = known[face].portrait(data_root)
        if entry["audio"] == "auto":
            files["audio"] = known[audio].sound_source(data_root)
    return files["face"], files["audio"]
