"""Rows of figures by clip to means with intervals, rankings, agreement of judges, and tables."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lipsync_core.evaluation.av_offset import SHIFTS
from lipsync_core.evaluation.judges import Judge
from lipsync_core.evaluation.protocols import (
    CROSSED,
    GROUND_TRUTH,
    REFERENCE,
    SAME,
    SHUFFLED,
    Row,
)
from lipsync_core.evaluation.statistics import closeness, interval, rank_correlation

IDENTITY = ("protocol", "system", "clip", "audio", "speaker", "reason")
JUDGED = ("distance", "confidence", "in_sync")


@dataclass(frozen=True)
class Metric:
    """A metric: better is "high", "low", or "gt" (near to the ground truth); text: in words.

    blind: real frames with any audio have about the ground truth's figure.
    """

    name: str
    better: str
    text: str
    blind: bool = False


METRICS = (
    Metric("coverage", "high", "fraction of the frames that were measured"),
    Metric("mouth_l1", "low", "mean absolute difference to the ground truth, mouth region, 0..1"),
    Metric("mouth_psnr", "high", "PSNR of the mouth region, dB (100: equal)"),
    Metric("mouth_ssim", "high", "SSIM of the mouth region"),
    Metric("color_shift", "low", "largest shift of b, g or r, mouth region, of 255", blind=True),
    Metric("stripes", "low", "energy of periodic stripes, 1: like ground truth", blind=True),
    Metric("sharpness", "gt", "variance of the Laplacian, mouth region", blind=True),
    Metric("jitter", "gt", "mean absolute second difference over time, mouth region", blind=True),
    Metric(
        "motion", "gt", "mean absolute difference of consecutive frames, mouth region", blind=True
    ),
    Metric("silent_lip_motion", "gt", "deviation of the lip opening in silence"),
    Metric("loudness_correlation", "gt", "correlation of lip opening and loudness"),
    Metric("loudness_difference", "gt", "difference of lip opening and loudness, each 0..1"),
    Metric("lip_dynamics", "gt", "standard deviation of the lip opening over time", blind=True),
)


NO_FID = (
    "not measured: torch-fidelity, which computes FID and KID as published, imports torchvision, "
    "whose release for this torch on the package index loads with the CUDA build of torch only; "
    "and its Inception weights are in no package"
)


def metrics_of(judges: Iterable[str]) -> list[Metric]:
    """All metrics with these judges, in order of the tables."""
    found = []
    for judge in judges:
        lse = judge == "syncnet_v2"
        found += [
            Metric(f"distance_{judge}", "low", "LSE-D" if lse else f"distance by {judge}"),
            Metric(f"confidence_{judge}", "high", "LSE-C" if lse else f"confidence by {judge}"),
            Metric(f"in_sync_{judge}", "high", f"fraction of clips within 1 frame, by {judge}"),
        ]
    return [*found, *METRICS]


def summarize(rows: Sequence[Row], judges: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Figures of each system of one protocol: {system: {clips, scored, failed, offsets, metrics}}.

    clips: number that were tried; scored: of them without a failure; failed: {reason: number}.
    offsets: {judge: {frames: clips}}, above 0 the video is late. metrics: {name: {value, low, high,
    n, units, by, closeness}}; low and high are None without an interval, closeness is that to the
    ground truth (`statistics.closeness`), None for metrics that the ground truth is no scale of.
    """
    systems = list(dict.fromkeys(row["system"] for row in rows))
    systems.sort(key=lambda name: not name.startswith(GROUND_TRUTH))
    found = {
        name: _system([r for r in rows if r["system"] == name], judges, seed) for name in systems
    }
    gt = found.get(GROUND_TRUTH, {}).get("metrics", {})
    for system in found.values():
        for metric in metrics_of(judges):
            entry = system["metrics"].get(metric.name)
            if entry and metric.name in gt and metric.better == "gt":
                entry["closeness"] = closeness(entry["value"], gt[metric.name]["value"])
        if "sharpness" in system["metrics"] and "sharpness" in gt:
            sharp = system["metrics"]["sharpness"]
            sharp["ratio"] = sharp["value"] / max(gt["sharpness"]["value"], 1e-9)
    return found


def _system(rows: Sequence[Row], judges: Sequence[str], seed: int) -> dict[str, Any]:
    reasons = Counter(row["reason"] for row in rows if row["reason"])
    offsets = {}
    for judge in judges:
        counts = Counter(row[f"offset_{judge}"] for row in rows if f"offset_{judge}" in row)
        if counts:
            offsets[judge] = {str(shift): counts[shift] for shift in SHIFTS.tolist()}
    speakers = [row["speaker"] for row in rows]
    figures = {}
    for metric in metrics_of(judges):
        values = [row.get(metric.name, math.nan) for row in rows]
        if any(map(math.isfinite, values)):
            figures[metric.name] = interval(values, speakers, seed)._asdict() | {"closeness": None}
    return {
        "clips": len(rows),
        "scored": len(rows) - sum(reasons.values()),
        "failed": dict(sorted(reasons.items())),
        "offsets": offsets,
        "metrics": figures,
    }


