"""Claim: a dubbing takes a third of the time of the public script, per frame written.

Runs the public `inference.py` (github.com/Rudrabha/Wav2Lip, a folder with its code, unmodified) and
`lipsync dub` in turn on the same files, with the same weights of the public size (random) and the
same face box, each as a process of its own, from its start to the finished file. With --detect both
also run S3FD with the same random weights, whose scores are near 0; what they find, nothing, is
replaced by the box. What the public code lacks for today's librosa is added from outside.

    python -m benchmarks.dub_speed --public DIR --face man.mp4 --audio a.wav --box 100 300 80 250
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
from lipsync_core.media.ffmpeg import ffmpeg_exe

PUBLIC = """
top, bottom, left, right = BOX
if DETECT:
    from face_detection.detection.sfd import sfd_detector
    found = sfd_detector.SFDDetector.detect_from_batch
    def detect(self, images):
        found(self, images)
        return [[[left, top, right, bottom, 1.0]] for _ in images]
    sfd_detector.SFDDetector.detect_from_batch = detect
"""
OURS = """
import sys
import numpy as np
top, bottom, left, right = BOX
if DETECT:
    from lipsync_core.faces.detectors import s3fd
    from lipsync_core.faces.detectors.base import Faces
    found = s3fd.S3FD.detect_faces
    def detect(self, frames):
        found(self, frames)
        scale = frames.shape[2] / WIDTH
        box = np.array([[left * scale, top * scale, right * scale, bottom * scale, 1]], np.float32)
        return [Faces(box, np.empty((1, 0), np.float32)) for _ in frames]
    s3fd.S3FD.detect_faces = detect
from lipsync_core import cli
sys.exit(cli.main(["dub", *sys.argv[1:]]))
"""


FACE_BIAS = -30.0  # of the logit of "face"


class Run(NamedTuple):
    """Seconds of a process, frames that it wrote, and its largest memory in MB."""

    seconds: float
    frames: int
    memory: float


def measure(command: list[str], folder: Path, out: Path, environment: dict[str, str]) -> Run:
    """Run a command in a folder; it writes the video `out`."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{command[:3]} failed:\n{errors[-2000:]}")
    with av.open(str(out)) as container:
        return Run(seconds, container.streams.video[0].frames, used.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    public_script.add_arguments(parser, seconds=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--detect", action="store_true")
    parser.add_argument("--face_det_batch_size", type=int, help="of the public script: its memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        code, face = public_script.prepare(options, work)
        (code / "bin" / "ffmpeg").symlink_to(ffmpeg_exe())
        with av.open(str(face)) as container:
            width = container.streams.video[0].width
        facts = f"BOX, DETECT, WIDTH = {options.box}, {options.detect}, {width}\n"
        box = [] if options.detect else ["--box", *map(str, options.box)]
        if options.detect:
            save_s3fd(code / "face_detection/detection/sfd/s3fd.pth", work / "models")
        files = ["--face", str(face), "--audio", str(work / "speech.wav")]
        files += ["--checkpoint_path", str(work / "wav2lip.pth"), *box]
        batch = options.face_det_batch_size
        theirs = ["--face_det_batch_size", str(batch)] if batch else []
        environment = os.environ | {"PATH": f"{code / 'bin'}:{os.environ['PATH']}"}
        path = os.pathsep.join([str(Path.cwd()), environment.get("PYTHONPATH", "")])
        runs: dict[str, list[Run]] = {"public": [], "lipsync": []}
        for round_number in range(options.rounds):
            out = work / f"public{round_number}.mp4"
            command = [
                sys.executable,
                "-c",
                facts + public_script.SHIM + PUBLIC + public_script.RUN,
                *files,
                *theirs,
                "--outfile",
                str(out),
            ]
            runs["public"].append(measure(command, code, out, environment))
            out = work / f"ours{round_number}.mp4"
            own = ["--detector", "s3fd", "--models", str(work / "models")] if options.detect else []
            own += ["--faces_dir", str(work / f"faces{round_number}")]
            command = [sys.executable, "-c", facts + OURS, *files, *own, "--outfile", str(out)]
            runs["lipsync"].append(measure(command, work, out, environment | {"PYTHONPATH": path}))
        print("| | s | frames | ms a frame | MB |\n|---|---|---|---|---|")
        best = {}
        for name, measured in runs.items():
            each = [1000 * run.seconds / run.frames for run in measured]
            best[name] = min(each)
            print(
                f"| {name} | {' '.join(f'{run.seconds:.1f}' for run in measured)} "
                f"| {measured[0].frames} | {' '.join(f'{ms:.1f}' for ms in each)} "
                f"| {max(run.memory for run in measured):.0f} |"
            )
        print(f"ratio of the best per frame: {best['public'] / best['lipsync']:.2f}")


def save_s3fd(public: Path, models: Path) -> None:
    """Write the same random weights of S3FD for both; they cost what its own do, and find nothing.

    With scores as they come, each place would be a face, which costs more than the network.
    """
    from lipsync_core.faces.detectors.s3fd import Network

    torch.manual_seed(0)
    models.mkdir()
    weights = Network().state_dict()
    for name, tensor in weights.items():
        if name.endswith("mbox_conf.bias"):
            tensor[-1] = FACE_BIAS
    torch.save(weights, public)
    torch.save(weights, models / "s3fd.pth")


if __name__ == "__main__":
    main()
