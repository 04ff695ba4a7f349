"""How the split of a corpus was made, and whose clips figures are judged on: split.json. Light."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipsync_core.corpus.filelists import Listed, speaker_of
from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.media.timestamps import FPS

log = logging.getLogger(__name__)
UNKNOWN = "held-out clips"  # where it is not known who speaks in them


def summary(
    by: str,
    parts: Mapping[str, Mapping[str, Listed]],
    seconds: Mapping[str, float],
    judged: bool = True,
) -> dict[str, Any]:
    """How the split was made, for split.json.

    by, parts: see `splits.parts_of`. seconds: lengths of the clips. judged: their speakers are
    known.

    Returns "by" and, for each split, its clips, speakers and seconds; for val and test also "seen",
    how many of the speakers train, too, and "judged_on", that in words.
    """
    found: dict[str, Any] = {"by": by}
    speakers = {
        name: {speaker_of(clip) for clip, own in parts.items() if name in own} for name in SPLITS
    }
    for name in SPLITS:
        members = [own[name] for own in parts.values() if name in own]
        lengths = [
            seconds[part.id] if part.first is None else (part.last - part.first + 1) / FPS
            for part in members
        ]
        found[name] = {
            "clips": len(members),
            "speakers": len(speakers[name]),
            "seconds": round(sum(lengths), 3),
        }
        if name != "train":
            seen = len(speakers[name] & speakers["train"])
            words = in_words(len(speakers[name]), seen) if judged else UNKNOWN
            found[name] |= {"seen": seen, "judged_on": words if members else ""}
    return found


def in_words(speakers: int, seen: int) -> str:
    """Who speaks in a split of so many `speakers`, of whom so many train, too."""
    who = "speaker" if speakers == 1 else "speakers"
    if seen in (0, speakers):
        return f"seen {who}" if seen else f"held-out {who}"
    return f"{seen} seen and {speakers - seen} held-out speakers"


def say(made: Mapping[str, Any], seconds: float) -> None:
    """Log a `summary`; seconds: of all kept clips."""
    sizes = [
        f"{name} {made[name]['clips']} clips"
        + (f" ({made[name]['judged_on']})" if made[name].get("judged_on") else "")
        for name in SPLITS
    ]
    log.info("split by %s: %s", made["by"], ", ".join(sizes))
    if made["by"] == "time":
        between = seconds - sum(made[name]["seconds"] for name in SPLITS)
        log.info("%.1f s lie between the parts, 2 s or more each, and are in none", between)
    if made["by"] in ("clip", "time"):
        log.warning("one speaker trains and validates: figures say nothing of other people")
    if not made["val"]["clips"]:
        log.warning(
            "nothing validates, which training needs: give it more videos, or longer ones (4 s)"
        )


def read_split(results: str | Path) -> dict[str, Any]:
    """The `summary` in `results/filelists/split.json`; {} where there is none."""
    path = Path(results) / "filelists" / "split.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def judged_on(results: str | Path, split: str) -> str:
    """In words whose clips the figures of a split are made of, such as "seen speaker"."""
    return read_split(results).get(split, {}).get("judged_on") or UNKNOWN
