"""Inline SVG: line charts, histograms, bar charts.

Without a plotting library: the colors come from the style sheet of the page, so that one SVG suits
light mode, dark mode and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 350, 16, 168
MAX_POINTS, MAX_BINS = 300, 16

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line. mark: its class in the style sheet, such as "main", "second" or "faint"."""

    name: str
    points: Sequence[Point]
    mark: str = "main"


@dataclass(frozen=True)
class Interval:
    """A value with its interval; low, high: None without one. faint: a row to compare with."""

    name: str
    value: float
    low: float | None
    high: float | None
    faint: bool = False


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] to [start, end] (SVG units), with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def nice_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale with ticks at its ends, in steps of 1, 2 or 5 times a power of ten."""
    low, high = _extent(values)
    step = _nice_step((high - low) / 4)
    marks = _multiples(step, math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9))
    return Scale(marks[0], marks[-1], start, end, marks)


def tight_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale that ends with the data, with ticks at the round values inside."""
    low, high = _extent(values)
    step = _nice_step((high - low) / 5)
    marks = _multiples(step, math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9))
    return Scale(low, high, start, end, marks)


def _multiples(step: float, first: int, last: int) -> tuple[float, ...]:
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def _extent(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = abs(high) / 10
        return (low - pad, high + pad) if pad else (0.0, 1.0)
    return low, high


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def tick_text(value: float) -> str:
    """A short label: 0.05, 3, 20k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def thin_out(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points: means over runs of neighboring points."""
    if len(points) <= most:
        return list(points)
    bounds = [len(points) * k // most for k in range(most + 1)]
    runs = [points[a:b] for a, b in pairwise(bounds)]
    return [(sum(x for x, _ in r) / len(r), sum(y for _, y in r) / len(r)) for r in runs]


def line_chart(
    series: Sequence[Series],
    label: str,
    x_label: str = "step",
    references: Sequence[tuple[float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines over a common x.

    Parameters
    ----------
    label: description for screen readers.
    references: (y, name) of dashed horizontal lines, such as chance.
    marks: (x, name) of vertical lines, such as the start of a phase.
    """
    shown = [Series(s.name, thin_out(s.points), s.mark) for s in series if s.points]
    xs = [x for s in shown for x, _ in s.points]
    ys = [y for s in shown for _, y in s.points] + [y for y, _ in references]
    low, high = _extent(ys)
    room = [y - 0.12 * (high - low) for y, _ in references]  # for the name below the line
    across = tight_scale(xs, LEFT + 4, RIGHT - 4)
    up = nice_scale([max(y, 0.0) if low >= 0 else y for y in (*ys, *room)], BOTTOM, TOP)
    body = _axes(across, up, x_label)
    for x, name in marks:
        at = across(x)
        body.append(f'<path class="mark" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
        anchor = "start" if at < WIDTH / 3 else "end" if at > WIDTH * 2 / 3 else "middle"
        body.append(_text(at, TOP - 5, name, "ref-label", anchor))
    for line in sorted(shown, key=lambda s: s.mark == "main"):
        places = [f"{across(x):.1f} {up(y):.1f}" for x, y in line.points]
        if len(places) > 1:
            body.append(f'<path class="line {line.mark}" d="M{"L".join(places)}"/>')
        x, y = line.points[-1]
        body.append(
            f'<circle class="dot {line.mark}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>'
        )
    for y, name in references:
        at = up(y)
        body.append(f'<path class="reference" d="M{LEFT} {at:.1f}H{RIGHT}"/>')
        # On the side of the line away from the end of the curve.
        over = bool(shown) and shown[0].points[-1][1] < y and at - TOP > 14
        body.append(_text(RIGHT - 2, at - 5 if over else at + 13, name, "ref-label", "end"))
    return _svg(body, label)


def histogram(
    kept: Sequence[float],
    dropped: Sequence[float],
    label: str,
    x_label: str,
    thresholds: Sequence[float] = (),
    width: float | None = None,
) -> Markup:
    """Counts of clips in equal bins; dropped clips are stacked on kept ones.

    thresholds: vertical lines. width: of a bin, centered on its multiples (1 for whole numbers);
    None for a round width by the spread of the values.
    """
    values = [*kept, *dropped]
    low, high = _extent(values)
    if width is None:
        step = _nice_step((high - low) / MAX_BINS)
        start = math.floor(low / step + 1e-9) * step
    else:
        step, start = width, (round(min(values) / width) - 0.5) * width
        high = max(values) + width / 2 - 1e-6
    total = max(1, math.floor((high - start) / step + 1e-9) + 1)
    counts = [[0, 0] for _ in range(total)]
    for which, group in enumerate((kept, dropped)):
        for value in group:
            counts[min(total - 1, int((value - start) / step + 1e-9))][which] += 1
    across = tight_scale((start, start + total * step, *thresholds), LEFT, RIGHT)
    tallest = max(sum(pair) for pair in counts)
    up = nice_scale((0, max(tallest, 4)), BOTTOM, TOP)
    body = _axes(across, up, x_label)
    for index, (below, above) in enumerate(counts):
        x = across(start + index * step) + 0.75
        bar = across(start + (index + 1) * step) - x - 0.75
        for mark, base, height in (("kept", 0, below), ("dropped", below, above)):
            if height:
                top, foot = up(base + height), up(base)
                body.append(
                    f'<rect class="bar {mark}" x="{x:.1f}" y="{top:.1f}" '
                    f'width="{max(bar, 0.5):.1f}" height="{foot - top:.1f}"/>'
                )
    body += [f'<path class="threshold" d="M{across(x):.1f} {TOP}V{BOTTOM}"/>' for x in thresholds]
    return _svg(body, label)


def interval_chart(rows: Sequence[Interval], label: str) -> Markup:
    """A dot with its interval for each row, from the top."""
    values = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
    left, pitch = 150, 20
    foot = TOP + pitch * len(rows)
    across = nice_scale(values, left + 6, RIGHT - 6)
    body = []
    for tick in across.ticks:
        at = across(tick)
        body.append(f'<path class="grid" d="M{at:.1f} {TOP}V{foot}"/>')
        body.append(_text(at, foot + 13, tick_text(tick), "tick", "middle"))
    for index, row in enumerate(rows):
        y, faint = TOP + pitch * (index + 0.5), " faint" * row.faint
        body.append(_text(left, y + 3.5, row.name, "row-label", "end"))
        if row.low is not None and row.high is not None:
            ends = f"M{across(row.low):.1f} {y:.1f}H{across(row.high):.1f}"
            body.append(f'<path class="whisker{faint}" d="{ends}"/>')
        x = across(row.value)
        body.append(f'<circle class="dot whisker-dot{faint}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    return _svg(body, label, foot + 20)


def bar_chart(
    bars: Sequence[tuple[str, float]],
    label: str,
    x_label: str,
    references: Sequence[float] = (),
) -> Markup:
    """One bar per category, from zero. references: dashed lines, named in the legend."""
    up = nice_scale([0, *(v for _, v in bars), *references], BOTTOM, TOP)
    body = _axes(None, up, x_label)
    pitch = (RIGHT - LEFT) / max(1, len(bars))
    every = math.ceil(len(bars) / 12)
    for index, (name, value) in enumerate(bars):
        middle = LEFT + (index + 0.5) * pitch
        width = min(pitch * 0.7, 32)
        top, foot = sorted((up(value), up(0)))
        body.append(
            f'<rect class="bar kept" x="{middle - width / 2:.1f}" y="{top:.1f}" '
            f'width="{width:.1f}" height="{foot - top:.1f}"/>'
        )
        if index % every == 0:
            body.append(_text(middle, BOTTOM + 14, name, "tick", "middle"))
    for y in references:
        body.append(f'<path class="reference" d="M{LEFT} {up(y):.1f}H{RIGHT}"/>')
    return _svg(body, label)


def _axes(across: Scale | None, up: Scale, x_label: str) -> list[str]:
    body = []
    for tick in up.ticks:
        at = up(tick)
        body.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{RIGHT}"/>')
        body.append(_text(LEFT - 7, at + 3.5, tick_text(tick), "tick", "end"))
    body.append(f'<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>')
    for tick in across.ticks if across else ():
        at = across(tick)
        body.append(f'<path class="axis" d="M{at:.1f} {BOTTOM}v3.5"/>')
        body.append(_text(at, BOTTOM + 14, tick_text(tick), "tick", "middle"))
    body.append(_text((LEFT + RIGHT) / 2, HEIGHT - 4, x_label, "axis-label", "middle"))
    return body


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(body: Sequence[str], label: str, height: float = HEIGHT) -> Markup:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(body) + "</svg>")
