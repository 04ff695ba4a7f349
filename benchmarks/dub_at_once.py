"""Claim: dubbings at once are both right; killed at any moment, one leaves nothing behind.

Dubs one face with two sounds, alone, and then again and again by two processes that start together
with an empty cache of faces: each result must be that of the dubbing alone, byte for byte of its
decoded frames and samples. Then kills dubbings at random moments (SIGKILL to the process alone):
there must be no result, no file in the folders of results, of the cache (but whole boxes) and of
temporary files, and no ffmpeg. With --voices the face speaks both sounds, which are mixed.

    python -m benchmarks.dub_at_once --face man.mp4 --audio a.wav b.wav --checkpoint wav2lip.pth
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.memory import family
from lipsync_core.faces.detection import read_boxes
from lipsync_core.media.ffmpeg import ffmpeg_exe

CODE = "import sys; from lipsync_core import cli; sys.exit(cli.main(['dub', *sys.argv[1:]]))"
PATIENCE = 10  # seconds in which the ffmpeg processes of a killed dubbing must end


class Place:
    """Folders of results, of the cache of faces and of temporary files."""

    def __init__(self, folder: Path) -> None:
        self.out, self.cache, self.work = (folder / name for name in ("out", "cache", "work"))
        for path in (self.out, self.cache, self.work):
            path.mkdir(parents=True)

    def start(self, given: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        """Start a dubbing of that result."""
        places = {"TMPDIR": str(self.work), "XDG_CACHE_HOME": str(self.cache)}
        return subprocess.Popen(
            [sys.executable, "-c", CODE, *given, "--outfile", str(self.out / name)],
            env=os.environ | places,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def left(self) -> list[Path]:
        """All files but whole results, whole boxes and people."""
        hidden = {path for part in (self.out, self.cache) for path in part.rglob(".*")}
        boxes = set(self.cache.rglob("*.parquet")) - hidden
        for path in boxes:
            read_boxes(path)
        files = [path for part in (self.out, self.cache, self.work) for path in part.rglob("*")]
        known = boxes | set(self.cache.rglob("*.json")) | set(self.out.glob("*.mp4"))
        known -= hidden
        return [path for path in files if path.is_file() and path not in known]


def content(video: Path) -> str:
    """Digests of the decoded frames and samples of a file."""
    command = [ffmpeg_exe(), "-v", "error", "-i", str(video), "-f", "streamhash", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def twice(jobs: Sequence[Sequence[str]], alone: Sequence[str], folder: Path, apart: float) -> bool:
    """Whether two dubbings, the second `apart` seconds later, give what they give alone."""
    place = Place(folder)
    running = []
    for number, given in enumerate(jobs):
        running.append(place.start(given, f"{number}.mp4"))
        time.sleep(apart if number == 0 else 0)
    ended = [process.wait() for process in running]
    right = ended == [0, 0] and not place.left()
    return right and [content(path) for path in sorted(place.out.iterdir())] == list(alone)


def killed(given: Sequence[str], folder: Path, delay: float) -> tuple[bool, list[Path], int]:
    """Kill a dubbing: was it running? What is left: files, and processes?"""
    place = Place(folder)
    process = place.start(given, "out.mp4")
    time.sleep(delay)
    children = family(process.pid)[1:]
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + PATIENCE
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.05)
    left = place.left() + (list(place.out.iterdir()) if running else [])
    return running, left, sum(map(alive, children))


def alive(pid: int) -> bool:
    """Whether a process runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--audio", type=Path, nargs=2, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--voices", action="store_true")
    options = parser.parse_args()
    shared = ["--face", str(options.face), "--checkpoint", str(options.checkpoint)]
    jobs = [[*shared, "--audio", str(path)] for path in options.audio]
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        alone, seconds = [], 0.0
        for number, given in enumerate(jobs):
            place, begun = Place(work / f"alone{number}"), time.monotonic()
            if place.start(given, "out.mp4").wait():
                sys.exit("a dubbing alone fails")
            seconds = time.monotonic() - begun
            alone.append(content(place.out / "out.mp4"))
        right = 0
        for number in range(options.pairs):
            apart = 0 if number == 0 else draw.uniform(0, seconds)
            right += twice(jobs, alone, work / f"pair{number}", apart)
        print(f"two at once: {right} of {options.pairs} pairs right, nothing left", flush=True)
        if options.voices:
            spoken = zip(("largest", "index 1"), options.audio, strict=True)
            jobs = [
                [*shared, *(word for who, path in spoken for word in ("--voice", who, str(path)))]
            ]
        kills = 0
        print("| kill | after | files left | processes left |\n|---|---|---|---|")
        while kills < options.kills:
            delay = draw.uniform(0.1, 1.0) * seconds
            running, left, processes = killed(jobs[0], work / "killed", delay)
            shutil.rmtree(work / "killed")
            if running:
                kills += 1
                names = " ".join(path.name for path in left) or "none"
                print(f"| {kills} | {delay:.1f} s | {names} | {processes} |", flush=True)


if __name__ == "__main__":
    main()
