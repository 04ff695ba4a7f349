"""Time and memory of a training step at 96, 192, 288 and 384 pixels, for each of the trainings.

    python benchmarks/sizes.py [--sizes 96 192] [--width 0.25] [--threads 1] [--batch 4]

Batches in memory, by the default recipe: `--batch` windows of the generators, 48 windows of
SyncNet. Each row is a process of its own: the best of three steps, and the highest resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

KINDS = ("syncnet", "wav2lip", "wav2lip_gan")


def measure(kind: str, size: int, width: float, threads: int, batch: int) -> tuple[float, float]:
    """Seconds of a step and resident MB of this process."""
    import numpy as np
    import torch

    from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
    from lipsync_core.data.dataset import ClipDataset
    from lipsync_core.data.generator_samples import GeneratorBatch
    from lipsync_core.data.syncnet_batches import SyncNetBatch
    from lipsync_core.models import SyncNet, Wav2Lip
    from lipsync_core.training import adversary
    from lipsync_core.training.generator import GeneratorTask
    from lipsync_core.training.syncnet import SyncNetTask

    torch.set_num_threads(threads)
    nothing, cpu = ClipDataset("none", []), torch.device("cpu")
    rng = np.random.default_rng(0)

    def frames(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, np.uint8)

    def mels(*shape: int) -> np.ndarray:
        return rng.random((*shape, 1, 80, 16), np.float32)

    if kind == "syncnet":
        config = SyncNetConfig(width=width)
        task = SyncNetTask(SyncNet(width, size), nothing, nothing, config, 0, cpu)
        starts = np.tile(np.arange(8), (6, 1))
        samples = SyncNetBatch(frames(6, 8, 5, size // 2, size, 3), mels(6, 8), starts)
    else:
        gan = kind == "wav2lip_gan"
        config = GeneratorVariantConfig(width=width, batch_size=batch, adv_weight=0.06 * gan)
        opponent = adversary.build(config, size) if gan else None
        networks = Wav2Lip(width, size), SyncNet(width, size), opponent
        task = GeneratorTask(kind, *networks, nothing, nothing, config, 0, cpu)
        task._measure_start = lambda: None  # there is nothing to evaluate on
        shape = (batch, 5, size, size, 3)
        spoken = np.ones(batch, np.float32)
        sounds = mels(batch, 5), mels(batch)
        samples = GeneratorBatch(frames(*shape), frames(*shape), *sounds, spoken)
    seconds = float("inf")
    for step in range(4):
        begun = time.perf_counter()
        task.step(step, samples)
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 192, 288, 384])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    print("| pixels | training | s a step | relative to 96 | MB |\n|---|---|---|---|---|")
    base: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    for size in options.sizes:
        for kind in KINDS:
            given = (kind, size, options.width, options.threads, options.batch)
            with context.Pool(1) as pool:
                seconds, memory = pool.apply(measure, given)
            ratio = seconds / base.setdefault(kind, seconds)
            print(f"| {size} | {kind} | {seconds:.2f} | {ratio:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
