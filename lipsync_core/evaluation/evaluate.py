"""Figures of finished networks on the test split, for results/evaluation.json and the report.

Knows checkpoints and splits; the measures themselves are in `lipsync_core.evaluation.syncnet`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core.checkpoints import build_from
from lipsync_core.corpus import split_summary
from lipsync_core.data.dataset import ClipDataset, read_filelist
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.generator import generator_metrics, reference_leakage
from lipsync_core.evaluation.syncnet import SyncNetResult, clip_offset, evaluate_syncnet
from lipsync_core.models import SyncNet, Wav2Lip

log = logging.getLogger(__name__)
DIGITS = 6
NUM_WORST_CLIPS = 10  # clips named


def evaluate(
    results: str | Path,
    syncnet: str | Path,
    generators: Mapping[str, str | Path],
    device: torch.device,
    split: str = "test",
    seed: int = 0,
    per_clip: int = 96,
    windows: int = 128,
) -> dict[str, Any]:
    """Judge an expert, and generators by it, on a split. The same arguments give the same figures.

    Parameters
    ----------
    results: folder of the prepared data. syncnet: the expert's checkpoint.
    generators: checkpoints by name.
    split: "test"; where that list is empty, "val" is used and named in the result.
    per_clip: windows of each clip for the expert; windows: windows for each generator.

    Returns a dict for JSON: split, judged_on (whose clips they are, in words, such as "held-out
    speakers" or "seen speaker"), clips, speakers, seed; syncnet {loss, accuracy, auc, ece, top1,
    accuracy_by_offset {"1": ..., "10+": ...}, its sizes, and for "val" and "test" each: per_clip
    {split: [{clip, loss, windows, offset}]}, the ten clips of largest loss with the offset (frames,
    above 0 the picture comes late) that fits them best, and calibration {split: [{low, high, mean,
    positive_fraction, weight, count}]}, see `metrics.Bin`}; generators {name: {l1, l1_reference,
    sync_loss, ... (see `generator_metrics` and `reference_leakage`), and its sizes}}.

    Raises LipsyncError when data or checkpoints cannot be used.
    """
    split = _filled_split(Path(results), split)
    expert = build_from(syncnet, SyncNet).to(device)
    dataset = ClipDataset.load(results, split, expert.image_size)
    report: dict[str, Any] = {
        "split": split,
        "judged_on": split_summary.judged_on(results, split),
        "clips": len(dataset.clips),
        "speakers": len({clip.id.partition("/")[0] for clip in dataset.clips}),
        "seed": seed,
        "syncnet": _sizes(expert) | _expert(expert, results, split, dataset, seed, per_clip),
        "generators": {},
    }
    log.info("figures on the %s split: %s", split, report["judged_on"])
    for name, path in generators.items():
        model = build_from(path, Wav2Lip).to(device)
        if model.image_size != expert.image_size:
            raise LipsyncError(
                f"{path}: draws {model.image_size} pixels, the expert {syncnet} judges "
                f"{expert.image_size}; train both with the same image_size"
            )
        found = generator_metrics(model, expert, dataset, seed, windows, shuffled_audio=True)
        found |= reference_leakage(model, dataset, seed, windows)
        report["generators"][name] = _sizes(model) | found
        log.info("%s: L1 %.4f, sync loss %.3f", name, found["l1"], found["sync_loss"])
    return _rounded(report)


def _expert(
    expert: SyncNet, results: str | Path, split: str, dataset: ClipDataset, seed: int, per_clip: int
) -> dict[str, Any]:
    """Figures on `dataset`, which is `split`; worst clips and calibration on validation too."""
    datasets = {split: dataset}
    if split != "val" and read_filelist(
        Path(results) / "filelists" / "val.txt", Path(results) / "faces"
    ):
        datasets = {"val": ClipDataset.load(results, "val", expert.image_size)} | datasets
    found = {
        name: evaluate_syncnet(expert, held, seed, per_clip) for name, held in datasets.items()
    }
    return _by_offset(found[split].figures) | {
        "per_clip": {name: _worst(expert, datasets[name], made) for name, made in found.items()},
        "calibration": {
            name: [point._asdict() for point in made.curve] for name, made in found.items()
        },
    }


def _worst(expert: SyncNet, dataset: ClipDataset, found: SyncNetResult) -> list[dict[str, Any]]:
    """The clips that the expert judges worst, first the worst, with the offset that fits them."""
    clips = {clip.id: clip for clip in dataset.clips}
    worst = sorted(found.losses, key=lambda entry: -entry[1])[:NUM_WORST_CLIPS]
    return [
        {
            "clip": clip,
            "loss": loss,
            "windows": windows,
            "offset": clip_offset(expert, dataset, clips[clip]),
        }
        for clip, loss, windows in worst
    ]


def _filled_split(results: Path, split: str) -> str:
    if split == "test" and not read_filelist(results / "filelists" / "test.txt", results / "faces"):
        log.warning("the test split is empty; the validation split is used instead")
        return "val"
    return split


def _sizes(model: nn.Module) -> dict[str, Any]:
    return {
        "width": model.width,
        "image_size": model.image_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def _by_offset(figures: dict[str, float]) -> dict[str, Any]:
    """offset_1 ... offset_10plus gathered under accuracy_by_offset, keys "1" ... "10+"."""
    prefix = "offset_"
    offsets = {
        name.removeprefix(prefix).replace("plus", "+"): value
        for name, value in figures.items()
        if name.startswith(prefix)
    }
    rest = {name: value for name, value in figures.items() if not name.startswith(prefix)}
    return rest | {"accuracy_by_offset": offsets}


def _rounded(value: Any) -> Any:
    """Floats to 6 digits; what is not a finite number becomes None, which JSON has."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if abs(value) < float("inf") else None
    return value
