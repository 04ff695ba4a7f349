"""Reading what the pipeline left in `results/`, tolerant of what is not there.

Knows file names and columns; leaves their meaning and their looks to the other modules.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.tables import Row, read_table


def read_clips(results: Path) -> list[Row]:
    """`filelists/clips.csv`, one row a clip found; [] when it is missing."""
    path = results / "filelists" / "clips.csv"
    return read_table(path) if path.is_file() else []


def read_metrics(results: Path, model: str) -> list[Row]:
    """`<model>/metrics.csv`, one row a validation, in order of step."""
    path = results / model / "metrics.csv"
    rows = read_table(path) if path.is_file() else []
    return sorted(rows, key=lambda row: number(row.get("step")) or 0.0)


def read_evaluation(results: Path) -> dict[str, Any]:
    """`evaluation.json` as a dict, empty when missing. Raises LipsyncError when it is no JSON."""
    value = _read_json(results / "evaluation.json")
    return value if isinstance(value, dict) else {"evaluation": value}


def read_data_check(results: Path) -> dict[str, Any]:
    """`syncnet/data_check.json` as a dict, empty when missing. Raises LipsyncError likewise."""
    value = _read_json(results / "syncnet" / "data_check.json")
    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LipsyncError(f"{path}: not valid JSON ({error}); delete it and run again") from error


def number(value: Any) -> float | None:
    """`value` as a finite float, else None."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def numbers(rows: Iterable[Mapping[str, str]], column: str) -> list[float]:
    """The finite values of a column."""
    values = (number(row.get(column)) for row in rows)
    return [value for value in values if value is not None]


def curve(rows: Iterable[Mapping[str, str]], column: str) -> list[tuple[float, float]]:
    """(step, value) of the rows which have both."""
    pairs = ((number(row.get("step")), number(row.get(column))) for row in rows)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def last(rows: Sequence[Mapping[str, str]], column: str) -> float | None:
    """The last finite value of a column."""
    values = numbers(rows, column)
    return values[-1] if values else None


def first_of(source: Mapping[str, Any], *keys: str) -> float | None:
    """The first of `keys` that holds a finite number."""
    return next((n for key in keys if (n := number(source.get(key))) is not None), None)


def part(evaluation: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The first of `names` that is a dict in `evaluation` or in its `generators`."""
    nested = evaluation.get("generators")
    for source in (evaluation, nested if isinstance(nested, dict) else {}):
        for name in names:
            if isinstance(source.get(name), dict):
                return source[name]
    return {}


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested JSON as ("a.b.c", text) pairs, in order."""
    if isinstance(value, dict):
        return [
            leaf
            for key, inner in value.items()
            for leaf in flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list):
        return [(prefix, ", ".join(_leaf(inner) for inner in value))]
    return [(prefix, _leaf(value))]


def _leaf(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