def report_sections(
    rows: Sequence[Row], generators: Iterable[str], judges: Sequence[Judge], seed: int = 0
) -> dict[str, Any]:
    """The sections judges, protocols, rankings, fid and agreement of evaluation.json."""
    names = [judge.name for judge in judges]
    protocols = {}
    for protocol in (SAME, CROSSED):
        own = [row for row in rows if row["protocol"] == protocol]
        if own:
            protocols[protocol] = summarize(own, names, seed)
    return {
        "judges": {
            judge.name: {"description": judge.description, "is_loss": judge.is_loss}
            for judge in judges
        },
        "protocols": protocols,
        "rankings": {
            protocol: rankings(systems, generators, names)
            for protocol, systems in protocols.items()
        },
        "fid": {"value": None, "reason": NO_FID},
        "agreement": agreement(rows, protocols.get(SAME, {}), names),
    }


def rankings(
    systems: Mapping[str, Any], generators: Iterable[str], judges: Sequence[str]
) -> dict[str, Any]:
    """Whether ground truth > generator > copied reference > shuffled audio, by metric.

    {metric: {generator: {as_expected, separates, text, values: {system: value}}}}. For "gt" metrics
    the values are the closeness to the ground truth. separates: ground truth > generator > both
    others, whose own order says little: neither is in sync. A generator that is in sync in each
    clip, as the ground truth is, is as expected.
    """
    found = {}
    for metric in metrics_of(judges):
        for name in generators:
            order = (GROUND_TRUTH, name, REFERENCE, name + SHUFFLED)
            values = {system: _rank_value(systems, system, metric) for system in order}
            if any(value is None for value in values.values()):
                continue
            key = metric.name if metric.better != "gt" else f"{metric.name} (closeness)"
            found.setdefault(metric.name, {})[name] = _ranking(key, metric, values)
    return found


def _rank_value(systems: Mapping[str, Any], system: str, metric: Metric) -> float | None:
    entry = systems.get(system, {}).get("metrics", {}).get(metric.name)
    value = entry and entry["closeness" if metric.better == "gt" else "value"]
    return value if value is not None and math.isfinite(value) else None


def _ranking(key: str, metric: Metric, values: Mapping[str, float]) -> dict[str, Any]:
    sign = -1 if metric.better == "low" else 1
    names = list(values)
    perfect = metric.name.startswith("in_sync_") and values[names[0]] == values[names[1]] == 1
    ranked = names[1:] if perfect else names
    wrong = [
        f"{worse} ({values[worse]:.4g}) is not worse than {better} ({values[better]:.4g})"
        for better, worse in itertools.pairwise(ranked)
        if sign * values[worse] >= sign * values[better]
    ]
    expected = " > ".join(names)
    gt, generator, *baselines = (sign * value for value in values.values())
    separates = (perfect or gt > generator) and generator > max(baselines)
    text = f"{key}: {expected}" if not wrong else f"{key} fails {expected}: {'; '.join(wrong)}"
    if wrong and metric.blind:
        text += " (it does not see sync: the copied reference is real video)"
    return {
        "as_expected": not wrong,
        "separates": separates,
        "text": text,
        "values": dict(values),
    }


def agreement(
    rows: Sequence[Row], systems: Mapping[str, Any], judges: Sequence[str]
) -> list[dict[str, Any]]:
    """For each pair of judges the rank correlation of their distances, and a sentence.

    over_systems: of the systems' means. over_clips: of single rows of generated frames.
    """
    found = []
    pairs = [(a, b) for i, a in enumerate(judges) for b in judges[i + 1 :]]
    made = [row for row in rows if not row["system"].startswith((GROUND_TRUTH, REFERENCE))]
    for first, second in pairs:
        names = f"distance_{first}", f"distance_{second}"
        means = [[_value(system, name) for system in systems.values()] for name in names]
        over_systems = rank_correlation(*means)
        over_clips = rank_correlation(*([row.get(n, math.nan) for row in made] for n in names))
        found.append(
            {
                "judges": [first, second],
                "over_systems": over_systems,
                "over_clips": over_clips,
                "text": _agreement_text(first, second, over_systems, over_clips),
            }
        )
    return found


def _value(system: Mapping[str, Any], name: str) -> float:
    return system["metrics"].get(name, {}).get("value", math.nan)


def _agreement_text(first: str, second: str, over_systems: float, over_clips: float) -> str:
    figures = f"(rank correlation {over_systems:.2f} over systems, {over_clips:.2f} over clips)"
    if not math.isfinite(over_systems):
        return f"{first} and {second}: too few systems to compare the judges"
    if over_systems >= 0.8:
        return f"{first} and {second} agree on the order of the systems {figures}"
    if over_systems >= 0.4:
        return f"{first} and {second} agree in part: look at both {figures}"
    return f"{first} and {second} disagree: a better figure by one is no evidence {figures}"


def grouped(
    rows: Sequence[Row],
    columns: Sequence[str],
    of_clip: Mapping[str, Mapping[str, str]],
    judges: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """`summarize` by the values of columns of clips.csv: {column: {value: {system: ...}}}."""
    found: dict[str, Any] = {}
    for column in columns:
        values: dict[str, list[Row]] = {}
        for row in rows:
            values.setdefault(of_clip.get(row["clip"], {}).get(column) or "unknown", []).append(row)
        found[column] = {
            value: summarize(own, judges, seed) for value, own in sorted(values.items())
        }
    return found
