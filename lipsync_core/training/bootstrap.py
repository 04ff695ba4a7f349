"""Bootstrap: a SyncNet that measures sync, trained on clips of which some are out of sync.

The contrastive loss compares windows of one clip with each other. A constant offset of a clip only
makes its pairs noisy: the offset that most clips share wins. The first round trains on the clips as
they are and measures their offsets; the second trains on with the audio shifted by them, without
clips that cannot be measured. Offsets are relative to that of most clips.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lipsync_core.checkpoints import build_from
from lipsync_core.config import SyncNetConfig
from lipsync_core.corpus.filelists import ListedClip, parse_line
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.evaluation.sync import SyncMeasure
from lipsync_core.evaluation.syncnet import clip_sync
from lipsync_core.models import SyncNet
from lipsync_core.runtime import device as devices
from lipsync_core.runtime.files import file_sha, write_text
from lipsync_core.runtime.progress import Progress
from lipsync_core.runtime.tables import read_table, write_table
from lipsync_core.training import launch

log = logging.getLogger(__name__)
ROUNDS = ("round1", "round2")
MIN_AUC = 0.75  # of the validation clips: a network below measures nothing
MIN_AGREEMENT = 0.8  # of a clip that the second round trains on
WINDOWS = 75  # of a clip that are measured between the rounds


def train(
    results: Path,
    lists: Mapping[str, Sequence[ListedClip]],
    frames: Mapping[str, int],
    keys: Mapping[str, str],
    config: SyncNetConfig,
    steps: int,
    image_size: int,
    seed: int,
    device_name: str,
    threads: int,
    checkpoint: Path,
    summary: Path,
) -> None:
    """Train a SyncNet that measures sync; can be interrupted and continued.

    Parameters
    ----------
    results: the prepared data.
    lists: "train" and "val" -> clips. frames, keys: see `DraftSplit`.
    config: the section `syncnet`, whose loss is replaced by the contrastive one. steps: per round.
    checkpoint: the output; the files of the rounds lie beside it.
    summary: JSON file: trusted (whether the AUC on validation clips is at least 0.75), auc, steps,
        and offsets, the number of clips by offset after the first round.
    """
    given = config.model_dump() | {"loss": "contrastive", "steps": steps, "export": "best"}
    given |= {"eval_every": min(config.eval_every, steps), "data_check": "off", "patience": 0}
    start: Path | None = None
    measured: dict[str, SyncMeasure] = {}
    for name in ROUNDS:
        view = checkpoint.parent / name
        corrected = _corrected(lists, frames, measured)
        _write_view(view, results, corrected, keys)
        output = checkpoint if name == ROUNDS[-1] else view / "checkpoint.pth"
        launch.start_or_resume(
            "syncnet",
            f"sync_bootstrap_{name}",
            device_name,
            threads,
            results=view,
            config=SyncNetConfig(**given),
            image_size=image_size,
            seed=seed,
            weights=[start] if start else [],
            checkpoint=output,
            metrics=view / "metrics.csv",
            pretrained=start,
        )
        start = output
        if name == ROUNDS[0]:
            every = [clip for own in lists.values() for clip in own]
            measured = measure(start, results, every, devices.pick(device_name), view)
        given |= {"center_steps": 0}  # the plateau lies behind it
    auc = max(float(row["val_auc"]) for row in read_table(view / "metrics.csv"))
    _write_summary(summary, auc, steps * len(ROUNDS), measured)


def _write_summary(path: Path, auc: float, steps: int, measured: Mapping[str, SyncMeasure]) -> None:
    if auc < MIN_AUC:
        log.warning(
            "the network that measures sync has an AUC of %.2f on validation clips, %.2f is "
            "needed: nothing is measured or corrected. It needs more data or `sync.bootstrap_"
            "steps`, or give `sync.model`",
            auc,
            MIN_AUC,
        )
    found = {"trusted": auc >= MIN_AUC, "auc": auc, "steps": steps}
    found |= {"offsets": _histogram(measured)}
    write_text(path, json.dumps(found, indent=1) + "\n")


def measure(
    checkpoint: Path,
    results: Path,
    clips: Sequence[ListedClip],
    device: torch.device,
    folder: Path,
) -> dict[str, SyncMeasure]:
    """Sync of each clip by a checkpoint: clip or its part as text -> measure.

    The result is kept in `folder` for this checkpoint: a run that was stopped later reads it.
    """
    table = folder / f"offsets_{file_sha(checkpoint)[:12]}.csv"
    if not table.is_file():
        model = build_from(checkpoint, SyncNet).to(device).eval()
        dataset = ClipDataset.load(results, [str(clip) for clip in clips], model.image_size)
        rows: list[dict[str, Any]] = []
        with Progress(len(clips), "sync of each clip", "clip") as progress:
            for clip, opened in zip(clips, dataset.clips, strict=True):
                found = clip_sync(model, dataset, opened, WINDOWS)
                rows.append({"clip": clip.id, "part": clip.frame_range} | found._asdict())
                progress.advance(note=opened.id)
        write_table(table, rows, first=("clip", "part"))
    return {
        str(clip): SyncMeasure.parse(row)
        for clip, row in zip(clips, read_table(table), strict=True)
    }


def is_trusted(summary: Path) -> bool:
    """Whether the network of a bootstrap measures well enough; see `train`."""
    return json.loads(summary.read_text(encoding="utf-8"))["trusted"]


def start_weights(checkpoint: str, results: str) -> str | None:
    """The bootstrap's checkpoint, if the training of the final SyncNet may start from it.

    Not if it cannot be trusted, or was trained on clips that are held out now.
    """
    folder = Path(checkpoint).parent
    if not is_trusted(folder / "summary.json"):
        return None
    trained: dict[str, list[ListedClip]] = {}
    for line in _lines(folder / ROUNDS[0] / "filelists" / "train.txt"):
        trained.setdefault(line.id, []).append(line)
    for name in ("val", "test"):
        for held in _lines(Path(results) / "filelists" / f"{name}.txt"):
            if any(_overlap(held, own) for own in trained.get(held.id, ())):
                log.info("starts from random weights: the bootstrap has seen %s (%s)", held, name)
                return None
    log.info("starts from the network that measured sync, %s", checkpoint)
    return checkpoint


def _lines(path: Path) -> list[ListedClip]:
    return [parse_line(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _overlap(one: ListedClip, other: ListedClip) -> bool:
    if one.first is None or other.first is None:
        return True
    return one.first <= other.last and other.first <= one.last


def _corrected(
    lists: Mapping[str, Sequence[ListedClip]],
    frames: Mapping[str, int],
    measured: Mapping[str, SyncMeasure],
) -> dict[str, list[ListedClip]]:
    """The lists with shifted audio, without clips that are not certain; all before measuring."""
    if not measured:
        return {name: list(own) for name, own in lists.items()}
    chosen: dict[str, list[ListedClip]] = {}
    for name, own in lists.items():
        chosen[name] = []
        for clip in own:
            offset = measured[str(clip)].correction(MIN_AGREEMENT)
            if offset is not None:
                chosen[name].append(clip.shifted(offset, frames[clip.id]))
        chosen[name] = chosen[name] or list(own)
    return chosen


def _write_view(
    view: Path,
    results: Path,
    lists: Mapping[str, Sequence[ListedClip]],
    keys: Mapping[str, str],
) -> None:
    """A results folder with lists of its own: links to the crops, mels and audio of `results`."""
    filelists = view / "filelists"
    filelists.mkdir(parents=True, exist_ok=True)
    for name in ("faces", "mels", "audio"):
        link = view / name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(results / name, view))
    for name, own in lists.items():
        write_text(filelists / f"{name}.txt", "".join(f"{clip}\n" for clip in own))
    used = {clip.id for own in lists.values() for clip in own}
    rows = [{"clip": clip, "key": keys[clip]} for clip in sorted(used)]
    write_table(filelists / "clips.csv", rows, first=("clip", "key"))


def _histogram(measured: Mapping[str, SyncMeasure]) -> dict[str, int]:
    certain = [found.offset for found in measured.values() if found.agreement >= MIN_AGREEMENT]
    return {str(offset): count for offset, count in sorted(Counter(certain).items())}
