"""The evaluation on the page: metrics with intervals, rankings that fail, judges that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lipsync_core.evaluation.summary import Metric, metrics_of
from lipsync_core.report import plots
from lipsync_core.report.blocks import NO_VALUE, Figure, Table, count, plural
from lipsync_core.report.results import number
from lipsync_core.training.diagnosis import Diagnosis

NAMES = {
    "ground_truth": "ground truth",
    "ground_truth_h264": "ground truth, re-encoded",
    "copied_reference": "copied reference",
}
PROTOCOLS = {
    "same_audio": "Audio of the same clip",
    "crossed_audio": "Audio of another speaker",
}
BETTER = {"low": "lower is better", "high": "higher is better", "gt": "best near the ground truth"}
PLOTTED = (
    *("mouth_l1", "mouth_ssim", "sharpness", "motion"),
    *("loudness_correlation", "silent_lip_motion"),
)


@dataclass(frozen=True)
class Protocol:
    """One protocol. tables: by kind of metric; groups: by columns of clips.csv."""

    title: str
    text: str
    figures: Sequence[Figure]
    tables: Sequence[Table]
    groups: Sequence[Table]


@dataclass(frozen=True)
class EvaluationSection:
    """Content of the section. agreement: a verdict for each pair of judges.

    failing: rankings that are not as expected; rankings: how many are.
    """

    judges: Table
    agreement: Sequence[Diagnosis]
    protocols: Sequence[Protocol]
    rankings: str
    failing: Sequence[str]


def section(evaluation: Mapping[str, Any]) -> EvaluationSection | None:
    """The section of evaluation.json; None where it has no protocols."""
    if not evaluation.get("protocols"):
        return None
    judges = list(evaluation.get("judges") or {})
    rankings = _rankings(evaluation)
    right = sum(ranking["as_expected"] for ranking in rankings)
    return EvaluationSection(
        _judges_table(evaluation),
        [_agreement(pair) for pair in evaluation.get("agreement") or []],
        [
            _protocol(name, systems, judges, (evaluation.get("groups") or {}).get(name) or {})
            for name, systems in evaluation["protocols"].items()
        ],
        f"{right} of {plural(len(rankings), 'ranking')} as expected: ground truth, then the "
        "generator, then the copied reference, then shuffled audio.",
        [ranking["text"] for ranking in rankings if not ranking["as_expected"]],
    )


def verdict(evaluation: Mapping[str, Any]) -> Diagnosis | None:
    """How many of the metrics order the systems as expected; None without rankings."""
    rankings = _rankings(evaluation)
    if not rankings:
        return None
    right = sum(ranking["as_expected"] for ranking in rankings)
    level = "good" if right == len(rankings) else "fair" if 2 * right >= len(rankings) else "bad"
    words = {"good": "as expected", "fair": "partly as expected", "bad": "mostly not as expected"}
    note = (
        "Expected for each metric: ground truth > generator > copied reference > shuffled audio; "
        "the metrics that fail are listed under “Evaluation”."
    )
    figures = f"{right} of {plural(len(rankings), 'ranking')} as expected"
    return Diagnosis("Rankings", level, words[level], figures, note)


def _rankings(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        ranking | {"text": f"{PROTOCOLS.get(protocol, protocol)}: {ranking['text']}"}
        for protocol, metrics in (evaluation.get("rankings") or {}).items()
        for own in metrics.values()
        for ranking in own.values()
    ]


def system_name(system: str) -> str:
    """A system in words."""
    name = NAMES.get(system, system)
    for end, words in (("_shuffled_audio", "shuffled audio"), ("_silent_audio", "silent audio")):
        if name.endswith(end):
            return f"{name.removesuffix(end)}, {words}"
    return name


def _judges_table(evaluation: Mapping[str, Any]) -> Table:
    rows = [
        [name, judge["description"], "yes: it favors them" if judge["is_loss"] else "no"]
        for name, judge in (evaluation.get("judges") or {}).items()
    ]
    columns = ("Judge of sync", "What it is", "Loss of the generators")
    note = ""
    if len(rows) < 2:
        note = "One judge alone, and it trained the generators: set evaluate.second_judge_steps."
    return Table("Judges of sync", columns, rows, stack=True, note=note)


def _agreement(pair: Mapping[str, Any]) -> Diagnosis:
    value = number(pair.get("over_systems"))
    level, word = "none", "too few systems"
    if value is not None:
        level, word = ("good", "agree") if value >= 0.8 else ("fair", "agree in part")
        level, word = (level, word) if value >= 0.4 else ("bad", "disagree")
    return Diagnosis(" and ".join(pair["judges"]), level, word, pair["text"], "")


def _protocol(
    name: str, systems: Mapping[str, Any], judges: Sequence[str], groups: Mapping[str, Any]
) -> Protocol:
    metrics = [
        m for m in metrics_of(judges) if any(m.name in s["metrics"] for s in systems.values())
    ]
    sync = [m for m in metrics if any(m.name.endswith(f"_{judge}") for judge in judges)]
    other = [m for m in metrics if m not in sync]
    kinds = {
        "sync": sync,
        "mouth": [m for m in other if m.name.startswith("mouth") or m.name == "sharpness"],
    }
    kinds["motion"] = [m for m in other if m not in kinds["mouth"]]
    plotted = [m for m in metrics if m.name.startswith("distance") or m.name in PLOTTED]
    return Protocol(
        PROTOCOLS.get(name, name),
        _counts(systems),
        [_figure(systems, metric) for metric in plotted],
        [
            _table(systems, own, f"{PROTOCOLS.get(name, name)}: {kind}")
            for kind, own in kinds.items()
            if own
        ],
        [
            _table(own, metrics, f"{column}: {value}")
            for column, values in groups.items()
            for value, own in values.items()
        ],
    )


def _counts(systems: Mapping[str, Any]) -> str:
    first = next(iter(systems.values()))
    text = f"{plural(first['clips'], 'clip')}; means with 95 % intervals"
    entries = [entry for system in systems.values() for entry in system["metrics"].values()]
    if entries:
        by, units = entries[0]["by"], max(entry["units"] for entry in entries)
        text += f" over {plural(units, by)}"
        if by == "clip":
            text += ": fewer than six speakers, so that they say nothing about other speakers"
    failed = [
        f"{system_name(name)}: " + ", ".join(f"{n} {reason}" for reason, n in s["failed"].items())
        for name, s in systems.items()
        if s["failed"]
    ]
    return text + (f". Not scored: {'; '.join(failed)}." if failed else ".")


def _figure(systems: Mapping[str, Any], metric: Metric) -> Figure:
    rows = []
    for name, system in systems.items():
        entry = system["metrics"].get(metric.name)
        value = number(entry and entry["value"])
        if value is not None:
            faint = name in NAMES or name.endswith(("_shuffled_audio", "_silent_audio"))
            ends = number(entry["low"]), number(entry["high"])
            rows.append(plots.Interval(system_name(name), value, *ends, faint))
    told = ", ".join(f"{row.name} {row.value:.3g}" for row in rows)
    svg = plots.interval_chart(rows, f"{metric.name}, {metric.text}: {told}")
    return Figure(_title(metric), svg, f"{metric.text}; {BETTER[metric.better]}")


def _title(metric: Metric) -> str:
    words = metric.name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _table(systems: Mapping[str, Any], metrics: Sequence[Metric], caption: str) -> Table:
    """A row a system, a column a metric; the interval below the value."""
    rows = [
        [system_name(name), *(_cell(system["metrics"].get(metric.name)) for metric in metrics)]
        for name, system in systems.items()
    ]
    heads = [
        Markup('{}<span class="interval">{}</span>').format(_title(m), BETTER[m.better])
        for m in metrics
    ]
    return Table(caption, ["System", *heads], rows, range(1, len(metrics) + 1), wide=True)


def _cell(entry: Mapping[str, Any] | None) -> str | Markup:
    value = number(entry and entry["value"])
    if value is None:
        return NO_VALUE
    low, high = number(entry["low"]), number(entry["high"])
    text = count(value) if abs(value) >= 1000 else f"{value:.3g}"
    if low is None or high is None:
        return text
    return Markup('{}<span class="interval">{:.3g} to {:.3g}</span>').format(text, low, high)
