"""Claim: one speaker's clips are prepared on all cores; a clip that is added is prepared alone.

    python benchmarks/one_speaker.py                                  # 240 synthetic clips of 3 s
    python benchmarks/one_speaker.py --source DIR --clips 240 --cores 2 --shards 2 4 8

DIR holds videos of one speaker (GRID's s1 has 1,000 of 3 s); the first ones are taken, and copied
under other names where there are too few. The clips are prepared in one shard, as all clips of a
speaker were before, and in each of the given numbers of shards. All runs use the same code, so the
ratios are those of the shards alone. Each shard costs five starts of Python (about 5 s of processor
time in all), so a few hundred clips want no more shards than there are cores. Then a clip is added.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from runs import Project, Run
from scale import inside

from lipsync_core.corpus.clips import VIDEO_SUFFIXES
from lipsync_core.demo import corpus, plan


def make_clips(folder: Path, count: int, source: Path | None) -> None:
    """`count` videos `folder`/me/<n>.<ext>, copies of those in `source`, or synthetic ones."""
    if source is None:
        source = folder.with_name("demo")
        corpus.write_corpus(source, processes=2, clips=plan.plan(1, min(count, 40), seconds=3.0))
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    (folder / "me").mkdir(parents=True)
    for number in range(count):
        path = found[number % len(found)]
        shutil.copy(path, folder / "me" / f"{number:04d}{path.suffix}")


def row(what: str, run: Run, note: str = "") -> None:
    cores = run.cpu / run.seconds
    print(
        f"| {what:26} | {run.seconds:7.1f} s | {run.cpu:7.1f} s | {cores:4.2f} | {note}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 8], help="8: as shipped")
    parser.add_argument("--source", type=Path, help="videos of one speaker; default: synthetic")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="one_speaker-"))
    command = ("--cores", str(arguments.cores), "prepare")
    one = Project(work / "one", {"shards": 1, "detector": "centerface"})
    make_clips(one.data, arguments.clips, arguments.source)
    print(f"{arguments.clips} clips of one speaker, {arguments.cores} cores\n")
    print("| | wall | processor | cores busy | |\n|---|---|---|---|---|")
    before = one.run(*command)
    row("one shard, as before", before)
    for shards in arguments.shards:
        many = Project(work / f"{shards}", {"shards": shards, "detector": "centerface"})
        shutil.copytree(one.data, many.data)
        after = many.run(*command)
        row(f"{shards} shards", after, f"{before.seconds / after.seconds:.2f} times faster |")
    clip = next(iter(sorted((many.data / "me").iterdir())))
    shutil.copy(clip, clip.with_name(f"added{clip.suffix}"))
    began = time.time()
    added = many.run(*command)
    row("one clip added", added, f"clips redone: {inside(many, began)} |")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
