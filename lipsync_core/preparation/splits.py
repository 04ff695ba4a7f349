"""The lists of training, validation and test clips, and the table of all clips.

Which split a clip is in: `assignment`. Copies of a clip never end in different splits.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lipsync_core.corpus import split_summary
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.filelists import parse_line, speaker_of
from lipsync_core.corpus.index import index_path, read_index
from lipsync_core.corpus.layouts.items import SPLITS, source_id
from lipsync_core.errors import LipsyncError, Reason
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation import accounting, alias_groups, assignment, duplicates
from lipsync_core.preparation.stages import CHECKS, Stage
from lipsync_core.preparation.time_split import Parts
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row, read_by_clip, write_table

log = logging.getLogger(__name__)

# The first columns of clips.csv; the stages' measures follow.
COLUMNS = (
    *("clip", "speaker", "split", "kept", "reason", "frames", "coverage", "seconds", "fps_in"),
    *("corpus", "licence", "same_speaker_as"),
)


def write_filelists(
    results: Path,
    clips: Sequence[Clip],
    chain: Sequence[Stage],
    val: float,
    test: float,
    seed: int,
    max_dropped_share: float = 1.0,
    drop_duplicates: bool = True,
    groups: Collection[str] = (),
    order: Sequence[str] = (),
    merge_aliases: bool = False,
    speaker_encoder: Path | None = None,
) -> Counter[str]:
    """Write `{train,val,test}.txt` (see `corpus.filelists`) and the files beside them.

    `clips.csv` has a row a clip found, `accounting.csv` counts them by stage, `split.json` tells
    how they were split, see `split_summary`. All lie in `results/filelists`.

    Parameters
    ----------
    clips: the index. chain: the stages that were run, in order; the last one's tables are read.
    groups: the corpora whose ids begin with a group instead of a speaker, see `assignment`.
    order: the names of the corpora as in the config. merge_aliases: keep a person of several names
        in one split, see `alias_groups`. speaker_encoder: weights for their voice prints, if any.

    Returns how many clips were kept and how many dropped for each reason. Raises LipsyncError
    when the account of clips does not add up, more than `max_dropped_share` of them were dropped,
    or a speaker leaks.
    """
    shards = sorted({clip.shard for clip in clips})
    tables = [results / chain[-1].folder / f"{shard}.csv" for shard in shards]
    rows = dict(sorted(item for table in tables for item in read_by_clip(table).items()))
    lines = accounting.count_stages(results, chain, shards, {clip.id for clip in clips})
    known = {clip.id: clip for clip in clips}
    kept = [clip for clip, row in rows.items() if row["outcome"] == "kept"]
    official = {clip: known[source_id(clip)].split for clip in kept}
    corpora = {clip: known[source_id(clip)].corpus for clip in kept}
    seconds = {clip: float(rows[clip]["seconds"]) for clip in kept}
    aliases: dict[str, str] = {}
    pairs: list[alias_groups.Alias] = []
    if merge_aliases:
        asked = ({clip: rows[clip] for clip in kept}, corpora, order, groups, speaker_encoder)
        aliases, pairs = alias_groups.prepared_aliases(results, *asked)
    official = dict(sorted(official.items(), key=lambda item: _place(corpora[item[0]], order)))
    known_of = (seconds, corpora, groups, aliases)
    by, parts = assignment.assign(results, official, val, test, seed, *known_of)
    parts = {clip: _shifted(rows[clip], own) for clip, own in parts.items()}
    reasons = _drop(results, rows, parts, drop_duplicates)
    lines.append(accounting.StageCounts(accounting.FILELISTS, len(kept), 0, len(parts), reasons))
    folder = results / "filelists"
    accounting.write_accounting(folder / "accounting.csv", lines)
    counts = _count_reasons(results, rows, max_dropped_share)
    _write_lists(folder, kept, parts)
    _write_clips_table(folder / "clips.csv", rows, parts, known, aliases)
    summary = split_summary.summarize(by, parts, seconds, not groups)
    split_summary.log_summary(summary, sum(seconds[clip] for clip in parts))
    summary |= _alias_summary(pairs, parts, aliases)
    write_text(folder / "split.json", json.dumps(summary, indent=2) + "\n")
    return counts


def _alias_summary(
    pairs: Sequence[alias_groups.Alias], parts: Mapping[str, Parts], aliases: Mapping[str, str]
) -> dict[str, Any]:
    if not pairs:
        return {}
    conflicts = assignment.conflicts(parts, aliases)
    return {"aliases": [vars(pair) for pair in pairs], "alias_conflicts": conflicts}


def _write_lists(folder: Path, kept: Sequence[str], parts: Mapping[str, Parts]) -> None:
    for name in SPLITS:
        members = [parts[clip][name] for clip in kept if name in parts.get(clip, {})]
        write_text(folder / f"{name}.txt", "".join(f"{member}\n" for member in members))


def _count_reasons(
    results: Path, rows: Mapping[str, Row], max_dropped_share: float
) -> Counter[str]:
    """How many clips were kept, and dropped for each reason; LipsyncError for too many."""
    counts = Counter(row["reason"] or "kept" for row in rows.values())
    outcomes = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    log.info("%d clips: %s", len(rows), outcomes)
    dropped = len(rows) - counts["kept"]
    if dropped > max_dropped_share * len(rows):
        raise LipsyncError(
            f"{dropped} of {len(rows)} clips were dropped ({outcomes}), more than "
            f"split.max_dropped_share = {max_dropped_share}; see {results / CHECKS.folder}"
        )
    return counts


def _place(corpus: str, order: Sequence[str]) -> int:
    return order.index(corpus) if corpus in order else len(order)


def _shifted(row: Row, parts: Parts) -> Parts:
    """The parts of a clip with its audio shifted, where that was found out of sync."""
    offset = row.get("sync_offset_before")
    if not offset:
        return parts
    frames = round(float(row["audio_seconds"]) * FPS)
    return {name: part.shifted(int(offset), frames) for name, part in parts.items()}


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


def _write_clips_table(
    path: Path,
    rows: Mapping[str, Row],
    parts: Mapping[str, Parts],
    known: Mapping[str, Clip],
    aliases: Mapping[str, str],
) -> None:
    table = []
    for clip, row in rows.items():
        own, source = parts.get(clip, {}), known[source_id(clip)]
        person = aliases.get(speaker_of(clip), "")
        table.append(
            row
            | {
                "speaker": speaker_of(clip),
                "split": "+".join(own),
                "kept": int(row["outcome"] == "kept"),
                "frames": row.get("frames") or 0,
                "coverage": row.get("coverage") or 0,
                "split_frames": "+".join(filter(None, (part.frame_range for part in own.values()))),
                "corpus": source.corpus,
                "licence": source.licence,
                "same_speaker_as": "" if person == speaker_of(clip) else person,
            }
            | (json.loads(source.metadata) if source.metadata else {})
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
    if entry["face"] == "auto" or (entry["audio"] == "auto" and not entry.get("voices")):
        face, audio = (source_id(clip) for clip in held_out_pair(results / "filelists"))
        known = {clip.id: clip for clip in read_index(index_path(results))}
        if entry["face"] == "auto":
            files["face"] = known[face].portrait(data_root)
        if entry["audio"] == "auto":
            files["audio"] = known[audio].audio_source(data_root)
    return files["face"], files["audio"]
