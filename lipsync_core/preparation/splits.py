"""Splits: who trains, who validates, who tests. By speaker, deterministic, stable.

A speaker's split follows from a hash of its name and the seed, so that adding clips or speakers
moves nobody. Official splits (of the layout, or of lists in the data root) win. A single speaker's
corpus is split by clip where there are many, else by time within the videos. Copies of a clip never
end in different splits. Layouts and lists only carry what is official (`Clip.split`); what follows
from it is decided here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.corpus import split_summary
from lipsync_core.corpus.clips import Clip, source_id
from lipsync_core.corpus.filelists import Listed, parse, speaker_of
from lipsync_core.corpus.index import index_path, read_index
from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.preparation import accounting, duplicates, time_split
from lipsync_core.preparation.stages import CHECKS, Stage
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row, read_by_clip, write_table

log = logging.getLogger(__name__)

# The first columns of clips.csv; the stages' measures follow.
COLUMNS = ("clip", "speaker", "split", "kept", "reason", "frames", "coverage", "seconds", "fps_in")
BY_TIME = "time"  # instead of a split: the clip's frames are to be divided


def unit_hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    word = hashlib.sha1(f"{seed}:{name}".encode()).digest()[:8]
    return int.from_bytes(word, "big") / 2**64


def split_speakers(
    speakers: Sequence[str], val: float, test: float, seed: int, trained: bool = False
) -> dict[str, str]:
    """Speaker -> "train", "val" or "test", with shares `val` and `test` of the speakers.

    When chance leaves validation (or test) without a speaker, one is moved there, as long as one
    stays in training; training comes first, then validation. trained: others train already.
    """
    order = sorted(set(speakers), key=lambda speaker: unit_hash(speaker, seed))
    chosen = {}
    for speaker in order:
        place = unit_hash(speaker, seed)
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


@dataclass(frozen=True)
class Pool:
    """The clips whose split is official, and those that are drawn with shares `val` and `test`."""

    fixed: Mapping[str, str]
    drawn: Sequence[str]
    val: float
    test: float

    @property
    def speakers(self) -> set[str]:
        """Of the clips that are drawn."""
        return set(map(speaker_of, self.drawn))

    @property
    def alone(self) -> bool:
        """One speaker would have to train and to validate."""
        return len(self.speakers) == 1 and "train" not in self.fixed.values()


def pool(official: Mapping[str, str], val: float, test: float) -> Pool:
    """What is official, and what that leaves to be drawn.

    Where nothing is official, everything is drawn. Else no test is drawn, and no validation where
    there is an official one: what no list names then trains. Without an official validation it is
    drawn from what no list names (a lone test.txt) or, where all of that trains, from train.txt.
    """
    if not any(official.values()):
        return Pool({}, list(official), val, test)
    fixed = {clip: name for clip, name in official.items() if name in SPLITS}
    rest = [clip for clip in official if clip not in fixed]
    if "val" in fixed.values():
        return Pool(fixed | dict.fromkeys(rest, "train"), [], 0, 0)
    training = {speaker_of(clip) for clip, name in fixed.items() if name == "train"}
    fixed |= {clip: "train" for clip in rest if speaker_of(clip) in training}
    rest = [clip for clip in rest if clip not in fixed]
    rest = rest or [clip for clip, name in fixed.items() if name == "train"]
    return Pool({clip: fixed[clip] for clip in fixed if clip not in set(rest)}, rest, val, 0)


def assign(
    official: Mapping[str, str],
    val: float,
    test: float,
    seed: int,
    seconds: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Clip id -> split of the kept clips (ids `<speaker>/<clip>`).

    official: clip id -> "train", "val", "test", "trainval" (train or val) or "" for none, see
    `pool`. seconds: clip id -> its length; all alike where it is not given.

    Speakers are drawn. With one speaker only, its videos are drawn where they are many: where none
    is longer than the smallest share; else the clips are `BY_TIME`.
    """
    found = pool(official, val, test)
    if not found.alone:
        home = split_speakers(
            *(list(found.speakers), found.val, found.test, seed),
            trained="train" in found.fixed.values(),
        )
        return {**found.fixed, **{clip: home[speaker_of(clip)] for clip in found.drawn}}
    videos = {source_id(clip): (seconds or {}).get(clip, 1.0) for clip in found.drawn}
    least = min((share for share in (found.val, found.test) if share), default=1.0)
    if max(videos.values()) <= least * sum(videos.values()) * (1 + 1e-9):
        home = split_speakers(list(videos), found.val, found.test, seed)
        return {**found.fixed, **{clip: home[source_id(clip)] for clip in found.drawn}}
    return {**found.fixed, **dict.fromkeys(found.drawn, BY_TIME)}


Parts = dict[str, Listed]  # of one clip, by split


def check_leaks(split: Mapping[str, str], judged: bool = True) -> None:
    """Raise LipsyncError when a speaker of a multi-speaker corpus is in more than one split.

    With `judged` false (an official split by something else than speakers) only say so.
    """
    homes: dict[str, set[str]] = {}
    for clip, name in split.items():
        homes.setdefault(speaker_of(clip), set()).add(name)
    leaks = sorted(speaker for speaker, names in homes.items() if len(names) > 1)
    if not leaks or len(homes) == 1:
        return
    said = f"{len(leaks)} speakers are in more than one split, first {leaks[:5]}"
    if judged:
        raise LipsyncError(
            f"filelists: {said}; correct the official lists in the data root, or remove them"
        )
    log.warning("%s: so the official split has it", said)


