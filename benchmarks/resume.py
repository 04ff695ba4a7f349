"""Claim: a training killed at any moment goes on, and ends with the bits of one that was not.

    python benchmarks/resume.py --results results --steps 200

Each of the three trainings at the sizes of config/config.yaml, on prepared data, in processes of
their own: once undisturbed, and once with SIGKILL half-way, SIGKILL in the middle of writing a
state, and the same command after each. Compared are the state (weights, optimisers, generator of
random numbers, schedule, sums since the last evaluation), the best weights and metrics.csv.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from lipsync_core.checkpoints import save_public
from lipsync_core.config import TrainingConfig
from lipsync_core.models import SyncNet
from lipsync_core.runtime import config_file
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import run_folder

ROOT = Path(__file__).parents[1]
NAMES = ("syncnet", "wav2lip", "wav2lip_gan")


def config_of(name: str, steps: int, **more: Any) -> TrainingConfig:
    """The shipped config of a training, with `steps` steps and a state every quarter of them."""
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    shipped = config_file.load(given, ROOT / "config/presets")
    section = shipped.syncnet if name == "syncnet" else shipped.generator.variant(name)
    # An evaluation that is not a save: sums begin anew between the states.
    every = {"steps": steps, "save_every": steps // 4, "eval_every": steps // 5}
    return type(section)(**section.model_dump() | every | more)


def train(
    name: str, config: TrainingConfig, results: Path, syncnet_path: Path, folder: Path
) -> None:
    """One training on the CPU, with one thread; what a job would do."""
    torch.set_num_threads(1)
    out = {"checkpoint": folder / "checkpoint.pth", "metrics": folder / "metrics.csv"}
    common = {"seed": 0, "device": torch.device("cpu")}
    if name == "syncnet":
        syncnet.train(results, config, 96, folder / "run", **out, **common)
        return
    out |= {"samples": folder / "samples.png", "syncnet": syncnet_path, "label": name}
    generator.train(results, config, 96, folder / "run", **out, **common)


def kill(process: multiprocessing.Process, signs: Iterator[bool]) -> None:
    """SIGKILL as soon as there is a sign."""
    while process.is_alive() and not next(signs):
        time.sleep(0.0005)
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise SystemExit(f"it ended with {process.exitcode} before it could be killed")


def state_of(run: Path) -> int:
    """The step of last.pt; 0 without."""
    path = run / run_folder.LAST
    return torch.load(path, weights_only=True)["step"] if path.is_file() else 0


def once_saved(run: Path, step: int) -> Iterator[bool]:
    """A sign when the state of `step` is there."""
    seen, there = 0, False
    while True:
        when = (
            (run / run_folder.LAST).stat().st_mtime_ns if (run / run_folder.LAST).is_file() else 0
        )
        if when != seen:
            seen, there = when, state_of(run) >= step
        yield there


def half_written(run: Path) -> Iterator[bool]:
    """A sign while a state is being written."""
    while True:
        yield any(path.stat().st_size > 0 for path in run.glob(".*.tmp.pt"))


def differences(left: Any, right: Any, where: str = "state") -> list[str]:
    """The places where two states differ, in any bit."""
    if isinstance(left, torch.Tensor):
        return [] if torch.equal(left, right) else [where]
    if isinstance(left, dict | list | tuple):
        if len(left) != len(right):
            return [where]
        keys = left if isinstance(left, dict) else range(len(left))
        return [
            line for key in keys for line in differences(left[key], right[key], f"{where}.{key}")
        ]
    return [] if left == right else [where]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="prepared data")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--trainings", nargs="+", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="resume-"))
    torch.manual_seed(0)
    syncnet_path = work / "syncnet.pth"
    save_public(syncnet_path, SyncNet(width=0.25))
    start = multiprocessing.get_context("spawn").Process
    print("| training | killed at | state | best weights | metrics.csv | rows | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.trainings:
        began = time.monotonic()
        config = config_of(name, arguments.steps)
        quiet, killed = work / name / "quiet", work / name / "killed"

        def begin(folder: Path, name: str = name, config: TrainingConfig = config) -> Any:
            process = start(
                target=train, args=(name, config, arguments.results, syncnet_path, folder)
            )
            process.start()
            return process

        begin(quiet).join()
        half = arguments.steps // 2
        kill(begin(killed), once_saved(killed / "run", half))
        steps = [f"{state_of(killed / 'run')} saved"]
        kill(begin(killed), half_written(killed / "run"))
        steps.append(f"{state_of(killed / 'run')} saved, the next half written")
        begin(killed).join()
        states = [
            torch.load(at / "run" / run_folder.LAST, weights_only=True) for at in (quiet, killed)
        ]
        unlike = differences(*states)
        same = [
            (quiet / file).read_bytes() == (killed / file).read_bytes()
            for file in (f"run/{run_folder.BEST}", "metrics.csv")
        ]
        rows = len(list(csv.DictReader((quiet / "metrics.csv").open())))
        verdict = "equal" if not unlike else f"{len(unlike)} differ: {unlike[:3]}"
        words = ["equal" if yes else "DIFFERENT" for yes in same]
        seconds = time.monotonic() - began
        print(
            f"| {name} | {'; '.join(steps)} | {verdict} | {' | '.join(words)} | {rows} "
            f"| {seconds:.0f} |",
            flush=True,
        )
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
