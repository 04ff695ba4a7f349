"""The claim: after 1,000 steps the shipped SyncNet recipe is accurate, the public one is not.

After 1,000 steps of 48 windows AUC 0.95 or more on held-out speakers and accuracy at 5 and at 10+
frames 90 % or more; after 4,000 validation BCE 0.25 or less. Prepare the demo first (`make demo`).

    python benchmarks/syncnet.py [--steps 1000 4000] [--seeds 0 1 2] [--recipes shipped public]

Measured on the demo (AUC, loss; seeds 0, 1, 2), held-out speakers:

    shipped, 1,000 of 1,000   0.967 0.971 0.967   0.257 0.239 0.253
    shipped, 1,000 of 4,000   0.958 0.959 0.948   0.384 0.394 0.407, before calibration
    shipped, 4,000            0.984 0.981 0.982   0.180 0.193 0.193
    public, 1,000            0.858 0.878 0.865   0.460 0.431 0.450
    public, 4,000            0.925 0.909         0.346 0.381
    wide, 400 of 400          0.966               0.260; with Adam 0.925, 0.356

A recipe's options are those of config/config.yaml with the changes below. Interrupted runs go on
where they stopped, finished ones are only shown.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from lipsync_core import pretrained
from lipsync_core.config import SyncNetConfig
from lipsync_core.data.augmentation import NO_AUGMENT
from lipsync_core.runtime import config_file, threads
from lipsync_core.training import syncnet
from lipsync_core.training.engine import run_signature

ROOT = Path(__file__).parents[1]
PUBLIC = {
    # The public code: cross entropy, constant rate, no augmentation. Each of the 48 windows is
    # paired with its own audio and with another's, where the public code takes one of the two.
    **{
        "optimizer": "adam",
        "loss": "bce",
        "clips_per_batch": 24,
        "windows_per_clip": 2,
        "audio_negatives": 0,
        "lr": 1e-4,
        "lr_schedule": "constant",
        "warmup_steps": 0,
    },
    **{"grad_clip": 0, "augment": NO_AUGMENT.model_dump()},
}
RECIPES: dict[str, dict[str, Any]] = {
    "shipped": {},
    "public": PUBLIC,
    # What each part of the recipe does: without it, or with one more.
    "adam": {"optimizer": "adam"},
    "not centered": {"center_steps": 0},
    "no augmentation": {"augment": NO_AUGMENT.model_dump() | {"hflip": True}},
    "far to near": {"min_window_gap": 12},
    "audio negatives": {"audio_negatives": 16},
    # From the bundled weights of the demo; see docs/log.md for one real speaker.
    "from the demo": {"pretrained": "demo", "loss": "bce"},
    # As wide as the public network.
    "wide": {"width": 1.0},
    "wide, adam": {"width": 1.0, "optimizer": "adam", "lr": 5e-4},
}
COLUMNS = ("auc", "loss", "accuracy", "top1", "offset_1", "offset_3", "offset_5", "offset_10plus")


def config_of(recipe: str, steps: int, every: int) -> SyncNetConfig:
    """The `syncnet` section of the shipped config under a recipe."""
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    section = config_file.load(given, ROOT / "config/presets").syncnet.model_dump()
    bounds = {"steps": steps, "eval_every": every, "save_every": every}
    return SyncNetConfig(**section | {"pretrained": ""} | RECIPES[recipe] | bounds)


def run(results: Path, out: Path, config: SyncNetConfig, seed: int) -> list[dict[str, str]]:
    """The rows of metrics.csv of one training, which is done, continued or read."""
    start = pretrained.syncnet_start(config.pretrained) or None
    weights = [start] if start else []
    keys, data = run_signature.computed_keys(config), run_signature.data_digest(results, weights)
    folder = run_signature.open_run(out, "syncnet", keys, data, seed)
    metrics = folder / "done" / f"{config.steps}.csv"
    if not metrics.is_file():
        metrics.parent.mkdir(parents=True, exist_ok=True)
        out_weights = metrics.with_suffix(".pth")
        place = torch.device("cpu")
        syncnet.train(results, config, 96, folder, out_weights, metrics, seed, place, start)
    with open(metrics, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """The lines to print, each as soon as it is known."""
    head = ["recipe", "seed", "of", "steps", *COLUMNS]
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for recipe in arguments.recipes:
        for steps in arguments.steps:
            for seed in arguments.seeds:
                config = config_of(recipe, steps, arguments.every)
                rows = run(arguments.results, arguments.out, config, seed)
                for row in rows:
                    if int(row["step"]) in {steps, *arguments.show}:
                        cells = [recipe, seed, steps, row["step"]]
                        cells += [f"{float(row[f'val_{name}']):.3f}" for name in COLUMNS]
                        yield "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="prepared data")
    parser.add_argument("--out", type=Path, default=ROOT / "results/.runs/syncnet_benchmark")
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["shipped", "public"])
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations")
    parser.add_argument("--show", type=int, nargs="*", default=[], help="further steps to show")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    threads.limit(arguments.threads)
    for line in table(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
