"""The SyncNet section besides its curves: data check, diagnosis, calibration, worst clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_core.config import SyncNetConfig
from lipsync_core.media.timestamps import FPS
from lipsync_core.report import plots
from lipsync_core.report.blocks import Figure, Table, decimal, percent, plural
from lipsync_core.report.corpus import by_split
from lipsync_core.report.gallery import Strip, crop_strip, data_uri
from lipsync_core.report.plots import Series
from lipsync_core.report.previews import clip_preview
from lipsync_core.report.results import number, numbers, section_of
from lipsync_core.runtime.tables import Row
from lipsync_core.training.data_check.result import OUT_OF_SYNC, data_faults, has_constant_offset
from lipsync_core.training.data_facts import DataFacts, known_facts
from lipsync_core.training.diagnosis import Diagnosis, RunInfo, diagnose
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE

NUM_WORST_CLIPS = 10
# Columns of the comparison with the public SyncNet: metric, title, decimals.
COMPARED = (
    ("auc", "AUC", 3),
    ("loss", "Cross entropy", 3),
    ("accuracy", "Accuracy", 3),
    ("offset_1", "at 1 frame", 2),
    ("offset_5", "at 5 frames", 2),
    ("offset_10plus", "at 10 or more", 2),
    ("sync_loss_in_sync", "Sync loss in sync", 2),
)
WORST_BYTES = 6_000_000  # of their previews together; usual are 0.1 MB a clip
MIN_OFFSET = 2  # frames from which a clip is called out of sync
SUMMARY = {
    "good": "can be learned",
    "none": "not certain",
    "fair": "can be tried",
    "bad": "cannot be learned",
}
# Unusual measures of a clip: column, sign (1: above, -1: below), threshold, text.
UNUSUAL_MEASURES = (
    ("coverage", -1, 0.9, "a face in only {0:.0%} of its frames: is it hidden or not detected?"),
    ("tracks", 1, 1, "{0:.0f} faces: is this the speaker?"),
    ("silence_ratio", 1, 0.5, "{0:.0%} of it is silent: is there enough speech?"),
    ("loudness", -1, -40, "quiet, {0:.0f} dBFS: is the speech louder than the noise?"),
    ("face_px", -1, 80, "a small face, {0:.0f} pixels: are the lips visible?"),
    ("head_speed", 1, 1, "fast head motion: are the lips blurred?"),
    ("sharpness", -1, 30, "blurred frames"),
    ("brightness", -1, 50, "dark frames"),
)


@dataclass(frozen=True)
class WorstClip:
    """A clip with a large loss; `strip` is None if its crops cannot be shown.

    video: some seconds of it as a data URI, "" where there is none.
    """

    clip: str
    split: str
    loss: float
    word: str
    strip: Strip | None
    video: str = ""


def data_check_verdicts(data_check: Mapping[str, Any], auc: float | None = None) -> list[Diagnosis]:
    """The results of the data check.

    auc: of the SyncNet that was trained since; a usable one refutes failed checks except that of
    the offset, because a SyncNet can learn a wrong offset.
    """
    verdicts = []
    for check in data_check.get("checks") or []:
        found = Diagnosis(**check | {"name": check["name"].capitalize()})
        if found.level == "bad" and (auc or 0) >= AUC_USABLE and found.word != OUT_OF_SYNC:
            note = f"The training has refuted this: AUC {auc:.2f}."
            found = Diagnosis(found.name, "none", found.word, found.figures, note)
        verdicts.append(found)
    return verdicts


def data_check_summary(data_check: Mapping[str, Any], auc: float | None = None) -> Diagnosis | None:
    """The data check in one verdict; None if it was off.

    auc: of the SyncNet that was trained since: its result counts more than the data check, except
    for clips that are out of sync.
    """
    checks = data_check_verdicts(data_check)
    if not checks:
        return None
    results = "; ".join(f"{check.name.lower()}: {check.word}" for check in checks)
    if auc is not None:
        if auc < AUC_CHANCE:
            level, word = "bad", "not learned"
        elif has_constant_offset(data_check):
            level, word = "bad", "learned, but out of sync"
        else:
            level, word = ("good", "learned") if auc >= AUC_USABLE else ("fair", "partly learned")
        note = "The result of the training counts more than the data check before it."
        return Diagnosis("Data check", level, word, f"AUC {auc:.2f}; data check: {results}", note)
    level = str(data_check.get("verdict"))
    note = (
        "Before training: enough data, SyncNet memorizes 32 windows, mouths move with the audio at "
        "an offset of at most two frames."
    )
    return Diagnosis("Data check", level, SUMMARY[level], results, note)


def data_check_figures(data_check: Mapping[str, Any]) -> list[Figure]:
    """Audio-visual correlation by offset; number of clips by measured offset."""
    offsets = data_check.get("offsets") or {}
    correlations = offsets.get("correlations") or []
    x_label, figures = "frames by which the video is late", []
    if correlations:
        best = offsets["offset"]
        points = [(index - len(correlations) // 2, y) for index, y in enumerate(correlations)]
        marks = [(best, f"best at {best:+d}" if best else "best at 0")] if offsets["found"] else []
        label = f"Correlation of mouths and audio by offset, highest at {best} frames"
        svg = plots.line_chart([Series("correlation", points)], label, x_label, (), marks)
        note = "measured without a network; in sync: one clear peak near 0"
        figures.append(Figure("Do mouths move with the audio?", svg, note))
    clips = {int(offset): count for offset, count in (offsets.get("clips") or {}).items()}
    if clips:
        bars = [(str(k), clips.get(k, 0)) for k in range(min(clips), max(clips) + 1)]
        label = "Clips by offset: " + ", ".join(f"{name}: {count}" for name, count in bars)
        svg = plots.bar_chart(bars, label, x_label)
        figures.append(Figure("Clips by offset", svg, "measured by a trained network"))
    return figures


def calibration_figure(evaluation: Mapping[str, Any]) -> Figure | None:
    """The reliability diagram of the splits in evaluation.json."""
    section = section_of(evaluation, "syncnet")
    curves = {
        split: [(point["mean"], point["positive_fraction"]) for point in points]
        for split, points in (section.get("calibration") or {}).items()
        if points
    }
    if not curves:
        return None
    series = [
        Series(split, curves[split], mark)
        for split, mark in zip(reversed(curves), ("main", "second"), strict=False)
    ]
    label = "Fraction of pairs in sync by the cosine of the SyncNet"
    ideal = Series("ideal", [(0, 0), (1, 1)], "ideal")
    svg = plots.line_chart([*series, ideal], label, "cosine of the SyncNet")
    note = "fraction of pairs in sync; on the dashed line a cosine of 0.7 is right 7 times in 10"
    if (ece := number(section.get("ece"))) is not None:
        note += f"; mean gap {decimal(ece, 2)}"
    return Figure("Calibration", svg, note, [(line.mark, line.name) for line in series])


def comparison_table(comparison: Mapping[str, Any]) -> Table | None:
    """The SyncNets of syncnet/comparison.json, a row each; None for {}."""
    if not comparison:
        return None
    best, rows = comparison["best"], []
    for name, found in comparison["networks"].items():
        figures = [decimal(number(found.get(column)), digits) for column, _, digits in COMPARED]
        label = f"{name} (width {found['width']:g}){' - better' if name == best else ''}"
        rows.append([label, *figures])
    note = (
        f"{comparison['clips']} validation clips ({comparison['evaluated_on']}), same pairs; "
        "the higher AUC is the better one, which `generator.syncnet: best` takes."
    )
    columns = ("SyncNet", *(title for _, title, _ in COMPARED))
    numeric = range(1, len(columns))
    return Table("Trained here and public", columns, rows, numeric, note=note, wide=True)


def diagnosis(
    rows: Sequence[Row],
    options: Mapping[str, Any],
    clips: Sequence[Row],
    data_check: Mapping[str, Any],
) -> Diagnosis:
    """Diagnosis of the training, as in its log. options: the `syncnet` section of the config."""
    parts = by_split(clips)
    train, val = ([row for row in parts if row["split"] == name] for name in ("train", "val"))
    speakers, validated = ({row.get("speaker") for row in part} for part in (train, val))
    minutes = sum(numbers(train, "seconds")) / 60
    facts = known_facts(data_check) or DataFacts(len(speakers), minutes, validated <= speakers)
    faults = data_faults(data_check), has_constant_offset(data_check)
    return diagnose(rows, RunInfo(SyncNetConfig(**options), facts, *faults))


def worst_clips(
    results: Path, evaluation: Mapping[str, Any], clips: Sequence[Row], auc: float | None
) -> list[WorstClip]:
    """The ten clips of validation and test with the largest loss. auc: of the SyncNet."""
    found = [
        (split, entry)
        for split, entries in (section_of(evaluation, "syncnet").get("per_clip") or {}).items()
        for entry in entries
        if number(entry.get("loss")) is not None
    ]
    found.sort(key=lambda pair: -pair[1]["loss"])
    rows = {row.get("clip"): row for row in clips}
    usable, left, worst = (auc or 0) >= AUC_USABLE, WORST_BYTES, []
    for split, entry in found[:NUM_WORST_CLIPS]:
        clip = entry["clip"]
        strip = crop_strip(results / "faces" / f"{clip}.zip", clip)
        video = clip_preview(results, clip, split) if strip else b""
        video = video if len(video) <= left else b""
        left -= len(video)
        word = possible_fault(entry, rows.get(clip, {}), usable)
        uri = data_uri(video, "video/mp4") if video else ""
        worst.append(WorstClip(clip, split, entry["loss"], word, strip, uri))
    return worst


def possible_fault(entry: Mapping[str, Any], row: Row, usable: bool) -> str:
    """What may be wrong with a clip, "" if nothing is unusual.

    usable: the SyncNet is good enough for its audio-visual offset to be reliable.
    """
    offset = number(entry.get("offset"))
    if usable and offset is not None and abs(offset) >= MIN_OFFSET:
        return (
            f"best match with the video {plural(int(abs(offset)), 'frame')} "
            f"({abs(offset) / FPS:.2f} s) {'late' if offset > 0 else 'early'}: out of sync?"
        )
    for column, sign, threshold, text in UNUSUAL_MEASURES:
        value = number(row.get(column))
        if value is not None and sign * value > sign * threshold:
            return text.format(value)
    return ""


def worst_summary(loss: float | None, worst: Sequence[WorstClip]) -> str:
    """A sentence that compares the worst clips with the mean `loss`."""
    if not worst or loss is None:
        return ""
    far = [clip for clip in worst if clip.loss > 2 * loss]
    if not far:
        return f"None is far from the mean of {decimal(loss, 2)}."
    return f"The mean is {decimal(loss, 2)}; {percent(len(far) / len(worst))} are over twice that."
