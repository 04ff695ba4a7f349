"""The public inference script (github.com/Rudrabha/Wav2Lip), set up to be measured against.

Not a benchmark of its own: `dub_speed` and `dub_pixels` use it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile

from lipsync_core.checkpoints import save_public
from lipsync_core.media.audio import SAMPLE_RATE, load_wav
from lipsync_core.models import Wav2Lip

# What the public code needs of today's librosa, added from outside.
SHIM = """
import librosa, librosa.filters, runpy, sys
mel = librosa.filters.mel
librosa.filters.mel = lambda sr, n_fft, **options: mel(sr=sr, n_fft=n_fft, **options)
"""
RUN = """
sys.argv = ["inference.py", *sys.argv[1:]]
runpy.run_path("inference.py", run_name="__main__")
"""


def add_arguments(parser: argparse.ArgumentParser, seconds: float) -> None:
    """The files that both are given, and the seconds of the sound."""
    parser.add_argument("--public", type=Path, required=True, help="folder of the public code")
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--box", type=int, nargs=4, required=True)
    parser.add_argument("--seconds", type=float, default=seconds)


def prepare(options: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """Fill the folder `work`; returns the copy of the code, and the copy of the face file.

    speech.wav: the sound; wav2lip.pth: random weights of the public size.
    """
    code = work / "public"
    shutil.copytree(options.public, code)
    for name in ("temp", "results", "bin"):
        (code / name).mkdir(exist_ok=True)
    torch.manual_seed(0)
    save_public(work / "wav2lip.pth", Wav2Lip())
    sound = load_wav(options.audio)[: round(options.seconds * SAMPLE_RATE)]
    wavfile.write(work / "speech.wav", SAMPLE_RATE, (sound * 32767).astype(np.int16))
    face = work / f"face{options.face.suffix}"
    shutil.copyfile(options.face, face)
    return code, face
