"""Train, validation and test splits: by speaker, deterministic, stable; and the lists of them.

A speaker's split follows from a hash of its name and the seed, so that adding clips or speakers
moves no other. Official splits (of the layout, or of lists in the data root) win. One speaker's
corpus is split by clip where there are many, else by time within the videos. Copies of a clip never
end in different splits. Layouts and lists only carry the official split (`Clip.split`); what
follows from it is decided here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lipsync_core.corpus import split_summary
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.filelists import ListedClip, parse_line, speaker_of
from lipsync_core.corpus.index import index_path, read_index
from lipsync_core.corpus.layouts.items import PRETRAIN, SPLITS, source_id
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.preparation import accounting, duplicates, time_split
from lipsync_core.preparation.stages import CHECKS, Stage
from lipsync_core.preparation.time_split import Parts
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row, read_by_clip, write_table

log = logging.getLogger(__name__)

# The first columns of clips.csv; the stages' measures follow.
COLUMNS = ("clip", "speaker", "split", "kept", "reason", "frames", "coverage", "seconds", "fps_in")


def unit_hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    word = hashlib.sha1(f"{seed}:{name}".encode()).digest()[:8]
    return int.from_bytes(word, "big") / 2**64


def split_speakers(
    speakers: Iterable[str], val: float, test: float, seed: int, trained: bool = False
) -> dict[str, str]:
    """Speaker -> "train", "val" or "test", with shares `val` and `test` of the speakers.

    When chance leaves validation (or test) without a speaker, one is moved there, as long as one
    stays in training; training comes first, then validation. trained: training has others already.
    """
    hashes = {speaker: unit_hash(speaker, seed) for speaker in set(speakers)}
    order = sorted(hashes, key=hashes.__getitem__)
    chosen = {}
    for speaker in order:
        place = hashes[speaker]
        chosen[speaker] = "val" if place < val else "test" if place < val + test else "train"
    if order and not trained and "train" not in chosen.values():
        chosen[order[-1]] = "train"
    for name, share, donors in (("val", val, ("train", "test")), ("test", test, ("train",))):
        if share == 0 or name in chosen.values():
            continue
        for donor in donors:
            those = [speaker for speaker in order if chosen[speaker] == donor]
            if len(those) > (donor == "train" and not trained):
                chosen[those[0]] = name
                break
    return chosen


def separate(official: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The clips whose split is fixed, with it, and those whose split is drawn.

    official: clip id -> "train", "val", "test", "trainval" (train or val), "pretrain" (train where
    others have a split) or "" for none.

    Without any official split, everything is drawn. Else clips that no list names go to training,
    if there is an official validation. If not, validation is drawn from clips that no list names (a
    lone test.txt) or, where all of those are in training, from train.txt.
    """
    if set(official.values()) <= {"", PRETRAIN}:
        return {}, list(official)
    names = {clip: "train" if name == PRETRAIN else name for clip, name in official.items()}
    fixed = {clip: name for clip, name in names.items() if name in SPLITS}
    rest = [clip for clip in names if clip not in fixed]
    if "val" in fixed.values():
        return fixed | dict.fromkeys(rest, "train"), []
    training = {speaker_of(clip) for clip, name in fixed.items() if name == "train"}
    fixed |= {clip: "train" for clip in rest if speaker_of(clip) in training}
    rest = [clip for clip in rest if clip not in fixed]
    if not rest:
        rest = [clip for clip, name in fixed.items() if name == "train"]
        fixed = {clip: name for clip, name in fixed.items() if name != "train"}
    return fixed, rest


def check_leaks(split: Mapping[str, str], speakers_known: bool = True) -> None:
    """Raise LipsyncError when a speaker of a multi-speaker corpus is in more than one split.

    Where speakers are not known (an official split by something else), only log a warning.
    """
    found: dict[str, set[str]] = {}
    for clip, name in split.items():
        found.setdefault(speaker_of(clip), set()).add(name)
    leaks = sorted(speaker for speaker, names in found.items() if len(names) > 1)
    if not leaks or len(found) == 1:
        return
    message = f"{len(leaks)} speakers are in more than one split, first {leaks[:5]}"
    if speakers_known:
        raise LipsyncError(
            f"filelists: {message}; correct the official lists in the data root, or remove them"
        )
    log.warning("%s, according to the official split", message)


