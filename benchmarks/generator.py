"""The claim: the generator follows the sound, and its GAN neither collapses nor forgets that.

Trains the generators of config.yaml, without and with GAN, for several seeds on prepared data, and
evaluates them on the validation speakers as inference uses them (audio not shifted). Rows:

- wav2lip, wav2lip_gan: as configured; with --raw also the weights without the moving average;
- planted: the GAN with its learning rates 300-fold from the first evaluation until that is noticed;
- mel_offset -1: trained with the sound of the previous frame, as the public code does.

A run that was interrupted goes on; the figures of finished ones are kept.

Measured with the demo's SyncNet (1,000 steps, AUC 0.97), sync loss of seeds 0, 1, 2: wav2lip 0.44,
0.49, 0.56, wav2lip_gan 0.42, 0.50, 0.58 (reference 3.17, ground truth 0.26); no rollback. L1 with
the sound 0.0368, 0.0381, 0.0393, with another one's 0.0392, 0.0400, 0.0411. Planted: noticed, one
rollback in each. With batches of 2 for 1,500 steps: 0.88, 0.94, 1.73, mel_offset 1.65 (seed 0);
with `sync_threshold` 2.0 on top 1.48, and an L1 of 0.0570 whatever the sound.

    python benchmarks/generator.py --results results --syncnet results/syncnet/checkpoint.pth \
        --runs /tmp/runs [--seeds 0 1 2] [--rows wav2lip wav2lip_gan mel_offset] [--set steps=300]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.checkpoints import build_from
from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.evaluation.generator import generator_metrics, reference_leakage
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime import config_file
from lipsync_core.training import generator

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


class Planted(generator.GeneratorTask):
    """A GAN that loses its head and does not find it again by itself."""

    first = 0  # step

    def _lr(self, step: int, peak: float) -> float:
        absurd = step >= self.first and not self.extra_state["rollbacks"]
        return super()._lr(step, peak) * (300 if absurd else 1)


ROWS = {  # name -> variant, keys set, task
    "wav2lip": ("wav2lip", {}, generator.GeneratorTask),
    "wav2lip_gan": ("wav2lip_gan", {}, generator.GeneratorTask),
    "planted": ("wav2lip_gan", {}, Planted),
    "mel_offset": ("wav2lip", {"mel_offset": -1}, generator.GeneratorTask),
}
WINDOWS = 64
COLUMNS = {
    "sync loss": "sync_loss",
    "reference": "sync_loss_reference",
    "ground truth": "sync_loss_gt",
    "L1": "l1",
    "shuffled audio": "l1_shuffled_audio",
    "reference ": "l1_reference",
    "PSNR lower": "psnr_lower",
    "motion": "motion",
    "silent audio": "motion_silent_audio",
    "true motion": "motion_gt",
    "rollbacks": "rollbacks",
}


def section(variant: str, more: Mapping[str, Any]) -> GeneratorVariantConfig:
    """The config of a variant as the rules make it from config.yaml, `more` set."""
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    shipped = config_file.load(given, ROOT / "config/presets").generator.variant(variant)
    return GeneratorVariantConfig(**shipped.model_dump() | more)


def train(options: argparse.Namespace, row: str, seed: int) -> Path:
    """Train one row with one seed, unless it is done; returns its folder."""
    variant, more, generator.GeneratorTask = ROWS[row]
    folder = options.runs / f"{row}_{seed}"
    if not (folder / "samples.png").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        outputs = (folder / name for name in ("checkpoint.pth", "metrics.csv", "samples.png"))
        chosen = section(variant, more | options.set)
        start = chosen.pretrained and options.runs / f"{chosen.pretrained}_{seed}/checkpoint.pth"
        Planted.first = chosen.eval_every
        begun = time.perf_counter()
        files = (folder / "run", *outputs, options.syncnet)
        generator.train(options.results, chosen, 96, *files, seed, CPU, start or None)
        (folder / "seconds").write_text(f"{time.perf_counter() - begun:.0f}", encoding="utf-8")
    return folder


def evaluate(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """The figures of a finished run on the split, and those of its weights without average."""
    kept = folder / f"{options.split}.json"
    if not kept.is_file():
        syncnet = build_from(options.syncnet, SyncNet)
        model = build_from(folder / "checkpoint.pth", Wav2Lip)
        found = {"": figures(model, syncnet, options)}
        state = torch.load(folder / "run/last.pt", weights_only=True)
        if options.raw:
            model.load_state_dict(state["parts"]["model"])
            found[", raw"] = figures(model.eval(), syncnet, options)
        for each in found.values():
            each["rollbacks"] = state["extra_state"].get("rollbacks", 0)
        kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def figures(model: Wav2Lip, syncnet: SyncNet, options: argparse.Namespace) -> dict[str, float]:
    corpus = ClipDataset.load(options.results, options.split, model.image_size)
    found = generator_metrics(model, syncnet, corpus, windows=WINDOWS, shuffled_audio=True)
    return found | reference_leakage(model, corpus, windows=WINDOWS)


def line(name: str, found: Sequence[Mapping[str, float]]) -> str:
    """A row: the mean over the seeds, then the seeds."""
    cells = []
    for key in COLUMNS.values():
        values = [each[key] for each in found]
        cells.append(f"{np.mean(values):.4g} ({' '.join(f'{value:.3g}' for value in values)})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="prepared data")
    parser.add_argument("--syncnet", type=Path, required=True, help="checkpoint of SyncNet")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--split", default="val")
    parser.add_argument("--raw", action="store_true", help="also the weights without average")
    parser.add_argument("--set", nargs="*", default=[], help="keys of the config, e.g. steps=300")
    options = parser.parse_args()
    pairs = (pair.partition("=") for pair in options.set)
    options.set = {key: yaml.safe_load(value) for key, _, value in pairs}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)

    table: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        for row in options.rows:
            for of, found in evaluate(options, train(options, row, seed)).items():
                table.setdefault(f"{row}{of}", []).append(found)
    print(f"| mean (seeds {' '.join(map(str, options.seeds))}) | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, found in table.items():
        print(line(name, found))


if __name__ == "__main__":
    main()
