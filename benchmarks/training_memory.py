"""Memory of a training beside what it accounts, with a corpus twice as large as its cache.

Made-up clips of 25 s; each training in a process of its own, on the processor. Resident memory is
read after two steps with nothing kept, and again after its cache was filled from random batches in
`num_workers` threads, and two more steps.

    python -m benchmarks.training_memory [--sizes 96 288] [--cache 512] [--width 0.25] [--batch 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from pathlib import Path

from benchmarks.memory import resident_mb

BOUND = 1.25  # of resident to accounted
SECONDS = 25.6
KINDS = ("syncnet", "generator", "gan")


def clips_for(cache_mb: int, image_size: int) -> int:
    """Clips whose frames take twice the cache."""
    return -(-2 * (cache_mb << 20) // (int(25 * SECONDS) * image_size**2 * 3))


def write_long(results: Path, count: int) -> None:
    """`count` clips, one clip by many names."""
    from tests.support.training import write_corpus

    write_corpus(results, {"train": ["a/0"], "val": ["v/0"]}, frames=int(25 * SECONDS))
    ids = [f"a/{number}" for number in range(count)]
    for clip in ids[1:]:
        for kind, suffix in (("faces", "zip"), ("mels", "npy")):
            os.link(results / kind / f"a/0.{suffix}", results / kind / f"{clip}.{suffix}")
    (results / "filelists/train.txt").write_text("".join(f"{clip}\n" for clip in ids))


def measure(
    results: Path, kind: str, size: int, cache_mb: int, width: float, batch: int, workers: int
) -> tuple[float, float, float]:
    """Resident before, accounted by the caches, resident after: MB."""
    import torch

    from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
    from lipsync_core.data import dataset
    from lipsync_core.data.prefetch import prefetch
    from lipsync_core.models import SyncNet, Wav2Lip
    from lipsync_core.runtime import threads
    from lipsync_core.training import adversary
    from lipsync_core.training.generator import GeneratorTask
    from lipsync_core.training.syncnet import SyncNetTask

    threads.limit(2)
    corpora = dataset.load_splits(results, ("train", "val"), size, cache_mb << 20)
    rooms = [corpus.cache.room for corpus in corpora]
    for corpus in corpora:
        corpus.cache.room = 0
    sizes, device = {"width": width, "image_size": size}, torch.device("cpu")
    if kind == "syncnet":
        options = SyncNetConfig(width=width, clips_per_batch=batch, precision="float32")
        task = SyncNetTask(SyncNet(**sizes), *corpora, options, 0, device)
    else:
        options = GeneratorVariantConfig(
            width=width,
            batch_size=batch,
            val_windows=8,
            precision="float32",
            adv_weight=0.06 * (kind == "gan"),
        )
        discriminator = adversary.build(options, size) if kind == "gan" else None
        nets = Wav2Lip(**sizes), SyncNet(**sizes), discriminator
        task = GeneratorTask(kind, *nets, *corpora, options, 0, device)
    task.extra_state["rollbacks"] = 0.0
    for step, made in enumerate(prefetch(task.batch, range(2), workers)):
        task.step(step, made)
    before = resident_mb(os.getpid())
    for corpus, room in zip(corpora, rooms, strict=True):
        corpus.cache.room = room
    cache, step = corpora[0].cache, 2
    while cache.used + size**2 * 3 < 0.99 * cache.room:
        for _ in prefetch(task.batch, range(step, step + 100), workers):
            pass
        step += 100
    for made in prefetch(task.batch, range(step, step + 2), workers):
        task.step(step, made)
    used = sum(corpus.cache.used for corpus in corpora) / 1e6
    return before, used, resident_mb(os.getpid())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 288])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--cache", type=int, default=512, help="MiB")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=2, help="windows; clips of 8 (syncnet)")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    spawn, worst = multiprocessing.get_context("spawn"), 0.0
    print("| px | training | networks, batches MB | accounted MB | resident more MB | ratio |")
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_long(Path(folder), clips_for(options.cache, size))
            for kind in options.kinds:
                sizes = (size, options.cache, options.width, options.batch, options.workers)
                with spawn.Pool(1) as pool:
                    before, used, after = pool.apply(measure, (Path(folder), kind, *sizes))
                ratio = max((after - before) / used, used / (after - before))
                worst = max(worst, ratio)
                print(
                    f"| {size} | {kind} | {before:.0f} | {used:.0f} | {after - before:.0f} "
                    f"| {ratio:.3f} |",
                    flush=True,
                )
    print(f"worst {worst:.3f} (bar {BOUND}): {'met' if worst < BOUND else 'MISSED'}")


if __name__ == "__main__":
    main()
