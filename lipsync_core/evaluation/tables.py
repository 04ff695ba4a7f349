"""Tables of an evaluation: text for people, rows for evaluation.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lipsync_core.evaluation.summary import Metric, metrics_of

TABLE_COLUMNS = ["protocol", "group", "system", "metric", "value", "low", "high", "n", "closeness"]


def text_report(report: Mapping[str, Any]) -> str:
    """The means, the rankings that fail and the agreement of the judges, as text."""
    judges = list(report["judges"])
    lines = [f"evaluated on {report['evaluated_on']} ({report['split']} split)"]
    lines += [f"judge {name}: {j['description']}" for name, j in report["judges"].items()]
    for protocol, systems in report["protocols"].items():
        lines += ["", f"== {protocol} ==", text_table(systems, metrics_of(judges))]
        lines += [
            f"{name}: {system['scored']} of {system['clips']} clips scored"
            + "".join(f", {reason} {count}" for reason, count in system["failed"].items())
            for name, system in systems.items()
            if system["failed"]
        ]
    found = [
        ranking
        for metrics in report["rankings"].values()
        for own in metrics.values()
        for ranking in own.values()
    ]
    right = sum(ranking["as_expected"] for ranking in found)
    apart = sum(ranking["separates"] for ranking in found)
    lines += ["", f"{apart} of {len(found)} rankings have ground truth > generator > both others"]
    lines += [f"{right} of {len(found)} rankings as expected; not so:"]
    lines += [f"  {ranking['text']}" for ranking in found if not ranking["as_expected"]]
    lines += [pair["text"] for pair in report["agreement"]]
    lines.append(f"FID: {report['fid']['reason']}")
    return "\n".join(lines)


def text_intervals(report: Mapping[str, Any]) -> str:
    """All figures with their 95 % intervals, as text."""
    metrics = metrics_of(report["judges"])
    return "\n\n".join(
        f"== {protocol}: means with 95 % intervals ==\n{interval_table(systems, metrics)}"
        for protocol, systems in report["protocols"].items()
    )


def table_rows(protocols: Mapping[str, Any], groups: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of evaluation.csv: see `TABLE_COLUMNS`."""
    blocks = [(protocol, "", systems) for protocol, systems in protocols.items()]
    blocks += [
        (protocol, f"{column}={value}", systems)
        for protocol, columns in groups.items()
        for column, values in columns.items()
        for value, systems in values.items()
    ]
    return [
        [protocol, group, system, metric, *(entry[k] for k in TABLE_COLUMNS[4:])]
        for protocol, group, systems in blocks
        for system, found in systems.items()
        for metric, entry in found["metrics"].items()
    ]


def text_table(systems: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """The means for people: a line a metric, a column a system."""
    widths = [max(9, len(name)) + 2 for name in systems]
    names = zip(systems, widths, strict=True)
    lines = [" " * 28 + "".join(f"{name:>{width}}" for name, width in names)]
    for metric in metrics:
        entries = [system["metrics"].get(metric.name) for system in systems.values()]
        if any(entries):
            cells = zip(entries, widths, strict=True)
            row = "".join(f"{e['value']:{width}.4g}" if e else " " * width for e, width in cells)
            lines.append(f"{metric.name:28s}{row}")
    return "\n".join(lines)


def interval_table(systems: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """All figures for people: a block a metric, a line a system with its interval."""
    lines = []
    for metric in metrics:
        shown = {
            name: s["metrics"][metric.name]
            for name, s in systems.items()
            if metric.name in s["metrics"]
        }
        if shown:
            lines.append(f"{metric.name}: {metric.text} (better: {metric.better})")
            lines += [f"  {name:32s}{_cell(entry)}" for name, entry in shown.items()]
    return "\n".join(lines)


def _cell(entry: Mapping[str, Any]) -> str:
    text = f"{entry['value']:10.4g}"
    if entry["low"] is not None:
        text += f"  [{entry['low']:.4g}, {entry['high']:.4g}] over {entry['units']} {entry['by']}s"
    if entry.get("closeness") is not None:
        text += f", closeness {entry['closeness']:.2f}"
    return text
