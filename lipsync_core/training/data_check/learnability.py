"""Data check before the SyncNet training: amount of data, overfit test, audio-visual sync.

Takes seconds and saves days of training on data that cannot be learned. Uses no numbers of torch's
random stream and does not change the network.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.media.video import FPS
from lipsync_core.models import SyncNet
from lipsync_core.runtime.files import write_text
from lipsync_core.training.data_check import offsets
from lipsync_core.training.data_check.overfit import check_overfit, overfit_test
from lipsync_core.training.data_check.result import describe
from lipsync_core.training.data_facts import DataFacts, measured_facts
from lipsync_core.training.diagnosis import Diagnosis, data_amount

log = logging.getLogger(__name__)
LEVELS = ("good", "none", "fair", "bad")


def run_data_check(
    choice: str,
    check: Callable[[], dict[str, Any]],
    run_dir: Path,
    out: str | Path,
    facts: DataFacts | None = None,
) -> dict[str, Any]:
    """Check the training data, log the result and write it to `out` as JSON.

    Parameters
    ----------
    choice: "warn" logs failed checks, "stop" raises, "off" checks nothing.
    check: calls `check_data`. run_dir: stores its result for a resumed run.
    facts: stored where nothing is checked.

    Raises LipsyncError for `choice` "stop" if a check is "bad".
    """
    kept = run_dir / "data_check.json"
    if choice == "off":
        found: dict[str, Any] = {"verdict": "off", "checks": []}
        if facts is not None:
            found["data"] = asdict(facts)
    elif kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
    else:
        began = time.perf_counter()
        found = check()
        log.info("data check: done in %.1f s", time.perf_counter() - began)
        write_text(kept, json.dumps(found, indent=2) + "\n")
    write_text(out, json.dumps(found, indent=2) + "\n")
    for entry in found["checks"]:
        level = logging.WARNING if entry["level"] == "bad" else logging.INFO
        log.log(level, "data check: %s", describe([entry]))
    failed = [entry for entry in found["checks"] if entry["level"] == "bad"]
    if failed and choice == "stop":
        raise LipsyncError(
            f"this data cannot be learned: {describe(failed)}. Set `syncnet.data_check: warn`"
        )
    return found


def dataset_facts(dataset: ClipDataset, seen: bool, results: str | Path | None = None) -> DataFacts:
    """What is known about the training clips; without `results` only their amount.

    seen: the validation speakers are among the training speakers, see `seen_speakers`.
    """
    clips = [(clip.id, (len(clip.starts) + WINDOW - 1) / FPS) for clip in dataset.clips]
    speakers = len(dataset.speakers)
    if results is None:
        return DataFacts(speakers, sum(seconds for _, seconds in clips) / 60, seen)
    return measured_facts(results, clips, speakers, seen)


def seen_speakers(train: ClipDataset, val: ClipDataset) -> bool:
    """Whether every validation speaker is also a training speaker."""
    return val.speakers <= train.speakers


def check_data(
    results: str | Path,
    model: SyncNet,
    dataset: ClipDataset,
    kind: str = "float32",
    seed: int = 0,
    pretrained: bool = False,
    facts: DataFacts | None = None,
) -> dict[str, Any]:
    """All checks as a dict for JSON: verdict (the worst level), checks, offsets, data (facts).

    Parameters
    ----------
    results: folder of the prepared data; its clips.csv may hold measured offsets.
    model: the network about to be trained, on its device; not changed. kind: its precision.
    dataset: the training clips. pretrained: whether the network is, so that it can measure offsets.
    facts: about the training clips; by default as if the validation speakers were among theirs.

    The offsets: {"correlations": at -15 .. 15 frames, "offset", "found": the offset is certain,
    "clips": {offset: number of clips} if a network has measured them}.
    """
    features = offsets.sample_features(dataset, seed)
    facts = facts or dataset_facts(dataset, True, results)
    measured = offsets.recorded_offsets(results, dataset)
    if pretrained and sum(measured.values()) < offsets.MIN_HISTOGRAM_CLIPS:
        measured = offsets.measure_offsets(model, dataset, seed)
    sync, found = offsets.check_sync(features, measured)
    if not measured and facts.sync_text:
        sync = replace(sync, figures=f"{sync.figures}; {facts.sync_text}")
    overfit = check_overfit(*overfit_test(model, dataset, kind, seed))
    checks = [check_amount(facts, len(dataset.clips)), overfit, sync]
    worst = max((check.level for check in checks), key=LEVELS.index)
    return {
        "verdict": worst,
        "checks": [asdict(check) for check in checks],
        "offsets": found,
        "data": asdict(facts),
    }


def check_amount(facts: DataFacts, clips: int) -> Diagnosis:
    """Rate speech and speakers of the training clips. clips: their number."""
    found = data_amount(facts)
    return replace(
        found,
        figures=f"{found.figures}, {clips} clip{'s' * (clips != 1)}",
        note=f"enough from scratch: {found.note}" if found.note else "",
    )
