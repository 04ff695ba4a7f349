"""Histograms of the measures in clips.csv: picture and sound, speech, head pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from lipsync_core.report import plots
from lipsync_core.report.blocks import Figure, plural
from lipsync_core.report.corpus import is_kept
from lipsync_core.report.results import number, numbers
from lipsync_core.runtime.tables import Row


class Measure(NamedTuple):
    """A column of clips.csv. thresholds: keys of `check` beyond which a clip is dropped."""

    column: str
    title: str
    unit: str
    thresholds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Figures under a heading."""

    title: str
    text: str
    figures: Sequence[Figure]


DEGREES = "degrees, 95th percentile of the frames"
DNSMOS = "DNSMOS rating, 1 to 5"
GROUPS = (
    (
        "Picture and sound",
        "Number of clips by measure.",
        (
            Measure("seconds", "Length", "seconds", ("min_seconds", "max_seconds")),
            Measure("coverage", "Frames with a face", "share of the frames", ("min_coverage",)),
            Measure(
                "face_px", "Face size", "pixels, longer side, median of the clip", ("min_face_px",)
            ),
            Measure("loudness", "Loudness", "dBFS", ("min_loudness",)),
            Measure("fps_in", "Frame rate of the source", "frames a second"),
        ),
    ),
    (
        "Speech",
        "How much of each clip is one voice's speech, how long nobody speaks, how clean it sounds.",
        (
            Measure("speech_ratio", "Share of speech", "share of the time", ("min_speech_ratio",)),
            Measure("longest_pause", "Longest pause", "seconds", ("max_pause",)),
            Measure("signal_mos", "Quality of the speech", DNSMOS, ("min_signal_mos",)),
            Measure("background_mos", "Freedom from noise", DNSMOS, ("min_background_mos",)),
            Measure("overall_mos", "Quality of the sound", DNSMOS, ("min_overall_mos",)),
        ),
    ),
    (
        "Head pose, motion and focus",
        "Angles are without their sign: in a face that is turned far, half of the mouth is hidden.",
        (
            Measure("yaw_p95", "Yaw: turned to a side", DEGREES, ("max_yaw",)),
            Measure("pitch_p95", "Pitch: nodded", DEGREES, ("max_pitch",)),
            Measure("roll_p95", "Roll: tilted to a shoulder", DEGREES, ("max_roll",)),
            Measure(
                "size_change", "Change of the face's size", "share of it", ("max_size_change",)
            ),
            Measure("head_speed", "Head speed", "face widths a second", ("max_head_speed",)),
            Measure("sharpness", "Sharpness", "variance of the Laplacian", ("min_sharpness",)),
        ),
    ),
)


def groups(clips: Sequence[Row], check: Mapping[str, Any]) -> list[Group]:
    """The groups that have values, with the thresholds of the config's section `check` as lines."""
    found = []
    for title, text, measures in GROUPS:
        figures = [figure for measure in measures if (figure := _figure(measure, clips, check))]
        if figures:
            found.append(Group(title, text, figures))
    return found


def _figure(measure: Measure, clips: Sequence[Row], check: Mapping[str, Any]) -> Figure | None:
    # A coverage of "0" stands for a clip that was dropped before it was measured.
    measured = [row for row in clips if measure.column != "coverage" or row.get("coverage") != "0"]
    kept = numbers(filter(is_kept, measured), measure.column)
    dropped = numbers([row for row in measured if not is_kept(row)], measure.column)
    both = [*kept, *dropped]
    if not both:
        return None
    middle = f"{median(both):.3g}"
    label = (
        f"Histogram of {measure.title.lower()} over {plural(len(both), 'clip')}: from "
        f"{min(both):.3g} to {max(both):.3g} {measure.unit.partition(',')[0]}, median {middle}"
    )
    lines = _shown_thresholds(measure, check, both)
    if lines:
        label += f"; dropped beyond {' and '.join(f'{x:g}' for x in lines)}"
    svg = plots.histogram(kept, dropped, label, measure.unit, lines)
    legend = [("kept", "kept"), ("dropped", "dropped")] if dropped else []
    legend += [("threshold", f"threshold {x:g}") for x in lines]
    return Figure(measure.title, svg, f"median {middle}", legend)


def _shown_thresholds(
    measure: Measure, check: Mapping[str, Any], values: Sequence[float]
) -> list[float]:
    """The thresholds near enough to the values that they do not squeeze the histogram."""
    low, high = min(values), max(values)
    reach = 0.75 * ((high - low) or abs(high) or 1)
    found = [number(check.get(key)) for key in measure.thresholds]
    # A threshold of 0 drops none.
    return [x for x in found if x and low - reach <= x <= high + reach]
