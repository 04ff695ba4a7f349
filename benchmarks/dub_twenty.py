"""Claim: of twenty sounds on one face, the second takes at most a third of the first.

Cuts sounds of 2 to 3 s from a recording and dubs one face with each, every time by `lipsync dub` as
a process of its own, from its start to the finished file; the faces that the first one finds are
kept for the others. The last row is a sound of 0.1 s, which is little but the start of a process:
imports and loading of the model. Beside other work on the machine, compare processor time.
Without --box the detector is CenterFace, with it S3FD, whose random weights cost what its own do;
what they find is replaced by the box. The generator is of the public size, with random weights,
unless --checkpoint names another.

    python -m benchmarks.dub_twenty --face woman.mp4 --audio speech.wav [--box 100 300 80 250]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import torch
from scipy.io import wavfile

from benchmarks import dub_speed
from lipsync_core.checkpoints import save_public
from lipsync_core.media.audio import SAMPLE_RATE, load_wav
from lipsync_core.models import Wav2Lip

LENGTHS = 2.0, 3.0  # seconds, drawn at random
START_SECONDS = 0.1


def cut_sounds(recording: Path, count: int, folder: Path) -> list[Path]:
    """`count` parts of a recording, one after the other, and one of `START_SECONDS`."""
    samples = load_wav(recording)
    draw = np.random.default_rng(0)
    paths, start = [], 0
    for number, seconds in enumerate([*draw.uniform(*LENGTHS, count), START_SECONDS]):
        length = round(seconds * SAMPLE_RATE)
        part = np.take(samples, range(start, start + length), mode="wrap")
        paths.append(folder / f"sound{number}.wav")
        wavfile.write(paths[-1], SAMPLE_RATE, (part * 32767).astype(np.int16))
        start += length
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True, help="the recording")
    parser.add_argument("--box", type=int, nargs=4, help="top bottom left right: S3FD")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--sounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        checkpoint = options.checkpoint or work / "wav2lip.pth"
        if options.checkpoint is None:
            torch.manual_seed(0)
            save_public(checkpoint, Wav2Lip())
        dub_speed.save_s3fd(work / "public.pth", work / "models")
        with av.open(str(options.face)) as container:
            width = container.streams.video[0].width
        box, detect = options.box or [0] * 4, options.box is not None
        facts = f"BOX, DETECT, WIDTH = {box}, {detect}, {width}\n"
        code = facts + dub_speed.OURS
        same = ["--face", str(options.face.absolute()), "--checkpoint", str(checkpoint.absolute())]
        same += ["--detector", "s3fd" if detect else "centerface"]
        same += ["--models", str(work / "models"), "--faces_dir", str(work / "faces")]
        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        runs = []
        for sound in cut_sounds(options.audio, options.sounds, work):
            out = work / f"{sound.stem}.mp4"
            command = [sys.executable, "-c", code, *same]
            command += ["--audio", str(sound), "--outfile", str(out)]
            before = os.times()
            run = dub_speed.measure(command, work, out, os.environ | {"PYTHONPATH": path})
            used = sum(os.times()[2:4]) - sum(before[2:4])  # of children, user and system
            runs.append((run.seconds, used))
            print(
                f"{sound.stem}: {run.seconds:.1f} s, {used:.1f} of processors, {run.frames} frames"
            )
    first, second, *rest, start = runs
    middle = tuple(map(statistics.median, zip(*rest, strict=True)))
    rows = {"first": first, "second": second, "median of the rest": middle}
    print("| dubbing | s | share of the first | s of processors | share |\n|---|---|---|---|---|")
    for name, (wall, used) in (rows | {f"{START_SECONDS} s of sound": start}).items():
        shares = wall / first[0], used / first[1]
        print(f"| {name} | {wall:.1f} | {shares[0]:.2f} | {used:.1f} | {shares[1]:.2f} |")


if __name__ == "__main__":
    main()
