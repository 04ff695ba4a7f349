"""The evaluation on the page: metrics with intervals, rankings that fail, judges that differ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lipsync_core.evaluation.protocols import GROUND_TRUTH
from lipsync_core.evaluation.summary import JUDGED, Metric, metrics_of
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
    """One protocol. tables: by kind of metric; groups: by columns of clips.csv.

    failing: the rankings that are not as expected, and the names of their metrics.
    """

    title: str
    text: str
    figures: Sequence[Figure]
    tables: Sequence[Table]
    groups: Sequence[Table]
    failing: Table | None
    failing_metrics: Sequence[str]


@dataclass(frozen=True)
class EvaluationSection:
    """Content of the section. agreement: a verdict for each pair of judges.

    rankings: how many are as expected. no_fid: why there is no FID, "" where that is not known.
    """

    judges: Table
    agreement: Sequence[Diagnosis]
    protocols: Sequence[Protocol]
    rankings: str
    no_fid: str


def section(evaluation: Mapping[str, Any]) -> EvaluationSection | None:
    """The section of evaluation.json; None where it has no protocols."""
    if not evaluation.get("protocols"):
        return None
    judges = list(evaluation.get("judges") or {})
    rankings = [ranking for _, _, _, ranking in _rankings(evaluation)]
    right = sum(ranking["as_expected"] for ranking in rankings)
    apart = sum(ranking.get("separates", False) for ranking in rankings)
    return EvaluationSection(
        _judges_table(evaluation),
        [_agreement(pair) for pair in evaluation.get("agreement") or []],
        [_protocol(name, evaluation, judges) for name in evaluation["protocols"]],
        f"{apart} of {plural(len(rankings), 'ranking')} have the ground truth first, then the "
        f"generator, then copied reference and shuffled audio, whose own order says little; "
        f"{right} have these two in their order as well.",
        str((evaluation.get("fid") or {}).get("reason") or ""),
    )


def verdicts(evaluation: Mapping[str, Any]) -> list[Diagnosis]:
    """For each generator, by how many metrics that see sync it is better than copied frames."""
    found: dict[str, list[bool]] = {}
    metrics = {metric.name: metric for metric in metrics_of(evaluation.get("judges") or {})}
    for protocol, name, generator, ranking in _rankings(evaluation):
        metric = metrics.get(name)
        if metric and not metric.blind and protocol == "same_audio":
            values = ranking["values"]
            better = _sign(metric) * (values[generator] - values["copied_reference"]) > 0
            found.setdefault(generator, []).append(better)
    return [_generator_verdict(generator, better) for generator, better in found.items()]


def _generator_verdict(generator: str, better: Sequence[bool]) -> Diagnosis:
    level = "good" if all(better) else "fair" if 2 * sum(better) >= len(better) else "bad"
    words = {
        "good": "better than copied frames",
        "fair": "mostly better",
        "bad": "mostly not better",
    }
    note = (
        "By the metrics that see sync, same audio: a generator should be better than the reference "
        "frames that it gets; see “Evaluation” for intervals and the other metrics."
    )
    figures = f"better by {sum(better)} of {plural(len(better), 'metric')}"
    return Diagnosis(f"{generator}: evaluation", level, words[level], figures, note)


def _sign(metric: Metric) -> int:
    """1 where a higher value ranks better (also for the closeness of "gt" metrics), else -1."""
    return -1 if metric.better == "low" else 1


def _rankings(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, Mapping[str, Any]]]:
    """(protocol, metric, generator, ranking) of each ranking."""
    return [
        (protocol, metric, generator, ranking)
        for protocol, metrics in (evaluation.get("rankings") or {}).items()
        for metric, own in metrics.items()
        for generator, ranking in own.items()
    ]


def _failing(
    name: str, evaluation: Mapping[str, Any], judges: Sequence[str]
) -> tuple[Table | None, list[str]]:
    """The rankings of a protocol that fail, with the pairs that are out of order.

    Also the metrics that do not even have ground truth > generator > both others.
    """
    metrics = {metric.name: metric for metric in metrics_of(judges)}
    rows, names = [], []
    for protocol, key, generator, ranking in _rankings(evaluation):
        if protocol != name or ranking["as_expected"] or key not in metrics:
            continue
        metric = metrics[key]
        pairs = itertools.pairwise(ranking["values"].items())
        wrong = [
            f"{system_name(worse)} ({b:.3g}) is not worse than {system_name(better)} ({a:.3g})"
            for (better, a), (worse, b) in pairs
            if _sign(metric) * (b - a) >= 0
        ]
        closeness = " (closeness)" if metric.better == "gt" else ""
        apart = ranking.get("separates", False)
        note = "the generator is in its place" if apart else "does not see sync" * metric.blind
        rows.append([_title(metric) + closeness, generator, "; ".join(wrong), note])
        if not apart:
            names.append(_title(metric) + " (does not see sync)" * metric.blind)
    columns = ("Metric", "Generator", "Out of order", "Note")
    table = Table("Rankings that are not as expected", columns, rows, wide=True) if rows else None
    return table, list(dict.fromkeys(names))


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


def _protocol(name: str, evaluation: Mapping[str, Any], judges: Sequence[str]) -> Protocol:
    systems = _in_order(evaluation["protocols"][name])
    groups = (evaluation.get("groups") or {}).get(name) or {}
    # With another speaker's audio only the ground truth itself has figures against it.
    made = [system for key, system in systems.items() if not key.startswith(GROUND_TRUTH)]
    known = {metric for system in made for metric in system["metrics"]}
    metrics = [metric for metric in metrics_of(judges) if metric.name in known]
    sync = [m for m in metrics if m.name.startswith(JUDGED)]
    mouth = [m for m in metrics if m.name.startswith("mouth") or m.name == "sharpness"]
    rest = [m for m in metrics if m not in sync and m not in mouth]
    kinds = {"sync": sync, "mouth against the ground truth": mouth, "motion and lips": rest}
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
            _table(_in_order(own), metrics, f"{PROTOCOLS.get(name, name)}, {column}: {value}")
            for column, values in groups.items()
            for value, own in values.items()
        ],
        *_failing(name, evaluation, judges),
    )


def _in_order(systems: Mapping[str, Any]) -> dict[str, Any]:
    """The rows to compare with first."""
    first = [name for name in NAMES if name in systems]
    return {name: systems[name] for name in (*first, *(s for s in systems if s not in first))}


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
    for kind in JUDGED:
        if metric.name.startswith(f"{kind}_"):
            judge = metric.name.removeprefix(f"{kind}_")
            if metric.text in ("LSE-D", "LSE-C"):
                return metric.text
            return f"{kind.capitalize().replace('_', ' ')} by {judge}"
    words = metric.name.replace("_", " ")
    for short in ("l1", "psnr", "ssim"):
        words = words.replace(short, short.upper())
    return words[:1].upper() + words[1:]


def _table(systems: Mapping[str, Any], metrics: Sequence[Metric], caption: str) -> Table:
    """A row a system, a column a metric; the interval below the value."""
    rows = [
        [system_name(name), *(_cell(system["metrics"].get(metric.name)) for metric in metrics)]
        for name, system in systems.items()
        if any(metric.name in system["metrics"] for metric in metrics)
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
    if low is None or high is None:
        return _short(value)
    ends = _short(low), _short(high)
    return Markup('{}<span class="interval">{} to {}</span>').format(_short(value), *ends)


def _short(value: float) -> str:
    return count(value) if abs(value) >= 1000 else f"{value:.3g}"
