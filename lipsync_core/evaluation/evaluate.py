"""Evaluation of trained networks on the test split, for results/evaluation.json and the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core.checkpoints import build_from
from lipsync_core.corpus import split_summary
from lipsync_core.data.dataset import ClipDataset, read_filelist
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import summary
from lipsync_core.evaluation.generator import generator_metrics, gt_motion, reference_leakage
from lipsync_core.evaluation.judges import load_judges
from lipsync_core.evaluation.output import Evaluation, rounded
from lipsync_core.evaluation.protocols import run_protocols
from lipsync_core.evaluation.syncnet import SyncNetResult, clip_sync, evaluate_syncnet
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime.files import file_sha
from lipsync_core.runtime.tables import Row, read_by_clip

log = logging.getLogger(__name__)
NUM_WORST_CLIPS = 10
OFFSET_PREFIX = "offset_"
SYNC_LOSS_JUDGE = "sync_loss_syncnet"  # where another SyncNet than that of the run has taught


def evaluate(
    results: str | Path,
    syncnet: str | Path,
    generators: Mapping[str, str | Path],
    device: torch.device,
    split: str = "test",
    seed: int = 0,
    windows_per_clip: int = 96,
    generator_windows: int = 128,
    max_clips: int = 500,
    clip_frames: int = 100,
    group_by: Sequence[str] = (),
    second_judge: str | Path | None = None,
    sync_loss: str | Path | None = None,
    models: str | Path = "models",
) -> Evaluation:
    """Evaluate a SyncNet, and generators with it, on a split. Deterministic.

    Parameters
    ----------
    results: folder of the prepared data. syncnet: checkpoint. generators: checkpoints by name.
    split: "test"; if that list is empty, "val" is used, and named in the result.
    windows_per_clip: for SyncNet. generator_windows: for each generator.
    max_clips, clip_frames: of the protocols, see `protocols.run_protocols`.
    group_by: columns of clips.csv by whose values the figures are shown as well.
    second_judge: checkpoint of a SyncNet that no training minimized. sync_loss: checkpoint of the
        SyncNet of the generators' sync loss, `syncnet` by default; a judge of its own where it has
        other content. models: folder where syncnet_v2.model is looked for.

    Returns an `Evaluation`, whose `report` is a dict for JSON, described in docs/evaluation.md:
    split, evaluated_on (such as "held-out speakers" or "seen speaker"), clips, speakers, seed,
    syncnet, generators, judges, protocols, rankings, agreement, groups, fid.

    Raises LipsyncError if data or checkpoints cannot be used.
    """
    results = Path(results)
    if split == "test" and not _clips_of(results, "test"):
        log.warning("the test split is empty; the validation split is used instead")
        split = "val"
    network = build_from(syncnet, SyncNet).to(device)
    dataset = ClipDataset.load(results, split, network.image_size)
    report: dict[str, Any] = {"split": split}
    report["evaluated_on"] = split_summary.evaluated_on(results, split)
    report |= {"clips": len(dataset.clips), "speakers": len(dataset.speakers), "seed": seed}
    found = _syncnet(network, results, split, dataset, seed, windows_per_clip)
    report |= {"syncnet": _sizes(network) | found, "generators": {}}
    log.info("evaluated on the %s split: %s", split, report["evaluated_on"])
    networks = {
        name: _load_generator(path, network, syncnet, device) for name, path in generators.items()
    }
    motion = gt_motion(dataset, seed, generator_windows)
    for name, model in networks.items():
        asked = (dataset, seed, generator_windows)
        found = generator_metrics(model, network, *asked, shuffled_audio=True)
        found |= reference_leakage(model, *asked) | motion
        report["generators"][name] = _sizes(model) | found
        log.info("%s: L1 %.4f, sync loss %.3f", name, found["l1"], found["sync_loss"])
    syncnets = {"syncnet": syncnet} | ({"second_judge": second_judge} if second_judge else {})
    if sync_loss and file_sha(sync_loss) != file_sha(syncnet):
        syncnets |= {SYNC_LOSS_JUDGE: sync_loss}
        judges = load_judges(syncnets, models, device, losses=(SYNC_LOSS_JUDGE,))
    else:
        judges = load_judges(syncnets, models, device)
    rows = run_protocols(dataset, results, networks, judges, seed, max_clips, clip_frames)
    report |= summary.report_sections(rows, networks, judges, seed)
    report["groups"] = _groups(results, rows, group_by, [judge.name for judge in judges], seed)
    return Evaluation(rounded(report), [rounded(row) for row in rows])


def _load_generator(
    path: str | Path, syncnet: SyncNet, syncnet_path: str | Path, device: torch.device
) -> Wav2Lip:
    """A generator of SyncNet's size; LipsyncError for another."""
    # On a processor convolutions are up to 1.4 times as fast in this memory format.
    model = build_from(path, Wav2Lip).to(device, memory_format=torch.channels_last)
    if model.image_size != syncnet.image_size:
        raise LipsyncError(
            f"{path}: generates {model.image_size} pixels, the SyncNet {syncnet_path} needs "
            f"{syncnet.image_size}; train both with the same image_size"
        )
    return model


