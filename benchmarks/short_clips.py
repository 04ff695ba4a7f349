"""Claim: the first stage of a short clip takes half the time in one run of ffmpeg instead of three.

    python benchmarks/short_clips.py DIR [--clips 60] [--rounds 3]

The first videos of DIR are read in both ways, in turn; the measures and the sound must be the same.
Processor time counts ffmpeg's too, and is what a busy machine does not lengthen.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.corpus.clips import VIDEO_SUFFIXES
from lipsync_core.preparation import extraction
from tests.support.extraction import separate_runs


def one_run(source: Path, wav_path: Path) -> dict:
    """All of it from one run."""
    return extraction.extract(source, source, wav_path)


def timed(work: Callable[[], dict]) -> tuple[dict, float, float]:
    """The result, seconds, and processor seconds of this process and the ended ones it started."""

    def processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    began, cpu = time.perf_counter(), processor()
    return work(), time.perf_counter() - began, processor() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.folder.rglob("*") if path.suffix in VIDEO_SUFFIXES)
    found = found[: arguments.clips]
    totals = {separate_runs: [0.0, 0.0], one_run: [0.0, 0.0]}
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for source in found:
                results = []
                for way, total in totals.items():
                    wav_path = Path(folder) / f"{way.__name__}.wav"
                    measures, wall, cpu = timed(lambda: way(source, wav_path))  # noqa: B023
                    total[0] += wall
                    total[1] += cpu
                    results.append((measures, wav_path.read_bytes()))
                assert results[0] == results[1], f"{source}: the two ways differ"
                seconds += results[0][0]["seconds"]
    count = len(found) * arguments.rounds
    print(f"{len(found)} clips of {seconds / count:.1f} s on average, {arguments.rounds} rounds")
    print("| | wall a clip | processor a clip |\n|---|---|---|")
    for way, (wall, cpu) in totals.items():
        name = way.__name__.replace("_", " ")
        print(f"| {name:10} | {1000 * wall / count:6.1f} ms | {1000 * cpu / count:6.1f} ms |")
    old, new = totals.values()
    print(f"| ratio | {old[0] / new[0]:.2f} | {old[1] / new[1]:.2f} |")


if __name__ == "__main__":
    main()
