"""Comparison of two evaluations: the difference of each metric with its 95 % interval.

Paired where both runs were evaluated on the same clips: the interval is that of the clips'
differences, by speaker, which is much narrower than that of two independent means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import statistics
from lipsync_core.evaluation.output import rounded
from lipsync_core.evaluation.protocols import GROUND_TRUTH, H264, REFERENCE, SHUFFLED, SILENT
from lipsync_core.evaluation.summary import JUDGED, Metric, metrics_of
from lipsync_core.runtime.files import file_sha
from lipsync_core.runtime.tables import Row, read_table

MIN_SHARED = 0.8  # share of the clips of either run that the other must have, to pair them
NO_DIFFERENCE, OTHER_JUDGE = "no difference shown", "not comparable: each run has its own judge"
NO_INTERVAL = "no interval: too few clips or one figure a run"
SHARED_JUDGE = "syncnet_v2"  # the same weights in every run


class Comparison(NamedTuple):
    """One metric of both runs.

    difference: b - a. low, high: its 95 % interval, nan if there is none. units: number of speakers
    or clips (`by`) that it is over; both runs' together where it is not `paired`.
    """

    protocol: str
    system: str
    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    units: int
    by: str
    paired: bool
    verdict: str


class Run(NamedTuple):
    """An evaluation: evaluation.json, the rows of evaluation_clips.csv and the judges' SHA-256."""

    name: str
    report: dict[str, Any]
    rows: list[Row]
    judges: dict[str, str]


def read_run(folder: Path) -> Run:
    """The evaluation of a results folder. Raises LipsyncError when it has none."""
    path, table = folder / "evaluation.json", folder / "evaluation_clips.csv"
    for needed in (path, table):
        if not needed.is_file():
            raise LipsyncError(
                f"{needed}: missing; give a results folder that the rule `evaluate` has written, "
                "or evaluate again"
            )
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LipsyncError(f"{path}: not valid JSON ({error}); evaluate again") from error
    weights = {
        name: folder / name / "checkpoint.pth" for name in report.get("judges") or {}
    }  # the folder of a judge has its name
    judges = {name: file_sha(file) for name, file in weights.items() if file.is_file()}
    return Run(str(folder), report, read_table(table), judges)


def compare(first: Run, second: Run, seed: int = 0) -> list[Comparison]:
    """All metrics of both runs, generators first; deterministic."""
    judges = [name for name in first.report["judges"] if name in second.report["judges"]]
    found = []
    groups = [_by_system(run.rows) for run in (first, second)]
    shared = [key for key in groups[0] if key in groups[1]]
    for protocol, system in sorted(shared, key=_order):
        rows = groups[0][protocol, system], groups[1][protocol, system]
        for metric in metrics_of(judges):
            own = _compare_metric(*rows, metric, seed)
            if own is None:
                continue
            verdict = _verdict(metric, own, _truths(groups, protocol, metric))
            if metric.name.startswith(JUDGED) and not _same_judge(first, second, metric):
                verdict = OTHER_JUDGE
            found.append(Comparison(protocol, system, metric.name, *own, verdict))
    return found + _single_figures(first.report, second.report)


def _order(key: tuple[str, str]) -> tuple[str, int]:
    """same_audio before crossed_audio, generators before the rows that they are compared with."""
    protocol, system = key
    beside = system.startswith((GROUND_TRUTH, REFERENCE)) or system.endswith((SHUFFLED, SILENT))
    return ("" if protocol == "same_audio" else protocol, beside + system.startswith(H264))


def _by_system(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["protocol"], row["system"]), []).append(row)
    return groups


def _value(row: Row, metric: str) -> float:
    text = row.get(metric, "")
    return float({"True": 1, "False": 0}.get(text, text)) if text != "" else math.nan


def _compare_metric(
    first: Sequence[Row], second: Sequence[Row], metric: Metric, seed: int
) -> tuple[Any, ...] | None:
    """The fields of `Comparison` from `a` to `paired`; None where a run has no value."""
    values = [
        {(row["clip"], row["audio"]): (_value(row, metric.name), row["speaker"]) for row in rows}
        for rows in (first, second)
    ]
    values = [{k: v for k, v in own.items() if math.isfinite(v[0])} for own in values]
    if not all(values):
        return None
    both = [key for key in values[0] if key in values[1]]
    if len(both) >= MIN_SHARED * max(map(len, values)):
        a, b = ([own[key][0] for key in both] for own in values)
        speakers = [values[0][key][1] for key in both]
        found = statistics.interval([y - x for x, y in zip(a, b, strict=True)], speakers, seed)
        means = (statistics.unit_means(own, speakers)[0].mean() for own in (a, b))
        return (*map(float, means), *found[:3], found.units, found.by, True)
    (a, by), (b, other) = (
        statistics.unit_means(*zip(*own.values(), strict=True)) for own in values
    )
    low, high = statistics.difference(a, b, seed)
    by = by if by == other else "speaker and clip"
    mean = float(b.mean() - a.mean())
    return (float(a.mean()), float(b.mean()), mean, low, high, len(a) + len(b), by, False)