def parts_of(
    results: Path,
    official: Mapping[str, str],
    val: float,
    test: float,
    seed: int,
    seconds: Mapping[str, float],
    judged: bool = True,
) -> tuple[str, dict[str, Parts]]:
    """How the clips were split, and clip id -> its part in each split.

    official, val, test, seed, seconds: see `assign`; judged: see `check_leaks`, whose error this
    raises.

    Returns "official", "speaker", "clip" or "time" (how those were drawn whose split is not
    official), and of each clip the whole in one split, or stretches of it in several. A clip that
    lies in no stretch of its video has {}.
    """
    found = pool(official, val, test)
    split = assign(official, val, test, seed, seconds)
    # What is drawn of one speaker, who must train and validate, is no leak.
    check_leaks(split | (dict.fromkeys(found.drawn, "train") if found.alone else {}), judged)
    by = "official" if not found.drawn else "clip" if found.alone else "speaker"
    timed = [clip for clip, name in split.items() if name == BY_TIME]
    divided = time_split.divide(results, timed, found.val, found.test) if found.val else {}
    if any("val" in own for own in divided.values()):
        by = "time"
    else:  # all are too short: whole clips, where there are several
        home = split_speakers([source_id(clip) for clip in timed], found.val, found.test, seed)
        divided = {clip: {home[source_id(clip)]: Listed(clip)} for clip in timed}
    whole = {clip: {name: Listed(clip)} for clip, name in split.items() if name != BY_TIME}
    return by, whole | divided


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
    """Write `{train,val,test}.txt` (see `corpus.filelists`) and the files beside them.

    `clips.csv` has a row a clip found, `accounting.csv` counts them by stage, `split.json` says how
    the split was made, see `split_summary`. All lie in `results/filelists`.

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
        rows |= read_by_clip(results / chain[-1].folder / f"{shard}.csv")
    lines = accounting.count_stages(results, chain, shards, {clip.id for clip in clips})
    rows = dict(sorted(rows.items()))
    named = {clip.id: clip.split for clip in clips}
    kept = {clip: row for clip, row in rows.items() if row["outcome"] == "kept"}
    official = {clip: named[source_id(clip)] for clip in kept}
    seconds = {clip: float(row["seconds"]) for clip, row in kept.items()}
    by, parts = parts_of(results, official, val, test, seed, seconds, judged)
    reasons = _drop(results, rows, parts, drop_duplicates)
    lines.append(accounting.Line(accounting.FILELISTS, len(kept), 0, len(parts), reasons))
    folder = results / "filelists"
    accounting.write_accounting(folder / "accounting.csv", lines)
    counts = Counter(row["reason"] or "kept" for row in rows.values())
    said = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    log.info("%d clips: %s", len(rows), said)
    if len(rows) - len(parts) > max_dropped_share * len(rows):
        raise LipsyncError(
            f"{len(rows) - len(parts)} of {len(rows)} clips were dropped ({said}), more than "
            f"split.max_dropped_share = {max_dropped_share}; see {results / CHECKS.folder}"
        )
    for name in SPLITS:
        members = [parts[clip][name] for clip in kept if name in parts.get(clip, {})]
        write_text(folder / f"{name}.txt", "".join(f"{member}\n" for member in members))
    _write_clips_table(folder / "clips.csv", rows, parts)
    made = split_summary.summary(by, parts, seconds, judged)
    split_summary.say(made, sum(seconds[clip] for clip in parts))
    write_text(folder / "split.json", json.dumps(made, indent=2) + "\n")
    return counts


def _drop(
    results: Path, rows: dict[str, Row], parts: dict[str, Parts], drop_duplicates: bool
) -> Counter[str]:
    """Drop from `parts`, and say so in `rows`, the clips that can be in no list; their reasons."""
    gone = {
        clip: (Reason.TOO_SHORT, "it lies in no part of a video that is split by time")
        for clip, own in parts.items()
        if not own
    }
    if drop_duplicates:
        label = {clip: "+".join(own) for clip, own in parts.items() if own}
        copies = duplicates.find_duplicates({clip: rows[clip] for clip in label}, label, results)
        for clip, original in copies.items():
            detail = f"the same as {original} (split.drop_duplicates)"
            gone[clip] = (Reason.DUPLICATE, detail)
    for clip, (reason, detail) in gone.items():
        rows[clip] |= {
            "outcome": "dropped",
            "reason": str(reason),
            "detail": detail,
            "dropped_by": accounting.FILELISTS,
        }
        del parts[clip]
    return Counter(str(reason) for reason, _ in gone.values())


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
                "split_frames": "+".join(filter(None, (part.stretch for part in own.values()))),
            }
        )
    write_table(path, table, first=COLUMNS, omit=("outcome", "bytes"))


def held_out_pair(folder: Path) -> tuple[str, str]:
    """Two clips to try a dubbing on: whose face, and whose sound.

    The face is the first test clip (else validation, else training); the sound is the first clip
    of another speaker (else another clip), looked for in the same order. A single clip is both.
    Raises LipsyncError when no clip was kept.
    """
    ids = [
        parse(line).id
        for name in ("test", "val", "train")
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    ]
    if not ids:
        raise LipsyncError(f"{folder / 'clips.csv'}: no clip was kept; see its column `reason`")
    face = ids[0]
    others = [clip for clip in ids if speaker_of(clip) != speaker_of(face)]
    return face, next(iter(others or [clip for clip in ids if clip != face]), face)


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
            files["audio"] = known[audio].audio_source(data_root)
    return files["face"], files["audio"]
