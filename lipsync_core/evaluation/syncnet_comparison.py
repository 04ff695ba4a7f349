"""Comparison of the SyncNet trained here with the public one, on the same pairs.

Both are evaluated by `evaluate_syncnet` with one seed: the same clips, windows and wrong audio. The
comparison decides which of the two gives the sync loss of a generator (`generator.syncnet: best`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lipsync_core.checkpoints import build_from
from lipsync_core.corpus import split_summary
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.output import rounded
from lipsync_core.evaluation.syncnet import syncnet_metrics
from lipsync_core.models import SyncNet
from lipsync_core.runtime.files import file_sha, write_text
from lipsync_core.runtime.tables import write_table

log = logging.getLogger(__name__)
OWN, PUBLIC = "own", "public"
SPLIT = "val"  # the choice is part of the training, so the test clips stay unseen


def compare_syncnets(
    results: str | Path,
    networks: Mapping[str, str | Path],
    device: torch.device,
    seed: int = 0,
    windows_per_clip: int = 48,
) -> dict[str, Any]:
    """Metrics of several SyncNets on the validation clips, and which of them is best.

    Parameters
    ----------
    results: folder of the prepared data. networks: checkpoints by name, `OWN` first; their widths
    may differ, their image sizes may not. windows_per_clip: of each validation clip.

    Returns a dict for JSON: split, evaluated_on, clips, windows_per_clip, seed, best (a name), and
    networks: name -> width, parameters, sha256 and the metrics of `syncnet_metrics`. The best one
    has the highest AUC, which needs no calibrated cosines; of equal ones the first.

    Raises LipsyncError if a checkpoint cannot be used or the image sizes differ.
    """
    models = {name: build_from(path, SyncNet).to(device).eval() for name, path in networks.items()}
    sizes = {name: model.image_size for name, model in models.items()}
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{networks[name]}: {size} pixels" for name, size in sizes.items())
        raise LipsyncError(f"SyncNets of different image sizes cannot be compared: {given}")
    dataset = ClipDataset.load(results, SPLIT, next(iter(sizes.values())))
    found = {
        name: {
            "width": model.width,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "sha256": file_sha(networks[name]),
        }
        | syncnet_metrics(model, dataset, seed, windows_per_clip)
        for name, model in models.items()
    }
    best = max(found, key=lambda name: found[name]["auc"])
    for name, row in found.items():
        log.info("SyncNet %s: AUC %.4f, loss %.4f", name, row["auc"], row["loss"])
    log.info("the better SyncNet on the validation clips: %s", best)
    return rounded(
        {
            "split": SPLIT,
            "evaluated_on": split_summary.evaluated_on(results, SPLIT),
            "clips": len(dataset.clips),
            "windows_per_clip": windows_per_clip,
            "seed": seed,
            "best": best,
            "networks": found,
        }
    )


def write_comparison(comparison: Mapping[str, Any], path: Path) -> None:
    """Write the comparison as JSON, and its networks as a table (.csv) beside it."""
    write_text(path, json.dumps(comparison, indent=2) + "\n")
    rows = [{"network": name} | dict(row) for name, row in comparison["networks"].items()]
    write_table(path.with_suffix(".csv"), rows, list(rows[0]))