def assign(
    results: Path,
    official: Mapping[str, str],
    val: float,
    test: float,
    seed: int,
    seconds: Mapping[str, float],
    speakers_known: bool = True,
) -> tuple[str, dict[str, Parts]]:
    """How the clips are split, and clip id -> its part in each split.

    official: see `separate`; where there is any, no test is drawn. val, test: shares that are
    drawn. seconds: clip id -> its length. speakers_known: see `check_leaks`, whose error this
    raises.

    Speakers are drawn. Of a single speaker, the videos are drawn where they are many (none is
    longer than the smallest share); else each is divided by time, if that leaves a validation.

    Returns "official", "speaker", "clip" or "time" (how those were drawn whose split is not
    official), and of each clip the whole in one split, or parts of it in several. A clip that lies
    in no part of its video has {}.
    """
    fixed, drawn = separate(official)
    if not set(official.values()) <= {"", PRETRAIN}:
        test = 0
    trained = "train" in fixed.values()
    alone = len(set(map(speaker_of, drawn))) == 1 and not trained
    by = "official" if not drawn else "clip" if alone else "speaker"
    unit = source_id if alone else speaker_of
    home = split_speakers(map(unit, drawn), val, test, seed, trained)
    # A single speaker is in training and validation; its drawn clips are no leak.
    splits = fixed | {clip: "train" if alone else home[unit(clip)] for clip in drawn}
    check_leaks(splits, speakers_known)
    parts = {clip: {home[unit(clip)]: ListedClip(clip)} for clip in drawn}
    if alone and val:
        lengths = {source_id(clip): seconds[clip] for clip in drawn}
        smallest = min(share for share in (val, test) if share)
        if max(lengths.values()) > smallest * sum(lengths.values()) * (1 + 1e-9):
            divided = time_split.divide(results, drawn, val, test)
            if any("val" in own for own in divided.values()):
                by, parts = "time", divided
    return by, {clip: {name: ListedClip(clip)} for clip, name in fixed.items()} | parts


def write_filelists(
    results: Path,
    clips: Sequence[Clip],
    chain: Sequence[Stage],
    val: float,
    test: float,
    seed: int,
    max_dropped_share: float = 1.0,
    drop_duplicates: bool = True,
    speakers_known: bool = True,
) -> Counter[str]:
    """Write `{train,val,test}.txt` (see `corpus.filelists`) and the files beside them.

    `clips.csv` has a row a clip found, `accounting.csv` counts them by stage, `split.json` tells
    how they were split, see `split_summary`. All lie in `results/filelists`.

    Parameters
    ----------
    clips: the index. chain: the stages that were run, in order; the last one's tables are read.
    speakers_known: see `check_leaks`.

    Returns how many clips were kept and how many dropped for each reason. Raises LipsyncError
    when the account of clips does not add up, more than `max_dropped_share` of them were dropped,
    or a speaker leaks.
    """
    shards = sorted({clip.shard for clip in clips})
    rows: dict[str, Row] = {}
    for shard in shards:
        rows |= read_by_clip(results / chain[-1].folder / f"{shard}.csv")
    rows = dict(sorted(rows.items()))
    lines = accounting.count_stages(results, chain, shards, {clip.id for clip in clips})
    named = {clip.id: clip.split for clip in clips}
    kept = [clip for clip, row in rows.items() if row["outcome"] == "kept"]
    official = {clip: named[source_id(clip)] for clip in kept}
    seconds = {clip: float(rows[clip]["seconds"]) for clip in kept}
    by, parts = assign(results, official, val, test, seed, seconds, speakers_known)
    reasons = _drop(results, rows, parts, drop_duplicates)
    lines.append(accounting.StageCounts(accounting.FILELISTS, len(kept), 0, len(parts), reasons))
    folder = results / "filelists"
    accounting.write_accounting(folder / "accounting.csv", lines)
    counts = Counter(row["reason"] or "kept" for row in rows.values())
    outcomes = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    log.info("%d clips: %s", len(rows), outcomes)
    if len(rows) - len(parts) > max_dropped_share * len(rows):
        raise LipsyncError(
            f"{len(rows) - len(parts)} of {len(rows)} clips were dropped ({outcomes}), more than "
            f"split.max_dropped_share = {max_dropped_share}; see {results / CHECKS.folder}"
        )
    for name in SPLITS:
        members = [parts[clip][name] for clip in kept if name in parts.get(clip, {})]
        write_text(folder / f"{name}.txt", "".join(f"{member}\n" for member in members))
    _write_clips_table(folder / "clips.csv", rows, parts)
    summary = split_summary.summarize(by, parts, seconds, speakers_known)
    split_summary.log_summary(summary, sum(seconds[clip] for clip in parts))
    write_text(folder / "split.json", json.dumps(summary, indent=2) + "\n")
    return counts


