"""The gate before the expert's long run: can this data be learned at all?

Minutes instead of days: is there enough of it, can a copy of the network learn 32 windows by heart,
and do mouths move with the sound, without a constant offset. Draws no numbers from torch's stream
and leaves the network that is to be trained as it is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lipsync_core.errors import LipsyncError
from lipsync_core.files import write_text
from lipsync_core.models import SyncNet
from lipsync_core.training import offsets
from lipsync_core.training.by_heart import by_heart, learnt
from lipsync_core.training.check import Check
from lipsync_core.video import FPS
from lipsync_core.windows import WINDOW, Corpus

log = logging.getLogger(__name__)
CHOICES = ("warn", "stop", "off")
ORDER = ("good", "none", "fair", "bad")

DATA = "enough data"
LEAST_MINUTES, LEAST_SPEAKERS = 1.0, 2
MODEST_MINUTES, MODEST_SPEAKERS = 60.0, 10


def gate(
    choice: str | bool,
    results: str | Path,
    model: SyncNet,
    corpus: Corpus,
    run_dir: Path,
    out: str | Path,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
) -> dict[str, Any]:
    """Judge the training data, say so, and write the judgement to `out` as JSON.

    Parameters
    ----------
    choice: "warn" logs what is wrong, "stop" raises it, "off" does not look.
    results: folder of the prepared data; its clips.csv may hold measured offsets.
    model: the network about to be trained, on its device; it is not changed. kind: its precision.
    corpus: the training clips. run_dir: where the judgement is kept for the run that continues.
    knows: the network begins with weights that were trained before, and can measure offsets.

    Raises LipsyncError for `choice` "stop" when a check is "bad".
    """
    if choice is False:  # what YAML makes of a bare off
        choice = "off"
    if choice not in CHOICES:
        raise LipsyncError(f"gate {choice!r}: choose one of {', '.join(CHOICES)}")
    kept = run_dir / "learnability.json"
    if choice == "off":
        found: dict[str, Any] = {"verdict": "off", "checks": []}
    elif kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
    else:
        began = time.perf_counter()
        found = judge(results, model, corpus, kind, seed, knows)
        log.info("learnability: looked at in %.1f s", time.perf_counter() - began)
        write_text(kept, json.dumps(found, indent=2) + "\n")
    write_text(out, json.dumps(found, indent=2) + "\n")
    for check in found["checks"]:
        loud = log.warning if check["level"] == "bad" else log.info
        remedy = f"; {check['remedy']}" if check["remedy"] else ""
        loud("learnability: %s: %s (%s)%s", check["name"], check["word"], check["figures"], remedy)
    wrong = [check for check in found["checks"] if check["level"] == "bad"]
    if wrong and choice == "stop":
        raise LipsyncError(
            f"this data cannot be learned: {_said(wrong)}. `syncnet.gate: warn` tries it"
        )
    return found


def blame(found: Mapping[str, Any]) -> str:
    """What a judgement holds against sound and pictures, in words; "" for nothing."""
    wrong = [check for check in found["checks"] if check["level"] == "bad"]
    return _said([check for check in wrong if check["name"] != DATA])


def _said(checks: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{c['name']}: {c['word']} ({c['figures']}): {c['remedy']}" for c in checks)


def size(corpus: Corpus) -> tuple[float, int]:
    """Minutes of pictures and number of speakers."""
    frames = sum(len(clip.starts) + WINDOW - 1 for clip in corpus.clips)
    return frames / FPS / 60, len({clip.id.partition("/")[0] for clip in corpus.clips})


def judge(
    results: str | Path,
    model: SyncNet,
    corpus: Corpus,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
) -> dict[str, Any]:
    """The judgement as a dict for JSON: verdict (the worst level), checks, offsets.

    offsets: {"correlations": at -15 .. 15 frames, "offset", "clips": {offset: clips} where clips
    were measured by a network}.
    """
    runs = offsets.look(corpus, seed)
    measured = offsets.recorded(results, corpus)
    if knows and sum(measured.values()) < offsets.FEW:
        measured = offsets.by_network(model, corpus, seed)
    together, found = offsets.judge(runs, measured)
    checks = [enough(corpus), learnt(*by_heart(model, corpus, kind, seed)), together]
    worst = max((check.level for check in checks), key=ORDER.index)
    return {"verdict": worst, "checks": [asdict(check) for check in checks], "offsets": found}


def enough(corpus: Corpus) -> Check:
    """Minutes, clips and speakers of the training clips against what learning takes."""
    minutes, speakers = size(corpus)
    clips, name = len(corpus.clips), DATA
    figures = (
        f"{_minutes(minutes)} of {speakers} speaker{'s' * (speakers != 1)}, "
        f"{clips} clip{'s' * (clips != 1)}"
    )
    if minutes < LEAST_MINUTES or speakers < LEAST_SPEAKERS:
        remedy = (
            f"give it {LEAST_MINUTES:.0f} minute of speech and {LEAST_SPEAKERS} speakers at the "
            "least, or fine-tune public weights (`syncnet.init`)"
        )
        return Check(name, "bad", "too little", figures, remedy)
    if minutes < MODEST_MINUTES or speakers < MODEST_SPEAKERS:
        remedy = (
            f"enough to try; for speakers that it has not seen count on {MODEST_MINUTES / 60:.0f} "
            f"hour and {MODEST_SPEAKERS} speakers or more, from scratch on 20 hours"
        )
        return Check(name, "fair", "little", figures, remedy)
    return Check(name, "good", "enough", figures)


def _minutes(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.1f} min"
