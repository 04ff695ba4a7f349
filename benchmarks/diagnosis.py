"""The claim: of a training that cannot work, the log names the cause that was made.

From a prepared corpus this makes data that is too little, audio that is shifted by 5 frames,
swapped between clips or silent, and learning rates that are far too high and too low; trains a
narrow SyncNet on each and prints what the data check found and which cause the diagnosis names.

    python benchmarks/diagnosis.py --results results [--steps 400] [--made "good data" shifted]

Measured on a GRID speaker (14 minutes train, 400 steps; "too little": 0.4 minutes and silent audio
200 steps, rate too high 100 steps), and on 6 minutes of 53 real speakers in all kinds of video:

    made              AUC   diagnosis               cause that is named first
    good data         0.90  learned
    6 min, 53 people  0.51  stuck at chance         too little speech
    too little        0.82  too few steps           too little speech
    shifted           0.82  learns a wrong offset   out of sync, 5 frames
    swapped           0.48  stuck at chance         no correlation
    silent            0.50  stuck at chance         silent audio
    rate too high     0.64  too few steps           the learning rate is too high
    rate too low      0.51  stuck at chance         the learning rate is too low
    share 0.36        0.89  learned (5 minutes)
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from lipsync_core.config import SyncNetConfig
from lipsync_core.data.dataset import ClipDataset, read_filelist
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import config_file, threads
from lipsync_core.training import diagnosis, syncnet
from lipsync_core.training.engine.signals import Interrupted

ROOT = Path(__file__).parents[1]
SPLITS = ("train", "val", "test")
SHIFT = 5  # frames
MEL_RATE = 80 / 25  # rows of a mel spectrogram a frame
SILENCE = -4.0  # in a mel spectrogram

Mels = list[np.ndarray]


def shifted(mels: Mels) -> Mels:
    """The frames come `SHIFT` frames late: each shows what was heard before."""
    return [np.roll(mel, -round(SHIFT * MEL_RATE), axis=0) for mel in mels]


def swapped(mels: Mels) -> Mels:
    """Each clip has the audio of the clip a third of the corpus further, from somewhere in it on.

    From somewhere: sentences of one pattern (GRID) share their rhythm from the first frame on.
    """
    step, rng = max(1, len(mels) // 3), np.random.default_rng(0)
    others = [np.resize(mels[(k + step) % len(mels)], mel.shape) for k, mel in enumerate(mels)]
    return [np.roll(mel, rng.integers(len(mel)), axis=0) for mel in others]


def silent(mels: Mels) -> Mels:
    """No audio at all."""
    return [np.full_like(mel, SILENCE) for mel in mels]


@dataclass(frozen=True)
class Made:
    """A made situation. rate: factor of the learning rate; share: of the training clips kept."""

    change: Callable[[Mels], Mels] | None = None
    rate: float = 1.0
    share: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


TOO_HIGH = {"lr": 1.0, "optimizer": "adam", "lr_schedule": "constant", "warmup_steps": 0}
MADE = {
    "good data": Made(),
    "too little": Made(share=0.03),
    "shifted": Made(shifted),
    "swapped": Made(swapped),
    "silent": Made(silent),
    # Normalized networks bear a lot: Muon learns at a hundred times the shipped rate (AUC 0.88).
    "rate too high": Made(options=TOO_HIGH),
    "rate too low": Made(rate=1e-3),
    # From which amount of data on a speaker is learned.
    **{f"share {share:g}": Made(share=share) for share in (0.36, 0.18)},
    # How far from the usual a learning rate works: the bounds of `PROVEN_LEARNING_RATES`.
    **{f"muon {rate:g}": Made(options={"lr": rate}) for rate in (3e-4, 3e-2, 0.3)},
    **{
        f"adam {rate:g}": Made(options={"lr": rate, "optimizer": "adam"})
        for rate in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
    },
}


def make(results: Path, out: Path, made: Made) -> Path:
    """A folder of prepared data like `results` with the change of `made`."""
    out.mkdir(parents=True, exist_ok=True)
    lists = {
        split: read_filelist(results / f"filelists/{split}.txt", results / "faces")
        for split in SPLITS
    }
    lists["train"] = lists["train"][: max(2, round(made.share * len(lists["train"])))]
    (out / "filelists").mkdir(exist_ok=True)
    for split, ids in lists.items():
        (out / f"filelists/{split}.txt").write_text(
            "".join(f"{i}\n" for i in ids), encoding="utf-8"
        )
    link(out / "faces", results / "faces")
    # Speech and sync as measured; where this changes the audio, the offsets are no longer right.
    if made.change is None and (results / "filelists/clips.csv").is_file():
        link(out / "filelists/clips.csv", results / "filelists/clips.csv")
    if made.change is None:
        link(out / "mels", results / "mels")
        return out
    every = [clip for ids in lists.values() for clip in ids]
    mels = made.change([np.load(results / f"mels/{clip}.npy") for clip in every])
    for clip, mel in zip(every, mels, strict=True):
        path = out / f"mels/{clip}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, mel)
    return out


def link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target.resolve())


def diagnose(
    results: Path, out: Path, config: SyncNetConfig, seed: int
) -> tuple[dict, list, diagnosis.Diagnosis]:
    """The data check, the metrics of a training on `results`, and its diagnosis."""
    files = [out / name for name in ("run", "checkpoint.pth", "metrics.csv")]
    data_check = out / "data_check.json"
    syncnet.train(results, config, 96, *files, seed, torch.device("cpu"), data_check=data_check)
    with open(files[2], encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = json.loads(data_check.read_text(encoding="utf-8"))
    corpora = [ClipDataset.load(results, split) for split in ("train", "val")]
    return found, rows, diagnosis.diagnose(rows, syncnet.run_info(config, *corpora, found))


def config_of(arguments: argparse.Namespace, made: Made) -> SyncNetConfig:
    """The `syncnet` section of the shipped config, narrow and short, with the change of `made`."""
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    shipped = config_file.load(given, ROOT / "config/presets").syncnet
    every = max(1, arguments.steps // 5)
    section = shipped.model_dump() | {
        "pretrained": "",
        "width": arguments.width,
        "steps": arguments.steps,
        "lr": shipped.lr * made.rate,
        "eval_every": every,
        "save_every": arguments.steps,
    }
    return SyncNetConfig(**section | made.options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="prepared data")
    parser.add_argument("--out", type=Path, default=ROOT / "results/.runs/diagnosis_benchmark")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--made", nargs="+", choices=MADE, default=list(MADE)[:7])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    threads.limit(arguments.threads)
    print("| made | data check | AUC | training loss | diagnosis | first cause |")
    print("|" + " --- |" * 6)
    for name in arguments.made:
        print("| " + " | ".join([name, *row_of(arguments, name)]) + " |", flush=True)


def row_of(arguments: argparse.Namespace, name: str) -> list[str]:
    """The cells of a made situation."""
    folder = arguments.out / name.replace(" ", "_")
    results = make(arguments.results, folder / "data", MADE[name])
    try:
        config = config_of(arguments, MADE[name])
        found, rows, diagnosed = diagnose(results, folder, config, arguments.seed)
    except Interrupted:
        raise
    except LipsyncError as error:
        return ["", "", "", "stopped", str(error)]
    checks = ", ".join(check["word"] for check in found["checks"])
    cause = diagnosed.text.partition("Likely cause: ")[2].partition(". ")[0]
    auc, loss = (f"{float(rows[-1][column]):.2f}" for column in ("val_auc", "train_loss"))
    return [checks, auc, loss, diagnosed.word, cause]


if __name__ == "__main__":
    main()
