"""What became of the clips: found = kept + dropped, stage by stage; the splits; the measures.

Reads rows, returns tables and figures. Which clips to keep was decided by others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from markupsafe import Markup

from lipsync_core.corpus.clips import source_id
from lipsync_core.media.timestamps import FPS
from lipsync_core.report import plots
from lipsync_core.report.blocks import Figure, Table, clip_name, count, duration, percent, plural
from lipsync_core.report.results import SPLITS, Row, number, numbers

MOST_DROPPED = 200
STAGE_WORDS = {
    "audio": "Sound",
    "mels": "Mel spectrograms",
    "boxes": "Face detection",
    "faces": "Face crops",
    "checks": "Checks",
    "filelists": "Splits",
}
# Column, title, unit.
MEASURES = (
    ("seconds", "Length", "seconds"),
    ("coverage", "Frames with a face", "share of the frames"),
    ("face_px", "Face size", "pixels, longer side, median of the clip"),
    ("loudness", "Loudness", "dBFS"),
    ("fps_in", "Frame rate of the source", "frames a second"),
)


@dataclass
class Stage:
    """One step of the accounting; `missing` counts clips that came in and have no row."""

    name: str
    entered: int
    missing: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        return self.reasons.total()

    @property
    def kept(self) -> int:
        return self.entered - self.dropped - self.missing


@dataclass(frozen=True)
class Dropped:
    """A clip that was dropped, and where."""

    clip: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Account:
    """Every clip found, each kept or dropped once."""

    found: int
    kept: int
    stages: Sequence[Stage]
    dropped: Sequence[Dropped]

    @property
    def balanced(self) -> bool:
        return self.found == self.kept + len(self.dropped)

    @property
    def sentence(self) -> str:
        text = f"{plural(self.found, 'clip')} found = {count(self.kept)} kept + "
        text += f"{count(len(self.dropped))} dropped"
        if self.balanced:
            return f"{text}."
        lost = self.found - self.kept - len(self.dropped)
        return f"The account does not balance: {text} ({lost} without an outcome)."


def account(clips: Sequence[Row], stages: Mapping[str, Sequence[Row]]) -> Account:
    """Follow the clips through the stages; a clip is dropped where it is first dropped.

    `clips` (clips.csv) settles what was found and kept in the end; without it the union of the
    stages does. Stage tables may or may not repeat a clip that an earlier one dropped.
    """
    names = {row["clip"] for row in clips if row.get("clip")}
    names = names or {row["clip"] for rows in stages.values() for row in rows if row.get("clip")}
    alive, steps, dropped = set(names), [], []
    for name, rows in stages.items():
        step = Stage(name, len(alive))
        by_clip = {row.get("clip", ""): row for row in rows}
        for clip in sorted(alive):
            # Stages before the crops know the video, not the people in it.
            row = by_clip.get(clip) or by_clip.get(source_id(clip))
            if row is None:
                step.missing += 1
            elif row.get("outcome") == "dropped":
                dropped.append(_dropped(clip, name, row))
                step.reasons[dropped[-1].reason] += 1
                alive.discard(clip)
        steps.append(step)
    if clips:
        step = Stage("filelists", len(alive))
        for row in sorted(clips, key=lambda row: row.get("clip", "")):
            if row.get("clip") in alive and not is_kept(row):
                dropped.append(_dropped(row["clip"], "filelists", row))
                step.reasons[dropped[-1].reason] += 1
                alive.discard(row["clip"])
        steps.append(step)
    kept = sum(is_kept(row) for row in clips) if clips else len(alive)
    return Account(len(names), kept, steps, sorted(dropped, key=lambda item: item.clip))


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


def _dropped(clip: str, stage: str, row: Mapping[str, str]) -> Dropped:
    return Dropped(clip, stage, row.get("reason") or "no reason given", row.get("detail") or "")


def reason_words(code: str) -> str:
    """A reason code in words."""
    return code.replace("_", " ")


def account_table(result: Account) -> Table:
    """In = kept + dropped (reason), a row a stage."""
    rows = []
    for step in result.stages:
        reasons = [f"{reason_words(code)} {count(n)}" for code, n in sorted(step.reasons.items())]
        if step.missing:
            reasons.append(f"no row {count(step.missing)}")
        name = STAGE_WORDS.get(step.name, step.name)
        rows.append(
            [name, count(step.entered), count(step.kept), count(step.dropped), ", ".join(reasons)]
        )
    kept_last = [
        "All",
        count(result.found),
        count(result.kept),
        count(len(result.dropped)),
        "",
    ]
    return Table(
        "Clips in, kept and dropped at each stage",
        ("Stage", "In", "Kept", "Dropped", "Reasons"),
        [*rows, kept_last],
        numeric=(1, 2, 3),
        total=True,
        wide=True,
        note=result.sentence,
    )


def dropped_table(result: Account) -> Table | None:
    """The dropped clips with reason and detail; None when there are none."""
    if not result.dropped:
        return None
    shown = result.dropped[:MOST_DROPPED]
    rows = [
        [
            clip_name(item.clip),
            STAGE_WORDS.get(item.stage, item.stage),
            reason_words(item.reason),
            Markup("<bdi>{}</bdi>").format(item.detail),
        ]
        for item in shown
    ]
    left = len(result.dropped) - len(shown)
    note = f"{plural(left, 'more clip')} in results/filelists/clips.csv." if left else ""
    columns = ("Clip", "Dropped at", "Reason", "Detail")
    return Table("Clips dropped, and why", columns, rows, stack=True, note=note)


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
    homes = {(row.get("speaker", ""), row["split"]) for row in parts}
    places = Counter(speaker for speaker, _ in homes)
    shared = sorted(speaker for speaker, splits in places.items() if splits > 1)
    note = (
        f"Speakers in more than one split: {', '.join(shared)}. Figures on val and test "
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


def distributions(clips: Sequence[Row], checks: Sequence[Row]) -> list[Figure]:
    """Histograms of the measures that clips.csv or the checks tables hold."""
    kept_names = {row.get("clip") for row in clips if is_kept(row)}
    figures = []
    for column, title, unit in MEASURES:
        # clips.csv writes 0 where a dropped clip was never measured; the checks leave a blank.
        rows = checks if numbers(checks, column) else clips
        kept = numbers([r for r in rows if r.get("clip") in kept_names], column)
        dropped = numbers([r for r in rows if r.get("clip") not in kept_names], column)
        both = [*kept, *dropped]
        if not both:
            continue
        middle = f"{median(both):.3g}"
        svg = plots.histogram(
            kept,
            dropped,
            f"Histogram of {title.lower()} over {plural(len(both), 'clip')}: from {min(both):.3g} "
            f"to {max(both):.3g} {unit.partition(',')[0]}, median {middle}",
            unit,
        )
        legend = [("kept", "kept"), ("dropped", "dropped")] if dropped else []
        figures.append(Figure(title, svg, f"median {middle}", legend))
    return figures
