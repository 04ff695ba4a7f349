"""What a look at the data answers to one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DATA = "enough data"  # name of the check of the amount
OVERFIT = "learns 32 windows by heart"  # name of the overfit test
OUT_OF_SYNC = "out of sync"  # word of a check; a training that learns does not refute it
STREAM = 103  # of random numbers for such looks, apart from the training's


@dataclass(frozen=True)
class Check:
    """One question to the data. level: "good", "fair", "bad", or "none" when nothing can be told.

    figures: what was found; remedy: what to do about it, "" when there is nothing to do.
    """

    name: str
    level: str
    word: str
    figures: str
    remedy: str = ""


def data_faults(found: Mapping[str, Any]) -> str:
    """What a judgement holds against audio and frames, in words; "" for nothing.

    found: as of `learnability.check_data`. The amount of data is left out: `amount` knows it. The
    overfit test comes last: it shows that something is wrong, the others say what.
    """
    wrong = [check for check in found.get("checks") or [] if check.get("level") == "bad"]
    wrong.sort(key=lambda check: check.get("name") == OVERFIT)
    return in_words([check for check in wrong if check.get("name") != DATA])


def has_constant_offset(found: Mapping[str, Any]) -> bool:
    """Whether a judgement found audio and frames a constant offset apart."""
    checks = found.get("checks") or []
    return any(c.get("word") == OUT_OF_SYNC and c.get("level") == "bad" for c in checks)


def in_words(checks: Sequence[Mapping[str, str]]) -> str:
    """Checks as a sentence: what was asked, found, and is to be done."""
    parts = []
    for check in checks:
        name, word, figures, remedy = (
            str(check.get(key, "")) for key in ("name", "word", "figures", "remedy")
        )
        parts.append(f"{name}: {word} ({figures})" + (f": {remedy}" if remedy else ""))
    return "; ".join(parts)
