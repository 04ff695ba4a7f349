"""The gate before the expert's long run: can this data be learned at all?

Minutes instead of days: is there enough of it, can a copy of the network learn 32 windows by heart,
and do mouths move with the sound, without a constant offset. Draws no numbers from torch's stream
and leaves the network that is to be trained as it is.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.media.video import FPS
from lipsync_core.models import SyncNet
from lipsync_core.runtime.files import write_text
from lipsync_core.training.data_check import offsets
from lipsync_core.training.data_check.amount import amount_text, rate_amount
from lipsync_core.training.data_check.overfit import check_overfit, overfit_test
from lipsync_core.training.data_check.result import DATA, Check, data_faults, in_words

log = logging.getLogger(__name__)
CHOICES = ("warn", "stop", "off")
ORDER = ("good", "none", "fair", "bad")
__all__ = [
    "check_amount",
    "check_data",
    "corpus_size",
    "data_faults",
    "run_data_check",
    "seen_speakers",
]


def run_data_check(
    choice: str | bool,
    results: str | Path,
    model: SyncNet,
    dataset: ClipDataset,
    run_dir: Path,
    out: str | Path,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
    seen: bool = True,
) -> dict[str, Any]:
    """Judge the training data, say so, and write the judgement to `out` as JSON.

    Parameters
    ----------
    choice: "warn" logs what is wrong, "stop" raises it, "off" does not look.
    results: folder of the prepared data; its clips.csv may hold measured offsets.
    model: the network about to be trained, on its device; it is not changed. kind: its precision.
    dataset: the training clips. run_dir: where the judgement is kept for the run that continues.
    knows: the network begins with weights that were trained before, and can measure offsets.
    seen: the validation speakers are among the training speakers, see `seen_speakers`.

    Raises LipsyncError for `choice` "stop" when a check is "bad".
    """
    if choice is False:  # what YAML makes of a bare off
        choice = "off"
    if choice not in CHOICES:
        raise LipsyncError(f"gate {choice!r}: choose one of {', '.join(CHOICES)}")
    kept = run_dir / "data_check.json"
    if choice == "off":
        found: dict[str, Any] = {"verdict": "off", "checks": []}
    elif kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
    else:
        began = time.perf_counter()
        found = check_data(results, model, dataset, kind, seed, knows, seen)
        log.info("data check: looked at in %.1f s", time.perf_counter() - began)
        write_text(kept, json.dumps(found, indent=2) + "\n")
    write_text(out, json.dumps(found, indent=2) + "\n")
    for check in found["checks"]:
        loud = log.warning if check["level"] == "bad" else log.info
        remedy = f"; {check['remedy']}" if check["remedy"] else ""
        loud("data check: %s: %s (%s)%s", check["name"], check["word"], check["figures"], remedy)
    wrong = [check for check in found["checks"] if check["level"] == "bad"]
    if wrong and choice == "stop":
        raise LipsyncError(
            f"this data cannot be learned: {in_words(wrong)}. `syncnet.gate: warn` tries it"
        )
    return found


def corpus_size(dataset: ClipDataset) -> tuple[float, int]:
    """Minutes of pictures and number of speakers."""
    frames = sum(len(clip.starts) + WINDOW - 1 for clip in dataset.clips)
    return frames / FPS / 60, len(_speakers(dataset))


def seen_speakers(train: ClipDataset, val: ClipDataset) -> bool:
    """Whether every validation speaker is a training speaker, too."""
    return _speakers(val) <= _speakers(train)


def _speakers(dataset: ClipDataset) -> set[str]:
    return {clip.id.partition("/")[0] for clip in dataset.clips}


def check_data(
    results: str | Path,
    model: SyncNet,
    dataset: ClipDataset,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
    seen: bool = True,
) -> dict[str, Any]:
    """The judgement as a dict for JSON: verdict (the worst level), checks, offsets.

    offsets: {"correlations": at -15 .. 15 frames, "offset", "clips": {offset: clips} where clips
    were measured by a network}.
    """
    runs = offsets.sample_features(dataset, seed)
    measured = offsets.recorded_offsets(results, dataset)
    if knows and sum(measured.values()) < offsets.MIN_HISTOGRAM_CLIPS:
        measured = offsets.measure_offsets(model, dataset, seed)
    together, found = offsets.check_sync(runs, measured)
    checks = [
        check_amount(dataset, seen),
        check_overfit(*overfit_test(model, dataset, kind, seed)),
        together,
    ]
    worst = max((check.level for check in checks), key=ORDER.index)
    return {"verdict": worst, "checks": [asdict(check) for check in checks], "offsets": found}


def check_amount(dataset: ClipDataset, seen: bool = True) -> Check:
    """Minutes and speakers of the training clips against what learning takes.

    seen: the validation speakers are among them.
    """
    minutes, speakers = corpus_size(dataset)
    clips = len(dataset.clips)
    amount = rate_amount(minutes, speakers, seen)
    figures = f"{amount_text(minutes, speakers)}, {clips} clip{'s' * (clips != 1)}"
    remedy = f"enough from scratch: {amount.enough}" if amount.enough else ""
    return Check(DATA, amount.level, amount.word, figures, remedy)
