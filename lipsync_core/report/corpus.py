"""The data section of the report: clips kept and dropped by stage, the splits, the measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation import stages
from lipsync_core.preparation.accounting import FILELISTS, StageCounts
from lipsync_core.report.blocks import Table, clip_name, count, duration, percent, plural
from lipsync_core.report.results import number, numbers
from lipsync_core.runtime.tables import Row

MAX_DROPPED_SHOWN = 5000  # of a reason; about 1 MB of page
STAGE_NAMES = {
    stages.AUDIO.rule: "Audio",
    stages.MELS.rule: "Mel spectrograms",
    stages.BOXES.rule: "Face detection",
    stages.FACES.rule: "Face crops",
    stages.SYNC.rule: "Sync",
    stages.CHECKS.rule: "Checks",
    FILELISTS: "Splits",
    "all": "All",
}


@dataclass(frozen=True)
class Account:
    """Clip counts. found: includes clips that were split off; lines: by stage, the last is the sum.

    dropped: the rows of clips.csv of the clips that are in no split.
    """

    found: int
    kept: int
    lines: Sequence[StageCounts]
    dropped: Sequence[Row]


def account(lines: Sequence[StageCounts], clips: Sequence[Row]) -> Account | None:
    """The account in accounting.csv (`lines`) and clips.csv; None without one."""
    if not lines:
        return None
    total = lines[-1]
    dropped = [row for row in clips if not is_kept(row)]
    return Account(total.entered + total.split_off, total.kept, lines, dropped)


def is_kept(row: Mapping[str, str]) -> bool:
    """True for a row of clips.csv whose clip is in a split."""
    return number(row.get("kept")) == 1


def by_split(clips: Sequence[Row]) -> list[Row]:
    """The kept clips, one row for each split that a clip is in.

    Where a clip is split by time, `seconds` are those of its part.
    """
    rows = []
    for row in filter(is_kept, clips):
        splits = row.get("split", "").split("+")
        parts = (row.get("split_frames") or "").split("+")
        for index, split in enumerate(splits):
            own = row | {"split": split}
            if len(parts) == len(splits) and parts[index]:
                first, _, last = parts[index].partition("-")
                own["seconds"] = str((int(last) - int(first) + 1) / FPS)
            rows.append(own)
    return rows


def account_table(result: Account) -> Table:
    """In + split off = kept + dropped (reason), a row a stage."""
    rows = []
    for line in result.lines:
        reasons = sorted(line.reasons.items()) if line.stage != "all" else []
        rows.append(
            [
                STAGE_NAMES.get(line.stage, line.stage),
                *map(count, (line.entered, line.split_off, line.kept, line.dropped)),
                ", ".join(f"{_words(reason)} {count(n)}" for reason, n in reasons),
            ]
        )
    return Table(
        "Clips in, kept and dropped at each stage",
        ("Stage", "In", "Split off", "Kept", "Dropped", "Reasons"),
        rows,
        numeric=(1, 2, 3, 4),
        total=True,
        wide=True,
        note=f"{plural(result.found, 'clip')} found = {count(result.kept)} kept + "
        f"{count(len(result.dropped))} dropped.",
    )


def dropped_tables(result: Account) -> list[Table]:
    """The dropped clips with name and detail, a table a reason, the most frequent reason first."""
    reasons: dict[str, list[Row]] = {}
    for row in result.dropped:
        reasons.setdefault(row.get("reason", ""), []).append(row)
    order = sorted(reasons, key=lambda reason: (-len(reasons[reason]), reason))
    return [_reason_table(reason, reasons[reason]) for reason in order]


def _reason_table(reason: str, dropped: Sequence[Row]) -> Table:
    rows = [
        [
            clip_name(row["clip"]),
            STAGE_NAMES.get(row.get("dropped_by", ""), ""),
            Markup("<bdi>{}</bdi>").format(row.get("detail", "")),
        ]
        for row in dropped[:MAX_DROPPED_SHOWN]
    ]
    left = len(dropped) - len(rows)
    note = f"{plural(left, 'more clip')} in results/filelists/clips.csv." if left else ""
    caption = f"{_words(reason) or 'no reason'}: {plural(len(dropped), 'clip')}"
    return Table(caption, ("Clip", "Dropped at", "Detail"), rows, stack=True, note=note)


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def split_table(clips: Sequence[Row]) -> Table:
    """Speakers, clips and length of each split."""
    kept, parts = [row for row in clips if is_kept(row)], by_split(clips)
    rows = []
    for split in (*SPLITS, "all"):
        mine = kept if split == "all" else [row for row in parts if row["split"] == split]
        rows.append(
            [
                split,
                count(len({row.get("speaker", "") for row in mine})),
                count(len(mine)),
                duration(sum(numbers(mine, "seconds"))),
                percent(len(mine) / len(kept)) if kept else percent(None),
            ]
        )
    pairs = {(row.get("speaker", ""), row["split"]) for row in parts}
    places = Counter(speaker for speaker, _ in pairs)
    shared = sorted(speaker for speaker, splits in places.items() if splits > 1)
    note = (
        f"Speakers in more than one split: {', '.join(shared)}. Metrics on val and test "
        "are then too good."
        if shared
        else "No speaker is in more than one split."
    )
    return Table(
        "Splits",
        ("Split", "Speakers", "Clips", "Length", "Share of clips"),
        rows,
        numeric=(1, 2, 3, 4),
        total=True,
        note=note,
    )
