"""What a look at the data answers to one question."""

from __future__ import annotations

from dataclasses import dataclass

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