def _drop(
    results: Path, rows: dict[str, Row], parts: dict[str, Parts], drop_duplicates: bool
) -> Counter[str]:
    """Drop the clips that can be in no list from `parts` and in `rows`; return their reasons."""
    dropped = {
        clip: (Reason.TOO_SHORT, "it lies in no part of a video that is split by time")
        for clip, own in parts.items()
        if not own
    }
    if drop_duplicates:
        label = {clip: "+".join(own) for clip, own in parts.items() if own}
        copies = duplicates.find_duplicates({clip: rows[clip] for clip in label}, label, results)
        for clip, original in copies.items():
            detail = f"the same as {original} (split.drop_duplicates)"
            dropped[clip] = (Reason.DUPLICATE, detail)
    for clip, (reason, detail) in dropped.items():
        values = ("dropped", str(reason), detail, accounting.FILELISTS)
        rows[clip] |= dict(zip(("outcome", "reason", "detail", "dropped_by"), values, strict=True))
        del parts[clip]
    return Counter(str(reason) for reason, _ in dropped.values())


def _write_clips_table(path: Path, rows: Mapping[str, Row], parts: Mapping[str, Parts]) -> None:
    table = []
    for clip, row in rows.items():
        own = parts.get(clip, {})
        table.append(
            row
            | {
                "speaker": speaker_of(clip),
                "split": "+".join(own),
                "kept": int(row["outcome"] == "kept"),
                "frames": row.get("frames") or 0,
                "coverage": row.get("coverage") or 0,
                "split_frames": "+".join(filter(None, (part.frame_range for part in own.values()))),
            }
        )
    write_table(path, table, first=COLUMNS, omit=("outcome", "bytes"))


def held_out_pair(folder: Path) -> tuple[str, str]:
    """The clips of the face and of the audio of an example dubbing.

    The face is the first test clip (else validation, else training); the audio is the first clip of
    another speaker (else another clip) in the same order. A single clip is both.
    Raises LipsyncError when no clip was kept.
    """
    ids = [
        parse_line(line).id
        for name in reversed(SPLITS)
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    ]
    if not ids:
        raise LipsyncError(f"{folder / 'clips.csv'}: no clip was kept; see its column `reason`")
    face = ids[0]
    others = [clip for clip in ids if speaker_of(clip) != speaker_of(face)]
    return face, next(iter(others or [clip for clip in ids if clip != face]), face)


def dubbing_files(entry: Mapping[str, str], results: Path, data_root: Path) -> tuple[Path, Path]:
    """The face and the audio file of an entry of `dub`; only "auto" asks for a prepared corpus.

    Raises the errors of `held_out_pair`.
    """
    files = {key: Path(entry[key]) for key in ("face", "audio")}
    if "auto" in (entry["face"], entry["audio"]):
        face, audio = (source_id(clip) for clip in held_out_pair(results / "filelists"))
        known = {clip.id: clip for clip in read_index(index_path(results))}
        if entry["face"] == "auto":
            files["face"] = known[face].portrait(data_root)
        if entry["audio"] == "auto":
            files["audio"] = known[audio].audio_source(data_root)
    return files["face"], files["audio"]
