"""Files of an evaluation: JSON, tables, text."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

from lipsync_core.evaluation import summary, tables
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row, format_table, write_table

log = logging.getLogger(__name__)
DIGITS = 6


class Evaluation(NamedTuple):
    """The result: a dict for JSON, and the rows of figures by clip (see `protocols`)."""

    report: dict[str, Any]
    rows: list[Row]


def write(evaluation: Evaluation, json_path: Path) -> None:
    """Write evaluation.json, and beside it the tables .csv and .txt and the clips' _clips.csv."""
    report = evaluation.report
    text = tables.text_report(report)
    log.info("%s", text)
    write_text(json_path, json.dumps(report, indent=2) + "\n")
    lines = tables.table_rows(report["protocols"], report["groups"])
    write_text(json_path.with_suffix(".csv"), format_table(tables.TABLE_COLUMNS, lines))
    write_text(json_path.with_suffix(".txt"), f"{text}\n\n{tables.text_intervals(report)}\n")
    clips = json_path.with_name(f"{json_path.stem}_clips.csv")
    write_table(clips, evaluation.rows, summary.IDENTITY)


def rounded(value: Any) -> Any:
    """Round floats to 6 digits; infinity and nan become None, because JSON has neither."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
