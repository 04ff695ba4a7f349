"""Training curves and tables of the SyncNet and of the generators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lipsync_core.report import interactive, plots
from lipsync_core.report.blocks import NO_VALUE, Figure, Table, count, decimal, plural
from lipsync_core.report.plots import Series
from lipsync_core.report.results import curve, last, number, section_of
from lipsync_core.runtime.tables import Row
from lipsync_core.training.thresholds import CHANCE_LOSS

CHANCE = (0.5, "chance 0.5")
MAX_TABLE_ROWS = 12
OFFSET = re.compile(r"(?:val_)?offset_(\d+)(plus)?")  # a column of the metrics
Lines = Sequence[tuple[str, str, str]]  # column, name, mark
VALIDATION = ("validation", "main")
SYNCNET_LOSS = (("train_loss", "training", "faint"), ("val_loss", *VALIDATION))
L1 = (
    ("train_l1", "training", "faint"),
    ("val_l1", *VALIDATION),
    ("val_l1_reference", "reference frames", "second"),
)
SYNC_LOSS = (
    ("val_sync_loss", *VALIDATION),
    ("val_sync_loss_gt", "ground truth", "faint"),
    ("val_sync_loss_reference", "reference frames", "second"),
)
DISCRIMINATOR_LOSS = (
    ("train_disc_real", "real frames", "main"),
    ("train_disc_fake", "generated frames", "second"),
    ("train_adv_loss", "adversarial loss", "faint"),
)


def syncnet_figures(
    rows: Sequence[Row],
    evaluation: Mapping[str, Any],
    options: Mapping[str, Any],
    evaluated_on: str,
) -> list[Figure]:
    """Loss, accuracy and AUC over the steps; accuracy by offset if it was measured.

    options: the `syncnet` section of the config; tells when the training loss changes.
    evaluated_on: kind of speakers of the evaluation.
    """
    marks = phase_marks(rows, options)
    loss_chance = [(CHANCE_LOSS, "chance 0.693")]
    auc_title = "Area under the ROC curve (AUC)"
    figures = [
        _lines("Loss", rows, SYNCNET_LOSS, loss_chance, marks),
        _lines("Accuracy", rows, [("val_accuracy", *VALIDATION)], [CHANCE], marks),
        _lines(auc_title, rows, [("val_auc", *VALIDATION)], [CHANCE], marks),
        _offset_lines(rows, marks),
        _offset_bars(section_of(evaluation, "syncnet"), evaluated_on),
    ]
    return [figure for figure in figures if figure is not None]


def generator_figures(rows: Sequence[Row], metrics: Mapping[str, float]) -> list[Figure]:
    """L1, sync loss with the step from which it is used, and the discriminator of a GAN."""
    l1 = metrics.get("l1_reference")
    flat = [] if l1 is None or curve(rows, "val_l1_reference") else [(l1, f"reference {l1:.3f}")]
    chance = [(CHANCE_LOSS, "chance 0.693")]
    figures = [
        _lines("L1 to the ground truth", rows, L1, flat),
        _lines("Sync loss", rows, SYNC_LOSS, chance, weight_marks(rows)),
        _lines("Discriminator loss", rows, DISCRIMINATOR_LOSS, chance),
    ]
    return [figure for figure in figures if figure is not None]


def _lines(
    title: str,
    rows: Sequence[Row],
    columns: Lines,
    references: Sequence[tuple[float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Figure | None:
    """A chart of `columns`; None if no column has a number."""
    series = [Series(name, curve(rows, column), mark) for column, name, mark in columns]
    series = [line for line in series if line.points]
    if not series:
        return None
    legend = [(line.mark, f"{line.name} {line.points[-1][1]:.3g}") for line in series]
    label = f"{title} by step; at the last step: {', '.join(name for _, name in legend)}"
    if references:
        label += f". For comparison: {', '.join(name for _, name in references)}"
    svg = plots.line_chart(series, label, references=references, marks=marks)
    chart = interactive.chart(series, references, marks)
    return Figure(title, svg, legend=legend, chart=chart)


def phase_marks(rows: Sequence[Row], options: Mapping[str, Any]) -> list[tuple[float, str]]:
    """(step, name) at which the contrastive loss is replaced by cross entropy, if it is.

    Before it the scales of training and validation loss differ.
    """
    steps, share = number(options.get("steps")), number(options.get("bce_fraction"))
    if options.get("loss") != "contrastive+bce" or not steps or not share:
        return []
    start = round(steps * (1 - share))
    return [(start, "cross entropy")] if (last(rows, "step") or 0) > start else []


def weight_marks(rows: Sequence[Row]) -> list[tuple[float, str]]:
    """(step, name) at which `sync_weight` becomes positive, if it does."""
    points = curve(rows, "sync_weight")
    start = next((step for step, weight in points if weight > 0), None)
    if start is None or points[0][1] > 0:
        return []
    return [(start, f"used from here, weight {points[-1][1]:g}")]


def _offset_lines(rows: Sequence[Row], marks: Sequence[tuple[float, str]]) -> Figure | None:
    """Curves of `val_offset_<frames>`: distant offsets are learned first, near ones last."""
    if len(rows) < 2:
        return None
    matches = sorted(filter(None, map(OFFSET.fullmatch, rows[0])), key=lambda m: int(m[1]))
    columns = [
        (m[0], f"{m[1]}{'+' if m[2] else ''} frame{'s' * (m[1] != '1')}", f"step{index}")
        for index, m in enumerate(matches, 1)
    ]
    return _lines("Accuracy by offset of the wrong audio", rows, columns, [CHANCE], marks)


def _offset_bars(section: Mapping[str, Any], evaluated_on: str) -> Figure | None:
    """Bars of the evaluation's `accuracy_by_offset`, in frames, "10+" among them."""
    found = section.get("accuracy_by_offset") or {}
    bars = [(name, value) for name in found if (value := number(found[name])) is not None]
    if not bars:
        return None
    label = "Right audio preferred, by offset of the wrong audio: "
    label += ", ".join(f"{name} frames {value:.2f}" for name, value in bars)
    svg = plots.bar_chart(bars, label, "offset of the wrong audio in frames", [CHANCE[0]])
    note = f"fraction of faces with a better score for the right audio, {evaluated_on}"
    return Figure("Accuracy by offset, final", svg, note, [("reference", CHANCE[1])])


