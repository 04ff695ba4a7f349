"""What is shown of the expert beside its curves: the gate before its training, how sure it may be
of itself, how the training went, and the clips that it judges worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_core.media.timestamps import FPS
from lipsync_core.report import plots
from lipsync_core.report.blocks import Figure, figure, percent, plural
from lipsync_core.report.corpus import by_split
from lipsync_core.report.curves import Expert
from lipsync_core.report.gallery import Strip, crop_strip
from lipsync_core.report.plots import Series
from lipsync_core.report.results import last, number, numbers, part
from lipsync_core.report.verdicts import Verdict
from lipsync_core.runtime.tables import Row
from lipsync_core.training import diagnosis
from lipsync_core.training.data_check.result import OUT_OF_SYNC, data_faults, has_constant_offset
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE

LEVELS = ("good", "fair", "bad", "none")
WORST = 10
OFF = 2  # frames of offset from which a clip is called out of sync
# What of a clip's measures is worth a look: column, below or above which value, in words.
ODD = (
    ("coverage", "below", 0.9, "a face in only {0:.0%} of its frames: is it lost or hidden?"),
    ("tracks", "above", 1, "{0:.0f} faces: is this the one who speaks?"),
    ("silence_ratio", "above", 0.5, "{0:.0%} of it is silent: is there enough speech?"),
    ("loudness", "below", -40, "quiet, {0:.0f} dBFS: noise may drown the voice"),
    ("face_px", "below", 80, "a small face, {0:.0f} pixels: are the lips to be seen?"),
    ("head_speed", "above", 1, "the head moves fast: are the lips blurred?"),
    ("sharpness", "below", 30, "the picture is blurred"),
    ("brightness", "below", 50, "the picture is dark"),
)


@dataclass(frozen=True)
class WorstClip:
    """A clip that the expert judges badly; `strip` is None when its crops cannot be shown."""

    clip: str
    split: str
    loss: float
    word: str
    strip: Strip | None


def data_check_verdicts(
    data_check: Mapping[str, Any], expert: Expert | None = None
) -> list[Verdict]:
    """The gate's checks: what was found in `figures`, what to do in `rule`.

    expert: the one that was trained since; a usable one answers the doubts but that of the offset.
    """
    return [_checked(check, expert) for check in data_check.get("checks") or []]


def _checked(check: Mapping[str, Any], expert: Expert | None) -> Verdict:
    name, word, figures, rule = (
        str(check.get(key, "")) for key in ("name", "word", "figures", "remedy")
    )
    level = check["level"] if check.get("level") in LEVELS else "none"
    learned = expert is not None and expert.auc is not None and expert.auc >= AUC_USABLE
    if level == "bad" and learned and word != OUT_OF_SYNC:
        level, rule = "none", f"The training has answered this: AUC {expert.auc:.2f}."
    return Verdict(name.capitalize(), level, word, figures, rule)


def data_check_summary(
    data_check: Mapping[str, Any], expert: Expert | None = None
) -> Verdict | None:
    """The gate in one row; None where it did not look.

    A forecast until there is an expert; then what its training showed goes before it. Only clips
    that are out of sync remain so: an expert can learn a wrong offset well.
    """
    checks = data_check_verdicts(data_check)
    if not checks:
        return None
    said = "; ".join(f"{check.part.lower()}: {check.word}" for check in checks)
    if expert is not None and expert.auc is not None:
        level, word = _outcome(expert.auc, has_constant_offset(data_check))
        rule = "What the training showed goes before what the data check expected of it."
        return Verdict("Data check", level, word, f"AUC {expert.auc:.2f}; expected: {said}", rule)
    rule = (
        "Looked at before training: enough data, 32 windows learnt by heart, mouths that move with "
        "the sound within two frames."
    )
    words = {
        "good": "can be learned",
        "none": "not all can be told",
        "fair": "can be tried",
        "bad": "trouble ahead",
    }
    level = str(data_check.get("verdict"))
    level = level if level in words else "none"
    return Verdict("Data check", level, words[level], said, rule)


def _outcome(auc: float, out_of_sync: bool) -> tuple[str, str]:
    """Level and word for an expert that has been trained."""
    if auc < AUC_CHANCE:
        return "bad", "not learned"
    if out_of_sync:
        return "bad", "learned, but out of sync"
    return ("good", "learned") if auc >= AUC_USABLE else ("fair", "learned in part")


def data_check_figures(data_check: Mapping[str, Any]) -> list[Figure]:
    """How well mouths and sound move together by offset; clips by measured offset."""
    offsets = data_check.get("offsets") or {}
    values = [number(value) for value in offsets.get("correlations") or []]
    figures = []
    if values and None not in values:
        most = len(values) // 2
        best = int(number(offsets.get("offset")) or 0)
        points = [(index - most, value) for index, value in enumerate(values)]
        marks = [(best, f"best at {best:+d}" if best else "best at 0")] if offsets["found"] else []
        label = f"Correlation of mouths and sound by offset, highest at {best} frames"
        svg = plots.line_chart(
            [Series("correlation", points)], label, "frames that the picture comes late", (), marks
        )
        note = "measured without a network; in sync: one clear peak near 0"
        figures.append(Figure("Do mouths move with the sound?", svg, note))
    clips = {int(offset): count for offset, count in (offsets.get("clips") or {}).items()}
    if clips:
        bars = [(str(k), clips.get(k, 0)) for k in range(min(clips), max(clips) + 1)]
        label = "Clips by offset: " + ", ".join(f"{name}: {count}" for name, count in bars)
        svg = plots.bar_chart(bars, label, "frames that the picture comes late")
        figures.append(Figure("Clips by offset", svg, "measured by a trained network"))
    return figures


def calibration_figure(evaluation: Mapping[str, Any]) -> Figure | None:
    """The reliability diagram of the splits that evaluation.json has."""
    judged = part(evaluation, "syncnet")
    found = [
        (split, [(point["mean"], point["positive_fraction"]) for point in curve])
        for split, curve in (judged.get("calibration") or {}).items()
        if curve
    ]
    if not found:
        return None
    series = [
        Series(split, points, mark)
        for (split, points), mark in zip(reversed(found), ("main", "second"), strict=False)
    ]
    label = "Share of pairs in sync by the expert's cosine"
    svg = plots.line_chart(
        [*series, Series("ideal", [(0, 0), (1, 1)], "ideal")], label, "cosine of the expert"
    )
    gap = number(judged.get("ece"))
    note = "share of pairs in sync; on the dashed line a cosine of 0.7 is right 7 times in 10"
    if gap is not None:
        note += f"; mean gap {figure(gap, 2)}"
    legend = [(line.mark, line.name) for line in series]
    return Figure("Calibration", svg, note, legend)


def course(
    rows: Sequence[Row],
    options: Mapping[str, Any],
    clips: Sequence[Row],
    data_check: Mapping[str, Any],
) -> diagnosis.Diagnosis:
    """How the training went, as its log said; options: the `syncnet` section of the config."""
    parts = by_split(clips)
    train, val = ([row for row in parts if row["split"] == name] for name in ("train", "val"))
    speakers, judged = ({row.get("speaker") for row in part} for part in (train, val))
    facts = diagnosis.RunInfo(
        steps=int(number(options.get("steps")) or last(rows, "step") or 0),
        loss=str(options.get("loss") or "contrastive+bce"),
        windows=int(number(options.get("windows_per_clip")) or 12),
        speakers=len(speakers),
        minutes=sum(numbers(train, "seconds")) / 60,
        found=data_faults(data_check),
        optimizer=str(options.get("optimizer") or "muon"),
        lr=number(options.get("lr")) or 0.0,
        seen=judged <= speakers,
        out_of_sync=has_constant_offset(data_check),
    )
    return diagnosis.diagnose(rows, facts)


def worst_clips(
    results: Path, evaluation: Mapping[str, Any], clips: Sequence[Row], expert: Expert
) -> list[WorstClip]:
    """The ten clips of validation and test with the largest loss, the worst first."""
    judged = part(evaluation, "syncnet")
    found = [
        (split, entry)
        for split, entries in (judged.get("per_clip") or {}).items()
        for entry in entries
        if number(entry.get("loss")) is not None
    ]
    found.sort(key=lambda pair: -pair[1]["loss"])
    rows = {row.get("clip"): row for row in clips}
    usable = expert.auc is not None and expert.auc >= AUC_USABLE
    return [
        WorstClip(
            entry["clip"],
            split,
            entry["loss"],
            what_to_look_at(entry, rows.get(entry["clip"], {}), usable),
            crop_strip(results / "faces" / f"{entry['clip']}.zip", entry["clip"]),
        )
        for split, entry in found[:WORST]
    ]


def what_to_look_at(entry: Mapping[str, Any], row: Row, usable: bool) -> str:
    """A word on what may be wrong with a clip, "" when nothing is odd.

    usable: the expert is good enough for the offset that it finds to mean something.
    """
    offset = number(entry.get("offset"))
    if usable and offset is not None and abs(offset) >= OFF:
        side = "late" if offset > 0 else "early"
        return (
            f"fits best with the picture {plural(int(abs(offset)), 'frame')} "
            f"({abs(offset) / FPS:.2f} s) {side}: out of sync?"
        )
    for column, side, bound, words in ODD:
        value = number(row.get(column))
        if value is not None and (value < bound if side == "below" else value > bound):
            return words.format(value)
    return ""


def spread(expert: Expert, worst: Sequence[WorstClip]) -> str:
    """A sentence that sets the worst clips beside the rest."""
    if not worst or expert.loss is None:
        return ""
    far = [clip for clip in worst if clip.loss > 2 * expert.loss]
    if not far:
        return f"None is far from the mean of {figure(expert.loss, 2)}: no clip stands out."
    share = percent(len(far) / len(worst))
    return f"The mean is {figure(expert.loss, 2)}; {share} of these are over twice that."
