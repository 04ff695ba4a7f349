"""Sync of the clips: offsets before and after the correction, what measured them, what it drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lipsync_core.report import plots
from lipsync_core.report.blocks import NO_VALUE, Figure, Table, count, percent, plural
from lipsync_core.report.corpus import is_kept
from lipsync_core.report.results import number, numbers, read_json
from lipsync_core.runtime.tables import Row
from lipsync_core.training.diagnosis import Diagnosis

SUMMARY = "sync/bootstrap/summary.json"
MAX_OFFSET = 1  # frames: as in sync
IN_SYNC_GOOD, IN_SYNC_FAIR = 0.95, 0.8
REASONS = {
    "out_of_sync": "more than one frame off after the correction",
    "sync_drift": "the offset grows along the clip",
    "sync_uncertain": "the offset cannot be told",
}
X_LABEL = "frames of 40 ms by which the picture is late"


@dataclass(frozen=True)
class SyncSection:
    """Content of the section. source: a sentence on what measured."""

    source: str
    figures: Sequence[Figure]
    table: Table
    dropped: Table | None


def section(results: Path, clips: Sequence[Row], config: Mapping[str, Any]) -> SyncSection | None:
    """The sync of the clips; None where it was not measured."""
    measured = [row for row in clips if number(row.get("sync_offset")) is not None]
    if not measured:
        return None
    shifted = [row for row in measured if number(row.get("sync_offset_before")) is not None]
    figures = [_histogram("Offsets before the correction", measured, before)]
    if shifted:
        figures.append(_histogram("Offsets after the correction", measured, after))
    else:
        figures = [_histogram("Offsets of the clips", measured, after)]
    return SyncSection(
        _source(read_json(results / SUMMARY), config),
        figures,
        _table(measured, shifted),
        _dropped(clips),
    )


def before(row: Row) -> float:
    """The offset of a measured clip as it came, in frames."""
    first = number(row.get("sync_offset_before"))
    return after(row) if first is None else first


def after(row: Row) -> float:
    """The offset of a measured clip as it is used, in frames."""
    return float(row["sync_offset"])


def verdict(clips: Sequence[Row]) -> Diagnosis | None:
    """Whether the clips that are kept are in sync; None where that was not measured."""
    offsets = numbers(filter(is_kept, clips), "sync_offset")
    if not offsets:
        return None
    share = sum(abs(offset) <= MAX_OFFSET for offset in offsets) / len(offsets)
    note = (
        f"Good from {percent(IN_SYNC_GOOD)} of the kept clips within one frame; under "
        f"{percent(IN_SYNC_FAIR)} set sync.correct: correct, or look for the cause."
    )
    level, word = "bad", "out of sync"
    if share >= IN_SYNC_FAIR:
        level, word = ("good", "in sync") if share >= IN_SYNC_GOOD else ("fair", "mostly in sync")
    figures = f"{percent(share)} of {plural(len(offsets), 'kept clip')} within one frame"
    return Diagnosis("Sync of the clips", level, word, figures, note)


def _histogram(title: str, rows: Sequence[Row], offset: Any) -> Figure:
    kept = [offset(row) for row in rows if is_kept(row)]
    dropped = [offset(row) for row in rows if not is_kept(row)]
    inside = sum(abs(x) <= MAX_OFFSET for x in (*kept, *dropped))
    note = f"{percent(inside / len(rows))} within one frame"
    label = f"{title}: {plural(len(rows), 'clip')}, {note}, from {min(map(offset, rows)):g} "
    label += f"to {max(map(offset, rows)):g} frames"
    bounds = (-MAX_OFFSET - 0.5, MAX_OFFSET + 0.5)
    svg = plots.histogram(kept, dropped, label, X_LABEL, bounds, width=1)
    legend = [("kept", "kept"), ("dropped", "dropped")] if dropped else []
    return Figure(title, svg, note, [*legend, ("threshold", "one frame")])


def _table(measured: Sequence[Row], shifted: Sequence[Row]) -> Table:
    kept = [row for row in measured if is_kept(row)]

    def shares(rows: Sequence[Row], offset: Any) -> list[str]:
        sizes = [abs(offset(row)) for row in rows]
        if not sizes:
            return [NO_VALUE] * 3
        bounds = (0, MAX_OFFSET)
        found = [percent(sum(size <= bound for size in sizes) / len(sizes)) for bound in bounds]
        return [*found, f"{max(sizes):g}"]

    rows = [
        ["all measured, before", count(len(measured)), *shares(measured, before)],
        ["all measured, after", count(len(measured)), *shares(measured, after)],
        ["kept, after", count(len(kept)), *shares(kept, after)],
    ]
    agreement = numbers(measured, "sync_agreement")
    note = f"The audio of {plural(len(shifted), 'clip')} was shifted."
    if agreement:
        note += (
            f" Agreement of the resamples: median {median(agreement):.2f}; "
            f"{percent(sum(value < 0.9 for value in agreement) / len(agreement))} of the clips "
            "are under 0.90, their offsets are less certain."
        )
    columns = ("Clips", "Number", "Offset 0", "Within 1 frame", "Largest offset")
    return Table("Offsets before and after", columns, rows, numeric=(1, 2, 3, 4), note=note)


def _dropped(clips: Sequence[Row]) -> Table | None:
    reasons = Counter(row.get("reason") for row in clips if not is_kept(row))
    rows = [[text, count(reasons[name])] for name, text in REASONS.items() if reasons[name]]
    columns = ("Reason", "Clips")
    return Table("Clips dropped for their sync", columns, rows, numeric=(1,)) if rows else None


def _source(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    model = (config.get("sync") or {}).get("model")
    if model:
        return f"Measured by {model}."
    if not summary:
        return "Measured by syncnet_v2.model."
    auc, steps = number(summary.get("auc")), number(summary.get("steps"))
    text = "Measured by the bootstrap, a SyncNet trained on these clips as they were"
    if auc is not None and steps is not None:
        text += f" ({count(steps)} steps, AUC {auc:.2f} on validation clips)"
    if not summary.get("trusted", True):
        return text + "; it has not learned enough to be trusted, so that nothing was corrected."
    found = {int(k): n for k, n in (summary.get("offsets") or {}).items()}
    off = sum(n for offset, n in found.items() if abs(offset) > MAX_OFFSET)
    if total := sum(found.values()):
        text += f"; after its first round {count(off)} of {plural(total, 'certain clip')} were "
        text += "two or more frames off"
    return text + ". Offsets are relative to that of most clips."
