"""Training curves and figures of the expert and of the generators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lipsync_core.corpus.split_summary import UNKNOWN
from lipsync_core.report import plots
from lipsync_core.report.blocks import Figure, Table, count, figure, plural
from lipsync_core.report.plots import Point, Series
from lipsync_core.report.results import curve, first_of, last, number, part
from lipsync_core.runtime.tables import Row
from lipsync_core.training.thresholds import CHANCE_LOSS

CHANCE = 0.5
TABLE_ROWS = 12
OFFSET = re.compile(r"(?:val_)?offset_(\d+)(plus)?")  # a column of the metrics
DISCRIMINATOR = (
    ("train_disc_real", "true frames", "main"),
    ("train_disc_fake", "generated frames", "second"),
    ("train_adv_loss", "generator against it", "faint"),
)


@dataclass(frozen=True)
class Expert:
    """What is known of the expert at its last validation; `judged_on`: on whose clips, in words."""

    step: int | None
    loss: float | None
    accuracy: float | None
    auc: float | None
    judged_on: str = UNKNOWN


@dataclass(frozen=True)
class Generator:
    """What is known of a generator at its last validation; `judged_on`: on whose clips, in words.

    `reference_*` are figures of copying the reference frame instead of generating; `gt_sync_loss`
    and `out_of_sync_loss` are the expert's sync losses of the true frames, with their own sound and
    with other sound; `discriminator` its losses on (true, generated) frames; `motion` how much
    drawn mouths move with (their sound, silence), see `evaluation.generator.reference_leakage`.
    """

    step: int | None
    l1: float | None
    reference_l1: float | None
    sync_loss: float | None
    reference_sync_loss: float | None = None
    gt_sync_loss: float | None = None
    discriminator: tuple[float, float] | None = None
    motion: tuple[float, float] | None = None
    out_of_sync_loss: float | None = None
    judged_on: str = UNKNOWN


def read_expert(
    rows: Sequence[Row], evaluation: Mapping[str, Any], validated_on: str = UNKNOWN
) -> Expert:
    """evaluation.json's `syncnet` (auc, accuracy, loss, ...) goes before the metrics.

    validated_on: whose clips those of the metrics are.
    """
    judged = part(evaluation, "syncnet")
    return Expert(
        _step(rows),
        _either(judged, rows, "loss"),
        _either(judged, rows, "accuracy"),
        _either(judged, rows, "auc"),
        _judged_on(evaluation, validated_on),
    )


def read_generator(
    variant: str,
    rows: Sequence[Row],
    evaluation: Mapping[str, Any],
    validated_on: str = UNKNOWN,
) -> Generator:
    """evaluation.json's `<variant>` (l1, l1_reference, sync_loss, ...) goes before the metrics.

    validated_on: whose clips those of the metrics are.
    """
    judged = part(evaluation, variant)
    real, fake = last(rows, "train_disc_real"), last(rows, "train_disc_fake")
    heard, silent = first_of(judged, "motion"), first_of(judged, "motion_silent_audio")
    return Generator(
        _step(rows),
        _either(judged, rows, "l1"),
        _either(judged, rows, "l1_reference"),
        _either(judged, rows, "sync_loss"),
        _either(judged, rows, "sync_loss_reference"),
        _either(judged, rows, "sync_loss_gt"),
        None if real is None or fake is None else (real, fake),
        None if not heard or silent is None else (heard, silent),
        _either(judged, rows, "sync_loss_out_of_sync"),
        _judged_on(evaluation, validated_on),
    )


def _judged_on(evaluation: Mapping[str, Any], validated_on: str) -> str:
    return str(evaluation.get("judged_on") or (UNKNOWN if evaluation else validated_on))


def _step(rows: Sequence[Row]) -> int | None:
    step = last(rows, "step")
    return None if step is None else int(step)


def _either(judged: Mapping[str, Any], rows: Sequence[Row], name: str) -> float | None:
    """`name` of the evaluation, else the last `val_<name>` of the metrics."""
    value = first_of(judged, name)
    return last(rows, f"val_{name}") if value is None else value


def expert_figures(
    rows: Sequence[Row], evaluation: Mapping[str, Any], options: Mapping[str, Any]
) -> list[Figure]:
    """Loss, accuracy and AUC over the steps; accuracy by offset where it was measured.

    `options` is the config's `syncnet` section, which tells when the training loss changes.
    """
    marks = calibration_marks(rows, options)
    chance = [(CHANCE, "chance 0.5")]
    loss = [("train_loss", "training", "faint"), ("val_loss", "validation", "main")]
    accuracy = [("val_accuracy", "validation", "main")]
    figures = [
        _lines("Loss", rows, loss, [(CHANCE_LOSS, "chance 0.693")], marks),
        _lines("Accuracy", rows, accuracy, chance, marks),
        _lines(
            "Area under the ROC curve (AUC)",
            rows,
            [("val_auc", "validation", "main")],
            chance,
            marks,
        ),
        _offset_lines(rows, marks),
        _by_offset(part(evaluation, "syncnet"), _judged_on(evaluation, UNKNOWN)),
    ]
    return [figure for figure in figures if figure is not None]


def generator_figures(rows: Sequence[Row], state: Generator) -> list[Figure]:
    """L1, sync loss with the step at which it joins, and the discriminator of a GAN."""
    l1 = [
        ("train_l1", "training", "faint"),
        ("val_l1", "validation", "main"),
        ("val_l1_reference", "copying the reference", "second"),
    ]
    copied = []
    if not curve(rows, "val_l1_reference") and state.reference_l1 is not None:
        copied = [(state.reference_l1, f"copying the reference {state.reference_l1:.3f}")]
    sync = [
        ("val_sync_loss", "validation", "main"),
        ("val_sync_loss_gt", "true frames", "faint"),
        ("val_sync_loss_reference", "copying the reference", "second"),
    ]
    disc = [(CHANCE_LOSS, "undecided 0.693")]
    figures = [
        _lines("L1 to the true frames", rows, l1, copied),
        _lines(
            "Sync loss", rows, sync, [(CHANCE_LOSS, "expert undecided 0.693")], weight_marks(rows)
        ),
        _lines("Discriminator loss", rows, list(DISCRIMINATOR), disc),
    ]
    return [figure for figure in figures if figure is not None]


def _lines(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[tuple[str, str, str]],
    references: Sequence[tuple[float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Figure | None:
    """A chart of `columns` (column, name, mark); None when no column has a number."""
    series = [Series(name, curve(rows, column), mark) for column, name, mark in columns]
    series = [line for line in series if line.points]
    if not series:
        return None
    ends = ", ".join(f"{line.name} {_end(line.points)}" for line in series)
    label = f"{title} by step; at the last step: {ends}"
    if references:
        label += f". For comparison: {', '.join(name for _, name in references)}"
    svg = plots.line_chart(series, label, references=references, marks=marks)
    legend = [(line.mark, f"{line.name} {_end(line.points)}") for line in series]
    return Figure(title, svg, legend=legend)


def _end(points: Sequence[Point]) -> str:
    return f"{points[-1][1]:.3g}"


def calibration_marks(rows: Sequence[Row], options: Mapping[str, Any]) -> list[tuple[float, str]]:
    """The step at which contrastive training gives way to cross-entropy, if it does.

    Before it the training loss is of another kind and size than the validation loss.
    """
    steps, share = number(options.get("steps")), number(options.get("bce_fraction"))
    if options.get("loss") != "contrastive+bce" or not steps or not share:
        return []
    at = round(steps * (1 - share))
    reached = last(rows, "step")
    return [(at, "calibration")] if reached is not None and reached > at else []


def weight_marks(rows: Sequence[Row]) -> list[tuple[float, str]]:
    """(step, name) at which `sync_weight` leaves zero, if it does."""
    points = curve(rows, "sync_weight")
    joins = next((step for step, weight in points if weight > 0), None)
    if joins is None or points[0][1] > 0:
        return []
    return [(joins, f"joins training, weight {points[-1][1]:g}")]


def _offset_lines(rows: Sequence[Row], marks: Sequence[tuple[float, str]]) -> Figure | None:
    """The course of `val_offset_<frames>`: far offsets are learned first, near ones last."""
    names = {name: match for name in (rows[0] if rows else {}) if (match := OFFSET.fullmatch(name))}
    ordered = sorted(names.items(), key=lambda pair: int(pair[1][1]))
    columns = [
        (name, _frames(match), f"step{index + 1}") for index, (name, match) in enumerate(ordered)
    ]
    chance = [(CHANCE, "chance 0.5")]
    figure = _lines("Accuracy by distance of the wrong sound", rows, columns, chance, marks)
    return figure if figure is not None and len(rows) > 1 else None


def _frames(match: re.Match[str]) -> str:
    """ "1 frame", "10+ frames" """
    return f"{match[1]}{'+' if match[2] else ''} frame{'' if match[1] == '1' else 's'}"


def _by_offset(judged: Mapping[str, Any], judged_on: str) -> Figure | None:
    """Bars of the evaluation's `accuracy_by_offset`: shares by frames, "10+" among them."""
    shares = judged.get("accuracy_by_offset") or {}
    bars = [(name, share) for name, value in shares.items() if (share := number(value)) is not None]
    if not bars:
        return None
    label = "Own sound preferred, by offset: "
    label += ", ".join(f"{name} frames {value:.2f}" for name, value in bars)
    svg = plots.bar_chart(bars, label, "frames to the wrong sound", [CHANCE])
    note = f"share of faces that prefer their own sound, {judged_on}"
    return Figure("The same at the end", svg, note, [("reference", "chance 0.5")])


def metrics_table(rows: Sequence[Row], title: str) -> Table | None:
    """At most 12 evenly chosen rows of the metrics, the last among them."""
    if not rows:
        return None
    wanted = min(TABLE_ROWS, len(rows))
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


def generator_table(states: Mapping[str, Generator]) -> Table:
    """The variants side by side."""
    rows = [
        [
            name,
            count(state.step) if state.step is not None else "\N{EN DASH}",
            figure(state.l1, 4),
            figure(state.reference_l1, 4),
            figure(state.sync_loss),
            f"{state.motion[1] / state.motion[0]:.0%}" if state.motion else "\N{EN DASH}",
        ]
        for name, state in states.items()
    ]
    columns = ("Generator", "Step", "L1", "L1 of copying", "Sync loss", "Motion in silence")
    whose = next((state.judged_on for state in states.values()), UNKNOWN)
    return Table(f"Generators, judged on: {whose}", columns, rows, (1, 2, 3, 4, 5), wide=True)