def _groups(
    results: Path, rows: Sequence[Row], columns: Sequence[str], judges: Sequence[str], seed: int
) -> dict[str, Any]:
    """The figures of each protocol by the values of columns of clips.csv."""
    table = _clip_table(results, columns)
    return {
        protocol: summary.grouped(
            [row for row in rows if row["protocol"] == protocol], columns, table, judges, seed
        )
        for protocol in dict.fromkeys(row["protocol"] for row in rows)
    }


def _clip_table(results: Path, columns: Sequence[str]) -> dict[str, Row]:
    """The rows of clips.csv, which must have `columns`."""
    if not columns:
        return {}
    path = results / "filelists" / "clips.csv"
    found = read_by_clip(path)
    missing = [name for name in columns if name not in next(iter(found.values()), {})]
    if missing:
        raise LipsyncError(
            f"evaluate.group_by: {path} has no column {', '.join(missing)}; remove it there, or "
            "give the column with the corpus"
        )
    return found


def _syncnet(
    model: SyncNet, results: Path, split: str, dataset: ClipDataset, seed: int, per_clip: int
) -> dict[str, Any]:
    """Metrics on `dataset`, which is `split`; worst clips and calibration on validation too."""
    datasets = {split: dataset}
    if split != "val" and _clips_of(results, "val"):
        datasets = {"val": ClipDataset.load(results, "val", model.image_size)} | datasets
    found = {name: evaluate_syncnet(model, held, seed, per_clip) for name, held in datasets.items()}
    metrics = found[split].metrics
    return {
        **{name: value for name, value in metrics.items() if not name.startswith(OFFSET_PREFIX)},
        "accuracy_by_offset": {
            name.removeprefix(OFFSET_PREFIX).replace("plus", "+"): value
            for name, value in metrics.items()
            if name.startswith(OFFSET_PREFIX)
        },
        "per_clip": {name: _worst(model, datasets[name], result) for name, result in found.items()},
        "calibration": {
            name: [point._asdict() for point in result.curve] for name, result in found.items()
        },
    }


def _worst(model: SyncNet, dataset: ClipDataset, result: SyncNetResult) -> list[dict[str, Any]]:
    """The clips with the largest loss, in descending order, with their audio-visual offset."""
    clips = {clip.id: clip for clip in dataset.clips}
    worst = sorted(result.losses, key=lambda entry: -entry[1])[:NUM_WORST_CLIPS]
    return [
        {
            "clip": clip,
            "loss": loss,
            "windows": windows,
            "offset": clip_sync(model, dataset, clips[clip]).offset,
        }
        for clip, loss, windows in worst
    ]


def _clips_of(results: Path, split: str) -> list[str]:
    return read_filelist(results / "filelists" / f"{split}.txt", results / "faces")


def _sizes(model: nn.Module) -> dict[str, Any]:
    return {
        "width": model.width,
        "image_size": model.image_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
