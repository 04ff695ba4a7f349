"""Claim: with `blend: hard` and without smoothing, a dubbing is what the public script writes.

Runs the public `inference.py` (a folder with its code, unmodified) and our dubbing on the same
files with the same random weights of the public size and the same box, and compares the frames
before they are encoded, in planes of YUV 4:2:0, to which every encoder brings them. Of a video the
two decoders differ as well; a picture shows the dubbing alone.

    python -m benchmarks.dub_pixels --public DIR --face man.png --audio a.wav --box 100 300 80 250
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import public_script
from lipsync_core.dubbing import dub, writing
from lipsync_core.media.color import ColorTags, planes, to_planes

PUBLIC = """
import cv2, numpy as np, subprocess
written = []
class Writer:
    def __init__(self, *_): pass
    def write(self, frame): written.append(frame.copy())
    def release(self): np.save(OUT, np.stack(written))
cv2.VideoWriter = Writer
subprocess.call = lambda *_, **__: 0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    public_script.add_arguments(parser, seconds=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        code, face = public_script.prepare(options, work)
        files = ["--face", str(face), "--audio", str(work / "speech.wav")]
        files += ["--checkpoint_path", str(work / "wav2lip.pth"), "--box", *map(str, options.box)]
        facts = f"OUT = {str(work / 'out.npy')!r}\n"
        text = facts + public_script.SHIM + PUBLIC + public_script.RUN
        command = [sys.executable, "-c", text, *files]
        subprocess.run(command, cwd=code, check=True, env=os.environ, stdout=subprocess.DEVNULL)
        public = np.load(work / "out.npy")
        print("| precision | frames | most in Y, U, V | mean | over 2 |\n|---|---|---|---|---|")
        for precision in ("float32", "auto"):
            own = _own(face, work, options.box, precision)
            worst, total, beyond, count = np.zeros(3), 0.0, 0, 0
            for (color, ours), theirs in zip(own, public, strict=False):
                height, width = theirs.shape[:2]
                wanted = to_planes(theirs[: height - height % 2, : width - width % 2], color)
                for place, (one, other) in enumerate(zip(planes(ours), wanted, strict=True)):
                    part = one[: other.shape[0], : other.shape[1]]
                    difference = np.abs(part.astype(int) - other)
                    worst[place] = max(worst[place], difference.max())
                    total, count = total + difference.sum(), count + difference.size
                    beyond += int((difference > 2).sum())
            print(
                f"| {precision} | {len(own)}, public {len(public)} | {worst} "
                f"| {total / count:.4f} | {beyond / count:.2e} |"
            )


def _own(
    face: Path, work: Path, box: list[int], precision: str
) -> list[tuple[ColorTags, np.ndarray]]:
    """The frames that our dubbing writes, before they are encoded."""
    written: list[tuple[ColorTags, np.ndarray]] = []

    class Writer(writing.StampedWriter):
        def write(self, stamp: int, frame: np.ndarray) -> None:
            written.append((self.source.color, frame.copy()))
            super().write(stamp, frame)

    original, writing.StampedWriter = writing.StampedWriter, Writer
    try:
        files = face, work / "speech.wav", work / "wav2lip.pth", work / "out.mp4"
        dub.dub(*files, box=box, blend="hard", silence="follow", precision=precision, smooth=False)
    finally:
        writing.StampedWriter = original
    return written


if __name__ == "__main__":
    main()
