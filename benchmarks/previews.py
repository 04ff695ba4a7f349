"""Claim: moving previews take at most 2 % of a generator's training, and slide in the report.

    python benchmarks/previews.py RESULTS [--preset demo] [--steps 400] [--threads 1]

RESULTS: prepared data with a SyncNet (as `snakemake` leaves it); nothing is written into it. Each
generator of the preset trains for so many steps, the one with GAN from random weights. Time is that
of the processor, of ffmpeg too, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import torch
import yaml

from lipsync_core.config import GeneratorConfig
from lipsync_core.runtime import threads
from lipsync_core.training import generator
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.previews import FOLDER

PRESETS = Path(__file__).parents[1] / "config" / "presets"
MAX_SHARE = 0.02


def processor_seconds() -> float:
    """Of this process and of those that it started."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


class Timed:
    """Adds up the time of a method of a class while it is in place."""

    def __init__(self, kind: type, name: str) -> None:
        self.seconds, self.calls = 0.0, 0
        real = getattr(kind, name)

        def timed(*arguments: object) -> object:
            start = processor_seconds()
            found = real(*arguments)
            self.seconds += processor_seconds() - start
            self.calls += 1
            return found

        setattr(kind, name, timed)
        self.restore = lambda: setattr(kind, name, real)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    threads.limit(options.threads)
    preset = yaml.safe_load((PRESETS / f"{options.preset}.yaml").read_text(encoding="utf-8"))
    config = GeneratorConfig(**preset["generator"])
    print("generator     steps previews  s each  kB each  share")
    for name in config.variants:
        keys = {"steps": options.steps, "num_workers": 1, "cache_mb": 512}
        variant = config.variant(name).model_copy(update=keys)
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            outputs = [Path(folder) / each for each in ("c.pth", "metrics.csv", "samples.png")]
            syncnet = options.results / "syncnet" / "checkpoint.pth"
            previews, start = Timed(GeneratorTask, "preview"), processor_seconds()
            generator.train(
                *(options.results, variant, 96, run_dir, *outputs, syncnet),
                seed=0,
                device=torch.device("cpu"),
            )
            total = processor_seconds() - start
            previews.restore()
            sizes = [path.stat().st_size for path in (run_dir / FOLDER).glob("*.mp4")]
        share = previews.seconds / total
        mark = "" if share <= MAX_SHARE else f"  over {MAX_SHARE:.0%}"
        print(
            f"{name:12s} {options.steps:6d} {previews.calls:8d} "
            f"{previews.seconds / previews.calls:7.2f} {sum(sizes) / len(sizes) / 1e3:8.0f} "
            f"{share:6.1%}{mark}"
        )


if __name__ == "__main__":
    main()
