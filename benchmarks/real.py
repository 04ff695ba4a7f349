"""The claim: real recordings of one person are learned, and what n minutes of them buy.

Runs the whole chain on a folder of real recordings, one person or several: preparation with the
preset `one_speaker`, SyncNet, the generators without and with GAN, and their figures on held-out
clips. Prints a table of the SyncNets and one of the generators.

    python benchmarks/real.py --data DIR --out /tmp/real            # DIR: <speaker>/<clip>.<ext>
    python benchmarks/real.py --results DIR --out /tmp/real         # prepared already
        [--minutes 5 10 20 40] [--seeds 0 1 2] [--classic] [--no-generators] [--width 0.25]
        [--syncnet-steps 3000] [--generator-steps 1500] [--gan-steps 500] [--threads 1]
        [--set generator.lr=1e-3 generator.lr_schedule=cosine]

--minutes: train on so much of the training clips, in an order given by a hash of their names, so
that the smaller amounts are parts of the larger ones; the held-out clips stay. --classic: also
SyncNet by the public recipe (`syncnet.PUBLIC`). SyncNet starts from random weights, or from what
`--set syncnet.pretrained=demo` names, not from the bootstrap of `sync.correct`. Interrupted runs go
on, finished ones are shown.

Columns. Accuracy at n frames: share of windows whose own audio is rated above the audio n frames
off. shuffled: L1 with other audio over L1 with its own. silence: lip motion with silent audio over
that with audio; pixels: the same of pixels, which the head moves (truth: silent over spoken
windows). sync loss by the run's own SyncNet; copy: of the reference frames. sharpness,
color (b, g, r), stripes: `evaluation/appearance.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from runs import Project
from syncnet import PUBLIC

from lipsync_core import pretrained
from lipsync_core.checkpoints import build_from
from lipsync_core.config import Config, SyncNetConfig, TrainingConfig
from lipsync_core.corpus.filelists import ListedClip, parse_line
from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.evaluation.generator import generator_metrics, gt_motion, reference_leakage
from lipsync_core.evaluation.syncnet import evaluate_syncnet
from lipsync_core.media.video import FPS
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.preparation.assignment import unit_hash
from lipsync_core.runtime import config_file, threads
from lipsync_core.runtime.files import write_text
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import run_signature

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
EVALUATIONS = 6  # of a training
WINDOWS = 128  # that the generators are evaluated on
SYNCNET_COLUMNS = {
    **{"AUC": "auc", "BCE": "loss", "at 1": "offset_1", "at 5": "offset_5"},
    **{"at 10+": "offset_10plus", "seconds": "seconds"},
}
GENERATOR_COLUMNS = {
    **{"L1": "l1", "copy": "l1_reference", "shuffled": "l1_shuffled_ratio"},
    **{"sync loss": "sync_loss", "truth": "sync_loss_gt", "copy ": "sync_loss_reference"},
    **{"silence": "silent_lip_motion_ratio", "truth ": "silent_lip_motion_ratio_gt"},
    **{"pixels": "silent_motion_ratio", "truth  ": "silent_motion_ratio_gt"},
    **{"sharpness": "sharpness_ratio", "stripes": "stripes"},
    **{name[-1]: name for name in ("color_shift_b", "color_shift_g", "color_shift_r")},
    "seconds": "seconds",
}
Figures = dict[str, float]


def given_config(options: argparse.Namespace) -> dict[str, Any]:
    """The user's keys: preset, width and what `--set` names."""
    config: dict[str, Any] = {"preset": options.preset, "device": "cpu"}
    settings = {"syncnet.width": options.width, "generator.width": options.width} | options.set
    for path, value in settings.items():
        *sections, key = path.split(".")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return config


