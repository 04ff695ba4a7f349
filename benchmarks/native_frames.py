"""Claim: native frames are read, and written with their time stamps, faster than BGR ones.

Reads a video frame by frame, writes it, and does both at once, with the frames as the file stores
them (`read_native_frames`, `StampedWriter`) and at a constant rate in BGR and exact colors
(`read_frames`, `VideoWriter`), alternating. Then the memory of reading and writing, which must not
grow with length.

    python -m benchmarks.native_frames VIDEO [--frames 250] [--rounds 3] [--memory MINUTES ...]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_core.media.native_frames import read_format, read_native_frames
from lipsync_core.media.stamped_writer import StampedWriter
from lipsync_core.media.timestamps import read_timeline
from lipsync_core.media.video import VideoWriter, read_frames

Frames = Iterator[Any]


def native(path: Path, out: Path, count: int) -> dict[str, Callable[[], None]]:
    source = read_format(path)

    def frames() -> Frames:
        return itertools.islice(read_native_frames(path, source), count)

    def write(pairs: Frames) -> None:
        with StampedWriter(out, source) as writer:
            for stamp, frame in pairs:
                writer.write(stamp, frame)

    kept = list(frames())
    return {
        "read": lambda: consume(frames()),
        "write": lambda: write(iter(kept)),
        "read and write": lambda: write(frames()),
    }


def constant_rate(path: Path, out: Path, count: int) -> dict[str, Callable[[], None]]:
    rate = read_timeline(path).rate

    def frames() -> Frames:
        return itertools.islice(read_frames(path, rate, exact_color=True), count)

    def write(frames: Frames) -> None:
        first = next(frames)
        with VideoWriter(out, first.shape[1::-1], rate) as writer:
            for frame in itertools.chain([first], frames):
                writer.write(frame)

    kept = list(frames())
    return {
        "read": lambda: consume(frames()),
        "write": lambda: write(iter(kept)),
        "read and write": lambda: write(frames()),
    }


def consume(frames: Frames) -> None:
    for _ in frames:
        pass


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def speed(path: Path, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.mp4")
        ways = {"native": native(path, out, count), "BGR": constant_rate(path, out, count)}
        taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _, job, way in itertools.product(range(rounds), ways["native"], ways):
            begin = time.perf_counter(), processor_seconds()
            ways[way][job]()
            end = time.perf_counter(), processor_seconds()
            spent = tuple(
                1000 * (last - first) / count for first, last in zip(begin, end, strict=True)
            )
            taken.setdefault((way, job), []).append(spent)
    print(f"{path.name}: ms a frame, median of {rounds} of {count} frames\n")
    print(f"{'':25}{'native':>8}{'BGR':>8}{'ratio':>8}")
    for job, (unit, name) in itertools.product(ways["native"], enumerate(("clock", "processor"))):
        new, old = (statistics.median(one[unit] for one in taken[way, job]) for way in ways)
        print(f"{f'{job}, {name}':25}{new:8.1f}{old:8.1f}{old / new:8.2f}")


def copy_minutes(path: Path, minutes: float, pipe: Any) -> None:
    """Copy a video again and again until the result has so many minutes; sends peak MB."""
    source = read_format(path)
    step = int(source.stamps[-1]) + source.duration
    with (
        tempfile.TemporaryDirectory() as folder,
        StampedWriter(Path(folder, "out.mp4"), source) as writer,
    ):
        for start in itertools.takewhile(
            lambda stamp: stamp * source.tick < 60 * Fraction(minutes), itertools.count(0, step)
        ):
            with contextlib.closing(read_native_frames(path, source)) as frames:
                for stamp, frame in frames:
                    writer.write(start + stamp, frame)
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    pipe.send([usage.ru_maxrss / 1024 for usage in usages])


def memory(path: Path, minutes: list[float]) -> None:
    context = multiprocessing.get_context("spawn")
    for length in minutes:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=copy_minutes, args=(path, length, sender))
        process.start()
        own, child = receiver.recv()
        print(f"{length:g} min: peak memory {own:.0f} MB, of the largest ffmpeg {child:.0f} MB")
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=float, nargs="*", default=[])
    options = parser.parse_args()
    speed(options.video, options.frames, options.rounds)
    memory(options.video, options.memory)


if __name__ == "__main__":
    main()
