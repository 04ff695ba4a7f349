"""Claim: the memory of a dubbing does not grow with the length of the video or of the sound.

Dubs a video repeated to two lengths, and a picture with two lengths of sound; each in a process of
its own, whose peak of resident memory is printed, with that of its largest child (ffmpeg).

    python -m benchmarks.dub_memory --face m.mp4 --picture m.png --audio a.wav --checkpoint F
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lipsync_core.media.ffmpeg import ffmpeg_exe

CODE = """
import resource, sys
from lipsync_core import cli
status = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def repeated(path: Path, target: Path, seconds: float) -> Path:
    """A file played again and again for so many seconds; its packets are copied."""
    command = [ffmpeg_exe(), "-v", "error", "-stream_loop", "-1", "-i", str(path)]
    command += ["-t", str(seconds), "-c", "copy", "-y", str(target)]
    subprocess.run(command, check=True)
    return target


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, and peaks in MB of the process and of its largest child."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "dub", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.read().split()[-1])
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} failed")
    return time.perf_counter() - begun, used.ru_maxrss / 1024, child / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("face", "picture", "audio", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs=2, default=[1, 10])
    parser.add_argument("--picture-minutes", type=float, nargs=2, default=[1, 60])
    options = parser.parse_args()
    print("| face | minutes | s | MB | MB of ffmpeg |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        jobs = [("video", length) for length in options.minutes]
        jobs += [("picture", length) for length in options.picture_minutes]
        for kind, minutes in jobs:
            sound = repeated(options.audio, work / "sound.wav", 60 * minutes)
            face = options.picture
            if kind == "video":
                face = repeated(options.face, work / f"face{options.face.suffix}", 60 * minutes)
            arguments = ["--face", str(face), "--audio", str(sound)]
            arguments += ["--checkpoint", str(options.checkpoint), "--outfile", str(work / "o.mp4")]
            seconds, peak, child = measure([*arguments, "--faces_dir", str(work / "faces")])
            print(
                f"| {kind} | {minutes:g} | {seconds:.0f} | {peak:.0f} | {child:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
