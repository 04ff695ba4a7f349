"""Claim: two ranks train as one process with the same batch does, up to rounding.

    python benchmarks/ranks.py --results results --steps 10

Trainings at the sizes of config/config.yaml, on prepared data, on the CPU in float32: in one
process, in two ranks (gloo), and, to see what rounding alone does, in one process with two threads.
Shown are the largest difference of a weight from the first, and how many of a million weights
differ by over 1e-5. Adam makes rounding visible: where a gradient is nearly nothing, its sign, and
with it a whole step, hangs on the last bit. `tests/training/engine/test_distributed.py` compares in
double precision, where no more than 1e-9 is left. In single precision the first gradient of one
process is 2 %, 11 % and 3 % (SyncNet, generator, GAN, tiny and random) from the one of double
precision, that of two ranks 1 %, 0.5 % and 0.3 %.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from resume import NAMES, config_of

from lipsync_core.checkpoints import save_public
from lipsync_core.models import SyncNet
from lipsync_core.training import launch
from lipsync_core.training.engine import run_folder

WAYS = {"one process": (1, 1), "two ranks": (2, 2), "two threads": (1, 2)}  # ranks, threads
BOUND = 1e-5


def train(name: str, results: Path, syncnet_path: Path, folder: Path, steps: int, way: str) -> None:
    ranks, threads = WAYS[way]
    own = {"num_processes": ranks, "precision": "float32", "eval_every": steps}
    config = config_of(name, steps, save_every=steps, **own)
    arguments = {
        "results": results.resolve(),
        "image_size": 96,
        "run_dir": folder / "run",
        "checkpoint": folder / "checkpoint.pth",
        "metrics": folder / "metrics.csv",
        "seed": 0,
    }
    if name == "syncnet":
        launch.run("syncnet", "cpu", threads, config, **arguments)
        return
    more = {"samples": folder / "samples.png", "syncnet": syncnet_path, "label": name}
    launch.run("generator", "cpu", threads, config, **arguments, **more)


def weights(folder: Path) -> torch.Tensor:
    """All weights of the networks of a run."""
    parts = torch.load(folder / "run" / run_folder.LAST, weights_only=True)["parts"]
    return torch.cat(
        [
            tensor.double().flatten()
            for name in ("model", "discriminator")
            for key, tensor in parts.get(name, {}).items()
            if key.endswith((".weight", ".bias"))
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="prepared data")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--trainings", nargs="+", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="ranks-"))
    torch.manual_seed(0)
    syncnet_path = work / "syncnet.pth"
    save_public(syncnet_path, SyncNet(width=0.25))
    print(f"| training, {arguments.steps} steps | compared | largest | over {BOUND} in a million |")
    print("|---|---|---|---|")
    for name in arguments.trainings:
        for way in WAYS:
            train(name, arguments.results, syncnet_path, work / name / way, arguments.steps, way)
        first = weights(work / name / "one process")
        for way in ("two ranks", "two threads"):
            apart = (weights(work / name / way) - first).abs()
            share = 1e6 * (apart > BOUND).double().mean()
            print(f"| {name} | {way} | {apart.max():.1e} | {share:.0f} |", flush=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
