"""The claim: the generator follows the sound, and its GAN neither collapses nor forgets that.

Trains the generators of config.yaml, without and with GAN, for several seeds on prepared data, and
judges them on the validation speakers as inference uses them (sound not shifted). Rows:

- wav2lip, wav2lip_gan: as configured; "raw" the same run's weights without the moving average;
- mel_shift -1: trained with the sound of the previous frame, as the public code does.

A run that was interrupted goes on; finished ones are only judged again.

    python benchmarks/generator.py --results results --expert results/syncnet/checkpoint.pth \
        --runs /tmp/runs [--seeds 0 1 2] [--rows wav2lip wav2lip_gan mel_shift] [--set steps=300]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core import config as settings
from lipsync_core.checkpoints import build_from
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.training import generator
from lipsync_core.training.judging import generator_metrics
from lipsync_core.training.leak import motion_metrics
from lipsync_core.windows import Corpus

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
ROWS = {  # name -> variant, keys set
    "wav2lip": ("wav2lip", {}),
    "wav2lip_gan": ("wav2lip_gan", {}),
    "mel_shift": ("wav2lip", {"mel_shift": -1}),
}
WINDOWS = 128
COLUMNS = {
    "sync loss": "sync_loss",
    "of copying": "sync_loss_copy",
    "of the truth": "sync_loss_truth",
    "L1": "l1",
    "L1, other sound": "l1_wrong_sound",
    "L1 of copying": "l1_copy",
    "PSNR lower": "psnr_lower",
    "motion": "motion",
    "in silence": "motion_silence",
    "of the truth ": "motion_truth",
}


def section(variant: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a variant as the rules make them from config.yaml, `more` set."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    schema = settings.load_schema(ROOT / "workflow/schemas/config.schema.yaml")
    full = settings.complete(raw, schema)
    options = full["generator"] | full["generator"][variant] | {"image_size": full["image_size"]}
    return options | more


def train(options: argparse.Namespace, row: str, seed: int) -> Path:
    """Train one row with one seed, unless it is done; returns its folder."""
    variant, more = ROWS[row]
    folder = options.runs / f"{row}_{seed}"
    if not (folder / "samples.png").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        outputs = (folder / name for name in ("checkpoint.pth", "metrics.csv", "samples.png"))
        chosen = section(variant, more | options.set)
        start = options.runs / f"{chosen['init']}_{seed}/checkpoint.pth" if chosen["init"] else None
        begun = time.perf_counter()
        generator.train(
            options.results, chosen, folder / "run", *outputs, options.expert, seed, CPU, start
        )
        (folder / "seconds").write_text(f"{time.perf_counter() - begun:.0f}", encoding="utf-8")
    return folder


def judge(options: argparse.Namespace, model: Wav2Lip) -> dict[str, float]:
    """The figures of a generator on the split."""
    expert = build_from(options.expert, SyncNet)
    corpus = Corpus.load(options.results, options.split, model.image_size)
    found = generator_metrics(model, expert, corpus, windows=WINDOWS, wrong_sound=True)
    return found | motion_metrics(model, corpus, windows=WINDOWS)


def raw_weights(folder: Path) -> Wav2Lip:
    """The weights of a finished run without the moving average."""
    model = build_from(folder / "checkpoint.pth", Wav2Lip)
    state = torch.load(folder / "run/last.pt", weights_only=True)
    model.load_state_dict(state["parts"]["model"])
    return model.eval()


def line(name: str, found: list[dict[str, float]]) -> str:
    cells = [" ".join(f"{each[key]:.4g}" for each in found) for key in COLUMNS.values()]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Train what is missing, print the table (one figure a seed)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="prepared data")
    parser.add_argument("--expert", type=Path, required=True, help="checkpoint of the expert")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--split", default="val")
    parser.add_argument("--set", nargs="*", default=[], help="keys of the config, e.g. steps=300")
    options = parser.parse_args()
    options.set = {
        key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in options.set)
    }
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)

    table: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        for row in options.rows:
            folder = train(options, row, seed)
            table.setdefault(row, []).append(
                judge(options, build_from(folder / "checkpoint.pth", Wav2Lip))
            )
            table.setdefault(f"{row}, raw", []).append(judge(options, raw_weights(folder)))
            (folder / "figures.json").write_text(json.dumps(table[row][-1], indent=1))
    print(f"| generator | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, found in table.items():
        print(line(name, found))
        mean = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
        print(line(f"{name}, mean", [mean]))


if __name__ == "__main__":
    main()