def _truths(groups: Sequence[Mapping], protocol: str, metric: Metric) -> list[float]:
    """The ground truth's mean in each run, nan where it has none."""
    means = []
    for own in groups:
        rows = own.get((protocol, GROUND_TRUTH), [])
        speakers = [row["speaker"] for row in rows]
        units, _ = statistics.unit_means([_value(row, metric.name) for row in rows], speakers)
        means.append(float(units.mean()) if len(units) else math.nan)
    return means


def _verdict(metric: Metric, found: Sequence[Any], truths: Sequence[float]) -> str:
    a, b, mean, low, high = found[:5]
    if not math.isfinite(low):
        return NO_INTERVAL
    if low <= 0 <= high:
        return NO_DIFFERENCE
    word = "higher" if mean > 0 else "lower"
    if metric.better == "gt":
        gaps = abs(a - truths[0]), abs(b - truths[1])
        if not all(map(math.isfinite, gaps)) or gaps[0] == gaps[1]:
            return f"B is {word}"
        nearer = "nearer to" if gaps[1] < gaps[0] else "farther from"
        return f"B is {word}, {nearer} the ground truth"
    better = (mean > 0) == (metric.better == "high")
    return f"B is {word}: {'better' if better else 'worse'}"


def _same_judge(first: Run, second: Run, metric: Metric) -> bool:
    """Whether one network judged both runs: other networks have other distances."""
    name = metric.name.removeprefix("distance_").removeprefix("confidence_")
    name = name.removeprefix("in_sync_")
    if name == SHARED_JUDGE:
        return True
    return name in first.judges and first.judges[name] == second.judges.get(name)


def _single_figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Comparison]:
    """Figures of evaluation.json that exist once a run: SyncNet's and the generators'."""
    sections = [("syncnet", first.get("syncnet") or {}, second.get("syncnet") or {})]
    ours, theirs = first.get("generators") or {}, second.get("generators") or {}
    sections += [(name, ours[name], theirs[name]) for name in ours if name in theirs]
    return [
        Comparison(
            *("training", system, name, float(a[name]), float(b[name])),
            *(float(b[name] - a[name]), math.nan, math.nan, 0, "run", False, NO_INTERVAL),
        )
        for system, a, b in sections
        for name in a
        if name in b and all(type(own[name]) in (int, float) for own in (a, b))
        if name not in ("width", "image_size", "parameters")
    ]


def text_table(first: Run, second: Run, found: Sequence[Comparison]) -> str:
    """The comparison for people, a block a protocol and system."""
    lines = [f"A: {first.name} ({_about(first)})", f"B: {second.name} ({_about(second)})"]
    lines += ["difference: B - A with its 95 % interval"]
    shown = None
    for row in found:
        if (row.protocol, row.system) != shown:
            shown = row.protocol, row.system
            how = f" ({'paired' if row.paired else 'unpaired'}, {row.units} {row.by}s)"
            lines += ["", f"== {row.protocol}: {row.system}{how if row.units else ''} =="]
            lines.append(f"{'metric':28s}{'A':>10s}{'B':>10s}{'difference':>12s}")
        low_high = f"[{row.low:.4g}, {row.high:.4g}]" if math.isfinite(row.low) else ""
        verdict = "" if row.protocol == "training" else row.verdict
        lines.append(
            f"{row.metric:28s}{row.a:10.4g}{row.b:10.4g}{row.difference:12.4g}  "
            f"{low_high:24s}{verdict}".rstrip()
        )
    return "\n".join([*lines, "", *_notes(found)])


def _about(run: Run) -> str:
    report = run.report
    return f"{report['clips']} clips, {report['evaluated_on']}, {report['split']} split"


def _notes(found: Sequence[Comparison]) -> list[str]:
    tested = [row for row in found if math.isfinite(row.low) and row.verdict != OTHER_JUDGE]
    told = [row for row in tested if row.verdict != NO_DIFFERENCE]
    notes = [
        f"{len(tested)} differences have an interval, {len(told)} of them exclude 0; about "
        f"{len(tested) / 20:.0f} would by chance if the runs were equal."
    ]
    if any(row.verdict == OTHER_JUDGE for row in found):
        notes.append(
            "Sync by the runs' own SyncNets cannot be compared: put syncnet_v2.model into models/, "
            "or judge both runs' videos with `lipsync evaluate`."
        )
    if any(row.by == "clip" for row in tested):
        notes.append("Intervals over clips (fewer than 6 speakers) say nothing of other speakers.")
    return notes


def as_json(first: Run, second: Run, found: Sequence[Comparison]) -> dict[str, Any]:
    """The comparison as a dict for JSON; nan becomes None."""
    return {
        "a": first.name,
        "b": second.name,
        "comparisons": rounded([row._asdict() for row in found]),
        "notes": _notes(found),
    }
