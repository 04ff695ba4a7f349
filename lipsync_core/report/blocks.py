"""Tables and figures of the page as plain data, and the format of quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

NO_VALUE = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Table:
    """A table whose first column has the row headers. numeric: indices of right-aligned columns.

    total: the last row is a sum. wide: may scroll horizontally. stack: on a narrow screen each row
    becomes a block of lines.
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
    """A plot with its title. legend: (CSS class, name) of each line.

    chart: its points as JSON where curves.js may draw it, see `interactive.chart`.
    """

    title: str
    svg: Markup
    note: str = ""
    legend: Sequence[tuple[str, str]] = field(default_factory=tuple)
    chart: str = ""


def count(value: float) -> str:
    """An integer with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", THIN)


def plural(value: int, noun: str) -> str:
    """ "1 clip", "2 clips" """
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def percent(share: float | None) -> str:
    """A fraction in 0..1 as a percentage; "100 %" only for 1."""
    if share is None:
        return NO_VALUE
    text = f"{100 * share:.0f}" if 0.1 <= share <= 0.99 else f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')}{THIN}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """A measure with a fixed number of decimals."""
    return NO_VALUE if value is None else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds in a readable unit."""
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
    """Megabytes, or gigabytes from 1000 MB."""
    if megabytes >= 1000:
        return f"{megabytes / 1024:.1f}{THIN}GB"
    return f"{megabytes:.0f}{THIN}MB" if megabytes >= 10 else f"{megabytes:.1f}{THIN}MB"


def clip_name(name: str) -> Markup:
    """The name of a clip as code, with its own text direction."""
    return Markup('<bdi class="name">{}</bdi>').format(name)
