"""The blocks a page is made of (tables, figures) and how quantities are written.

Plain data: the template gives them their looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

NO_VALUE = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Table:
    """A table. `numeric`: indices of the columns set flush right; the first column heads its row.

    `total`: the last row is a sum. `wide`: may scroll sideways. `stack`: on a narrow screen each
    row becomes a small block of lines.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]
    numeric: Sequence[int] = ()
    total: bool = False
    wide: bool = False
    stack: bool = False
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot with its title; `legend` holds (class of the mark, name) pairs."""

    title: str
    svg: Markup
    note: str = ""
    legend: Sequence[tuple[str, str]] = field(default_factory=tuple)


def count(value: float) -> str:
    """An integer with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", THIN)


def plural(value: int, noun: str) -> str:
    """ "1 clip", "2 clips" """
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def percent(share: float | None) -> str:
    """A share in 0..1 as a percentage; "100 %" only when it is all."""
    if share is None:
        return NO_VALUE
    text = f"{100 * share:.0f}" if 0.1 <= share <= 0.99 else f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')}{THIN}%"


def figure(value: float | None, digits: int = 3) -> str:
    """A measure with a fixed number of decimals."""
    return NO_VALUE if value is None else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit a reader would choose."""
    if seconds is None:
        return NO_VALUE
    if seconds < 60:
        return f"{seconds:.3g}{THIN}s" if seconds < 10 else f"{seconds:.0f}{THIN}s"
    if seconds < 100 * 60:
        whole = round(seconds)
        rest = f" {whole % 60}{THIN}s" if whole % 60 else ""
        return f"{whole // 60}{THIN}min{rest}"
    return f"{seconds / 3600:.1f}{THIN}h"


def size(megabytes: float) -> str:
    """Megabytes, or gigabytes from a thousand on."""
    if megabytes >= 1000:
        return f"{megabytes / 1024:.1f}{THIN}GB"
    return f"{megabytes:.0f}{THIN}MB" if megabytes >= 10 else f"{megabytes:.1f}{THIN}MB"


def clip_name(name: str) -> Markup:
    """A clip's name as code, isolated from the direction of the text around it."""
    return Markup('<bdi class="name">{}</bdi>').format(name)
