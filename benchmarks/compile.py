"""Claim: what `compile: true` gains in steps a second, and costs at the start.

    python benchmarks/compile.py --width 0.25 --steps 20

Steps of SyncNet and of the generator on random batches, of the compiled network and of the
network as it is by turns (so that a busy machine slows both), the median of each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.generator_samples import GeneratorBatch
from lipsync_core.data.syncnet_batches import SyncNetBatch
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime import device as devices
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.syncnet import SyncNetTask

NOTHING = ClipDataset("none", [])


def syncnet(width: float, compile: bool, place: torch.device) -> Callable[[], None]:
    task = SyncNetTask(
        SyncNet(width), NOTHING, NOTHING, SyncNetConfig(width=width, compile=compile), 0, place
    )
    draw = np.random.default_rng(0)
    batch = SyncNetBatch(
        draw.integers(0, 256, (4, 12, 5, 48, 96, 3), np.uint8),
        draw.random((4, 12, 1, 80, 16), np.float32),
        np.arange(48).reshape(4, 12),
    )
    return lambda: float(task.step(0, batch)["train_loss"])


def generator(width: float, compile: bool, place: torch.device) -> Callable[[], None]:
    options = GeneratorVariantConfig(width=width, compile=compile)
    nets = Wav2Lip(width), SyncNet(width), None
    task = GeneratorTask("wav2lip", *nets, NOTHING, NOTHING, options, 0, place)
    draw = np.random.default_rng(0)
    batch = GeneratorBatch(
        draw.integers(0, 256, (4, 5, 96, 96, 3), np.uint8),
        draw.integers(0, 256, (4, 5, 96, 96, 3), np.uint8),
        draw.random((4, 5, 1, 80, 16), np.float32),
        draw.random((4, 1, 80, 16), np.float32),
        np.ones(4, np.float32),
    )
    return lambda: float(task.step(0, batch)["train_loss"])


def seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    place = devices.pick(arguments.device)
    print("| training | step | compiled | gain | first compiled step |")
    print("|---|---|---|---|---|")
    for make in (syncnet, generator):
        plain, compiled = (make(arguments.width, wanted, place) for wanted in (False, True))
        seconds(plain)
        first = seconds(compiled)
        pairs = [(seconds(plain), seconds(compiled)) for _ in range(arguments.steps)]
        before, after = (statistics.median(times) for times in zip(*pairs, strict=True))
        times = f"{1000 * before:.0f} ms | {1000 * after:.0f} ms | {before / after:.2f}"
        print(f"| {make.__name__} | {times} | {first:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