def timed_steps(section: TrainingConfig, steps: int) -> dict[str, Any]:
    """The keys of a section with other steps, evaluated and saved a few times."""
    every = max(1, steps // EVALUATIONS)
    bounds = {"steps": steps, "eval_every": every, "save_every": every, "max_runs": 0}
    return section.model_dump() | bounds | {"pretrained": ""}


def subset(results: Path, out: Path, minutes: float | None) -> Path:
    """A view of prepared data with `minutes` of the training clips, all for None."""
    lists = out / "filelists"
    lists.mkdir(parents=True, exist_ok=True)
    for name in ("audio", "faces", "mels"):
        if not (out / name).is_symlink():
            (out / name).symlink_to((results / name).resolve())
    for path in (results / "filelists").iterdir():
        if path.name != "train.txt":
            write_text(lists / path.name, path.read_text(encoding="utf-8"))
    lines = (results / "filelists/train.txt").read_text(encoding="utf-8").splitlines()
    if minutes is not None:
        lines = first_minutes(results, lines, minutes)
    write_text(lists / "train.txt", "".join(f"{line}\n" for line in lines))
    return out


def first_minutes(results: Path, lines: list[str], minutes: float) -> list[str]:
    """So many minutes of the clips `lines`, in an order given by a hash; the last one is cut."""
    left, chosen = round(minutes * 60 * FPS), []
    order = sorted(lines, key=lambda line: unit_hash(line, 0))
    for line, clip in zip(order, ClipDataset.load(results, order).clips, strict=True):
        frames = len(clip.starts) + WINDOW - 1
        if frames > left:
            first, last = int(clip.starts[0]), int(clip.starts[0]) + left - 1
            line = str(ListedClip(clip.id, first, last, parse_line(line).audio_shift))
        if left >= 2 * FPS:
            chosen.append(line)
        left -= frames
    if left > 2 * FPS:
        print(f"only {minutes - left / 60 / FPS:.1f} of {minutes:g} minutes are there")
    return sorted(chosen)


def once(
    folder: Path, train: Callable[[Path], None], evaluate: Callable[[Path], Figures]
) -> Figures:
    """The figures of a training, which is done, continued or read; seconds: of all its starts."""
    done, clock = folder / "figures.json", folder / "seconds"
    if not done.is_file():
        began = time.perf_counter()
        before = float(clock.read_text()) if clock.is_file() else 0.0
        try:
            train(folder)
        finally:
            spent = before + time.perf_counter() - began
            write_text(clock, f"{spent:.1f}")
        write_text(done, json.dumps(evaluate(folder / "checkpoint.pth") | {"seconds": spent}))
    return json.loads(done.read_text(encoding="utf-8"))


class Chain:
    """The trainings on one amount of data with one seed."""

    def __init__(self, options: argparse.Namespace, config: Config, data: Path, seed: int) -> None:
        self.options, self.config, self.data, self.seed = options, config, data, seed
        self.size = config.image_size
        split = "test" if (data / "filelists/test.txt").read_text(encoding="utf-8") else "val"
        self.held_out = ClipDataset.load(data, split, self.size)

    def open_run(self, name: str, section: TrainingConfig, *weights: Path) -> Path:
        """The folder of a training; another config or other data have another one."""
        keys = run_signature.computed_keys(section) | {"steps": section.steps}
        data = run_signature.data_digest(self.data, weights)
        return run_signature.open_run(self.options.out / "runs", name, keys, data, self.seed)

    def syncnet(self, name: str, more: Mapping[str, Any]) -> tuple[Path, Figures]:
        """Folder and figures of a SyncNet with the keys `more`."""
        section = timed_steps(self.config.syncnet, self.options.syncnet_steps) | more
        section = SyncNetConfig(**section | {"data_check": "off"})
        # The public recipe starts from nothing, as its authors did.
        named = "" if more else pretrained.syncnet_start(self.config.syncnet.pretrained)
        start = Path(named) if named else None
        folder = self.open_run(name, section, *([start] if start else []))

        def train(folder: Path) -> None:
            files = (folder, folder / "checkpoint.pth", folder / "metrics.csv")
            syncnet.train(self.data, section, self.size, *files, self.seed, CPU, start)

        def evaluate(checkpoint: Path) -> Figures:
            model = build_from(checkpoint, SyncNet)
            return evaluate_syncnet(model, self.held_out, self.seed, 96).metrics

        return folder, once(folder, train, evaluate)

    def generator(
        self, variant: str, steps: int, expert: Path, start: Path | None
    ) -> tuple[Path, Figures]:
        """Folder and figures of a generator. expert, start: checkpoints."""
        section = self.config.generator.variant(variant)
        section = type(section)(**timed_steps(section, steps))
        folder = self.open_run(variant, section, expert, *([start] if start else []))

        def train(folder: Path) -> None:
            names = ("checkpoint.pth", "metrics.csv", "samples.png")
            files = (folder, *(folder / name for name in names), expert)
            generator.train(self.data, section, self.size, *files, self.seed, CPU, start)

        def evaluate(checkpoint: Path) -> Figures:
            model, judge = build_from(checkpoint, Wav2Lip), build_from(expert, SyncNet)
            asked = (self.held_out, self.seed, WINDOWS)
            found = generator_metrics(model, judge, *asked) | reference_leakage(model, *asked)
            return found | gt_motion(*asked)

        return folder, once(folder, train, evaluate)


def run_chain(chain: Chain, options: argparse.Namespace) -> list[tuple[str, Figures]]:
    """Name and figures of each training of the chain."""
    expert, found = chain.syncnet("syncnet", {})
    rows = [("syncnet", found)]
    if options.classic:
        rows.append(("classic", chain.syncnet("classic", PUBLIC)[1]))
    if options.generators:
        first, found = chain.generator(
            "wav2lip", options.generator_steps, expert / "checkpoint.pth", None
        )
        rows.append(("wav2lip", found))
        if options.gan_steps:
            start = first / "checkpoint.pth"
            steps = (options.gan_steps, expert / "checkpoint.pth", start)
            rows.append(("wav2lip_gan", chain.generator("wav2lip_gan", *steps)[1]))
    return rows


def table(rows: list[tuple[str, str, Figures]], columns: Mapping[str, str]) -> str:
    """Rows of a Markdown table: (amount and seed, name, figures)."""
    lines = [f"| data | training | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for data, name, found in rows:
        cells = (found.get(key) for key in columns.values())
        texts = ("" if value is None else f"{value:.4g}" for value in cells)
        lines.append(f"| {data} | {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


def show(rows: list[tuple[str, str, Figures]]) -> None:
    """Print the tables of all rows so far."""
    experts = [row for row in rows if row[1] in ("syncnet", "classic")]
    others = [row for row in rows if row not in experts]
    print(table(experts, SYNCNET_COLUMNS))
    if others:
        print("\n" + table(others, GENERATOR_COLUMNS), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="videos: <speaker>/<clip>.<ext>")
    source.add_argument("--results", type=Path, help="prepared data, used as they are")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything written")
    parser.add_argument("--preset", default="one_speaker")
    parser.add_argument("--minutes", type=float, nargs="+", help="of training data; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--classic", action="store_true", help="also the public recipe")
    parser.add_argument("--no-generators", dest="generators", action="store_false")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--syncnet-steps", type=int, default=3000)
    parser.add_argument("--generator-steps", type=int, default=1500)
    parser.add_argument("--gan-steps", type=int, default=500, help="0: no GAN")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="section.key=value")
    options = parser.parse_args()
    pairs = (pair.partition("=") for pair in options.set)
    options.set = {key: yaml.safe_load(value) for key, _, value in pairs}
    return options


def main() -> None:
    options = parse()
    threads.limit(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = given_config(options)
    config = config_file.load(given, ROOT / "config/presets")
    results = options.results
    if options.data:
        sources = {"data_root": str(options.data.resolve())}
        project = Project(options.out.resolve() / "prepared", given | sources)
        spent = project.run("--cores", str(options.threads), "filelists").seconds
        print(f"prepared in {spent:.0f} s", flush=True)
        results = project.results
    rows = []
    for minutes in options.minutes or [None]:
        amount = "all" if minutes is None else f"{minutes:g} min"
        data = subset(results, options.out / f"data/{amount.replace(' ', '_')}", minutes)
        for seed in options.seeds:
            found = run_chain(Chain(options, config, data, seed), options)
            rows += [(f"{amount}, seed {seed}", *row) for row in found]
            show(rows)


if __name__ == "__main__":
    main()
