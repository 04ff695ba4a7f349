"""Claim: the memory of a dubbing does not grow with the length of the video or of the sound.

Dubs a video repeated to two lengths, and a picture with two lengths of sound; each by `lipsync dub`
as a process of its own, whose largest resident memory is printed, without and with its ffmpeg
processes (sampled). With --public, a folder with the code of
github.com/Rudrabha/Wav2Lip, its unmodified `inference.py` first dubs --public-minutes of the
video; it holds all frames in memory, 6 MB each at 1080p.

The generator has random weights. --width 0.125 makes it 64 times smaller than the public one, and a
dubbing several times as fast; memory differs by a constant then, about 0.2 GB: weights, and the
activations of one batch. With --box faces are not looked for; without it they are, by CenterFace,
whose memory does not grow either, but for the boxes: 100 bytes a frame.

    python -m benchmarks.dub_memory --face hd.mp4 --box 600 840 500 690 --picture m.png \
        --picture-box 100 300 80 250 --audio a.wav [--width 0.125] [--public DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import av
import torch

from benchmarks import public_script
from benchmarks.memory import family, resident_mb
from lipsync_core.checkpoints import save_public
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.models import Wav2Lip

OURS = "import sys; from lipsync_core import cli; sys.exit(cli.main(['dub', *sys.argv[1:]]))"
INTERVAL = 0.05  # seconds between two samples


class Run(NamedTuple):
    """Seconds of a process, and its largest memory in MB, alone and with its descendants."""

    seconds: float
    alone: float
    together: float


def repeated(path: Path, target: Path, seconds: float) -> Path:
    """A file played again and again for so many seconds; its packets are copied."""
    command = [ffmpeg_exe(), "-v", "error", "-stream_loop", "-1", "-i", str(path)]
    command += ["-t", str(seconds), "-c", "copy", "-y", str(target)]
    subprocess.run(command, check=True)
    return target


def measure(code: str, arguments: list[str], folder: Path) -> Run:
    """Run Python code with arguments in a folder."""
    begun = time.perf_counter()
    alone = together = 0.0
    with tempfile.TemporaryFile() as said:
        search = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"  # there is an ffmpeg for the public code
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": search, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        while process.poll() is None:
            alone = max(alone, resident_mb(process.pid))
            others = filter(is_other_program, family(process.pid)[1:])
            together = max(together, resident_mb(process.pid) + sum(map(resident_mb, others)))
            time.sleep(INTERVAL)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{arguments} failed:\n{said.read().decode(errors='replace')[-2000:]}")
    return Run(time.perf_counter() - begun, alone, together)


def is_other_program(pid: int) -> bool:
    """False for a process that is about to become another program: its memory is its parent's."""
    try:
        return Path(f"/proc/{pid}/exe").readlink() != Path(sys.executable).resolve()
    except OSError:
        return False


def report(what: str, minutes: float, run: Run, video: Path) -> None:
    """Print a row of the table."""
    with av.open(str(video)) as container:
        frames = container.streams.video[0].frames
    facts = f"{run.seconds:.0f} | {run.alone:.0f} | {run.together:.0f}"
    print(f"| {what} | {minutes:g} | {frames} | {facts} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("face", "picture", "audio"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("--box", "--picture-box"):
        parser.add_argument(name, type=int, nargs=4, help="top bottom left right of the face")
    parser.add_argument("--public", type=Path, help="folder of the public code; needs --box")
    parser.add_argument("--width", type=float, default=1.0, help="of our generator; 1: public size")
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 10])
    parser.add_argument("--picture-minutes", type=float, nargs="*", default=[10, 60])
    parser.add_argument("--public-minutes", type=float, default=1)
    options = parser.parse_args()
    if options.public and not options.box:
        parser.error("--public needs --box")
    print("| dubbing | minutes | frames | s | MB | with ffmpeg |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if options.public:
            measure_public(options, work)
        torch.manual_seed(0)
        save_public(work / "generator.pth", Wav2Lip(width=options.width))
        jobs = [("video", minutes, options.face, options.box) for minutes in options.minutes]
        for minutes in options.picture_minutes:
            jobs.append(("picture", minutes, options.picture, options.picture_box))
        for kind, minutes, face, box in jobs:
            out, sound = work / "ours.mp4", work / f"sound{options.audio.suffix}"
            repeated(options.audio, sound, 60 * minutes)
            if kind == "video":
                face = repeated(face, work / f"long{face.suffix}", 60 * minutes)
            run = measure(OURS, arguments(face, sound, work / "generator.pth", box, out), work)
            report(f"lipsync, {kind}", minutes, run, out)


def arguments(
    face: Path, sound: Path, checkpoint: Path, box: list[int] | None, out: Path
) -> list[str]:
    """What both programs are given."""
    given = ["--face", str(face.absolute()), "--audio", str(sound), "--outfile", str(out)]
    given += ["--checkpoint_path", str(checkpoint)]
    return [*given, "--box", *map(str, box)] if box else given


def measure_public(options: argparse.Namespace, work: Path) -> None:
    """Dub the video by the public script and print its row."""
    minutes = options.public_minutes
    film = repeated(options.face, work / f"film{options.face.suffix}", 60 * minutes)
    sound = repeated(options.audio, work / f"long{options.audio.suffix}", 60 * minutes)
    facts = {"face": film, "audio": sound, "seconds": 60 * minutes}
    given = argparse.Namespace(**vars(options) | facts)
    code, face = public_script.prepare(given, work)
    (code / "ffmpeg").symlink_to(ffmpeg_exe())
    out = work / "public.mp4"
    given = arguments(face, work / "speech.wav", work / "wav2lip.pth", options.box, out)
    run = measure(public_script.SHIM + public_script.RUN, given, code)
    report("public, video", minutes, run, out)


if __name__ == "__main__":
    main()