def metrics_table(rows: Sequence[Row], title: str) -> Table | None:
    """At most 12 evenly spaced rows of the metrics, with the last one."""
    if not rows:
        return None
    wanted = min(MAX_TABLE_ROWS, len(rows))
    chosen = sorted({round((k + 1) * len(rows) / wanted) - 1 for k in range(wanted)})
    columns = list(rows[0])
    cells = [[_cell(name, rows[index].get(name, "")) for name in columns] for index in chosen]
    note = f"{plural(len(chosen), 'row')} of {count(len(rows))}." if len(chosen) < len(rows) else ""
    heads = [Markup("<code>{}</code>").format(name) for name in columns]
    return Table(title, heads, cells, range(len(columns)), wide=True, note=note)


def _cell(column: str, text: str) -> str:
    value = number(text)
    if value is None:
        return text
    return count(value) if column == "step" else (f"{value:.4g}" if value else "0")


def generator_table(generators: Mapping[str, Mapping[str, float]], evaluated_on: str) -> Table:
    """The generators side by side, by name: their final metrics."""
    rows = []
    for name, metrics in generators.items():
        motion, silent = metrics.get("motion"), metrics.get("motion_silent_audio")
        rows.append(
            [
                name,
                count(metrics["step"]) if "step" in metrics else NO_VALUE,
                decimal(metrics.get("l1"), 4),
                decimal(metrics.get("l1_reference"), 4),
                decimal(metrics.get("sync_loss")),
                f"{silent / motion:.0%}" if motion and silent is not None else NO_VALUE,
            ]
        )
    columns = ("Generator", "Step", "L1", "L1 of the reference", "Sync loss", "Motion in silence")
    return Table(f"Generators, evaluated on: {evaluated_on}", columns, rows, range(1, 6), wide=True)
