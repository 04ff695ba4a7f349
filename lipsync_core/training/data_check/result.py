"""Reading the results of the data check (data_check.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lipsync_core.training.diagnosis import DATA_AMOUNT

OVERFIT = "overfit test on 32 windows"
AV_SYNC = "audio and video in sync"
OUT_OF_SYNC = "out of sync"
DATA_CHECK_STREAM = 103  # random stream of the data check, different from those of training


def data_faults(data_check: Mapping[str, Any]) -> str:
    """What the data check found wrong with audio and frames, as a sentence; "" for nothing.

    Without the amount of data, which the diagnosis rates itself. The overfit test comes last: it
    shows that something is wrong, the others say what.
    """
    failed = [check for check in data_check.get("checks") or [] if check.get("level") == "bad"]
    failed.sort(key=lambda check: check.get("name") == OVERFIT)
    return describe([check for check in failed if check.get("name") != DATA_AMOUNT])


def has_constant_offset(data_check: Mapping[str, Any]) -> bool:
    """Whether the data check found a constant audio-visual offset."""
    checks = data_check.get("checks") or []
    return any(c.get("word") == OUT_OF_SYNC and c.get("level") == "bad" for c in checks)


def describe(checks: Sequence[Mapping[str, str]]) -> str:
    """Checks as a sentence: name, rating, figures and note."""
    return "; ".join(
        "{name}: {word} ({figures}){note}".format_map(
            {**check, "note": f": {check['note']}" if check.get("note") else ""}
        )
        for check in checks
    )
