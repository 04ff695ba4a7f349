"""Reading the artifacts in `results/`; missing files give empty results."""

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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file as a dict, {} when it is missing. Raises LipsyncError for other content."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LipsyncError(f"{path}: not valid JSON ({error}); delete it and run again") from error
    if not isinstance(found, dict):
        raise LipsyncError(f"{path}: not a JSON object; delete it and run again")
    return found


def final_metrics(
    rows: Sequence[Row], evaluation: Mapping[str, Any], section: str
) -> dict[str, float]:
    """Metrics at the end of a training by name: evaluation.json's, else the last validation's.

    section: "syncnet" or the name of a generator. The names are without "val_"; what is missing or
    no finite number is left out.
    """
    columns = [name for name in (rows[-1] if rows else {}) if name != "phase"]
    found = {name.removeprefix("val_"): last(rows, name) for name in columns}
    found |= {name: number(value) for name, value in section_of(evaluation, section).items()}
    return {name: value for name, value in found.items() if value is not None}


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
    return next(reversed(numbers(rows, column)), None)


def section_of(evaluation: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The section `name` of evaluation.json or of its `generators`, {} when there is none."""
    found = evaluation.get(name) or (evaluation.get("generators") or {}).get(name)
    return found if isinstance(found, dict) else {}


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
