"""Summary of a corpus' split (split.json): by what, sizes, held-out or seen speakers. Light."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipsync_core.corpus.filelists import ListedClip, speaker_of
from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.media.timestamps import FPS

log = logging.getLogger(__name__)
UNKNOWN = "held-out clips"  # where the speakers are not known


def summarize(
    by: str,
    parts: Mapping[str, Mapping[str, ListedClip]],
    seconds: Mapping[str, float],
    speakers_known: bool = True,
) -> dict[str, Any]:
    """The content of split.json.

    by, parts: see `splits.assign`. seconds: lengths of the clips. speakers_known: ids begin with
    the speaker.

    Returns "by" and, for each split, its clips, speakers and seconds; for val and test also "seen",
    how many of the speakers are in train, and "evaluated_on", that in words.
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
            words = speakers_text(len(speakers[name]), seen) if speakers_known else UNKNOWN
            found[name] |= {"seen": seen, "evaluated_on": words if members else ""}
    return found


def speakers_text(speakers: int, seen: int) -> str:
    """Words for a split of `speakers` speakers, of whom `seen` are also in train."""
    noun = "speaker" if speakers == 1 else "speakers"
    if seen in (0, speakers):
        return f"seen {noun}" if seen else f"held-out {noun}"
    return f"{seen} seen and {speakers - seen} held-out speakers"


def log_summary(summary: Mapping[str, Any], seconds: float) -> None:
    """Log what `summarize` returned; seconds: of all kept clips."""
    sizes = [
        f"{name} {summary[name]['clips']} clips"
        + (f" ({summary[name]['evaluated_on']})" if summary[name].get("evaluated_on") else "")
        for name in SPLITS
    ]
    log.info("split by %s: %s", summary["by"], ", ".join(sizes))
    if summary["by"] == "time":
        between = seconds - sum(summary[name]["seconds"] for name in SPLITS)
        log.info(
            "%.1f s lie in the gaps of 2 s or more between the parts, and are in none", between
        )
    if summary["by"] in ("clip", "time"):
        log.warning("validation has a speaker of training: metrics do not apply to other people")
    if not summary["val"]["clips"]:
        log.warning(
            "the validation split is empty, which stops training: add videos, or longer ones (4 s)"
        )


def read_split(results: str | Path) -> dict[str, Any]:
    """The content of `results/filelists/split.json`; {} where there is none."""
    path = Path(results) / "filelists" / "split.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def evaluated_on(results: str | Path, split: str) -> str:
    """Words for the speakers that the metrics of a split are measured on, as "seen speaker"."""
    return read_split(results).get(split, {}).get("evaluated_on") or UNKNOWN
