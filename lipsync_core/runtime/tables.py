"""Reading and writing the pipeline's tables, CSV or TSV with a header line. Light."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lipsync_core.runtime.files import PathLike, write_text

Row = dict[str, Any]  # column -> value; a str where it was read from a file


def format_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ","
) -> str:
    """The text of a table, lines ended by \\n."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def format_rows(
    rows: Sequence[Mapping[str, Any]], first: Iterable[str] = (), omit: Collection[str] = ()
) -> str:
    """CSV text of rows; columns: `first`, then the other keys but `omit` as they appear."""
    columns = [
        name
        for name in dict.fromkeys([*first, *(name for row in rows for name in row)])
        if name not in omit
    ]
    return format_table(columns, ([row.get(name, "") for name in columns] for row in rows))


def write_table(
    path: PathLike,
    rows: Sequence[Mapping[str, Any]],
    first: Iterable[str] = (),
    omit: Collection[str] = (),
) -> None:
    """Write rows as CSV, atomically; columns as in `format_rows`."""
    write_text(path, format_rows(rows, first, omit))


def read_lines(path: PathLike, delimiter: str = ",") -> Iterator[list[str]]:
    """The cells of each line of a table, the header's first."""
    with open(path, newline="", encoding="utf-8") as stream:
        yield from csv.reader(stream, delimiter=delimiter)


def read_table(path: PathLike, delimiter: str = ",") -> list[Row]:
    """The rows of a table; a line that is too short lacks the last columns."""
    lines = read_lines(path, delimiter)
    columns = next(lines, [])
    return [dict(zip(columns, cells, strict=False)) for cells in lines if cells]


def read_by_clip(path: PathLike) -> dict[str, Row]:
    """Clip id -> row of a table that has a row a clip."""
    return {row["clip"]: row for row in read_table(path)}
