"""`lipsync export-onnx`: metadata; a dubbing by the file in a Python that has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import wave

import cv2
import numpy as np
import onnx
import pytest
import torch

from lipsync_core import __version__, cli
from lipsync_core.checkpoints import save_public
from lipsync_core.demo.photos import photo_path
from lipsync_core.media.video import VideoWriter
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.files import file_sha

# Names whose import fails, as where only the extra `onnx` is installed.
WITHOUT = ("torch", "face_alignment", "tensorboard", "snakemake", "silero_vad", "jinja2")
BLOCKED = f"""
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked())
from lipsync_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    save_public(tmp_path / "run" / "checkpoint.pth", Wav2Lip(width=0.125))
    return tmp_path / "run" / "checkpoint.pth"


def export(checkpoint, outfile):
    code = cli.main(["export-onnx", "--checkpoint", str(checkpoint), "--outfile", str(outfile)])
    model = onnx.load(str(outfile)) if outfile.is_file() else None
    return code, {entry.key: entry.value for entry in model.metadata_props} if model else {}


def without_torch(*arguments):
    command = [sys.executable, "-c", BLOCKED, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_file_says_what_it_is(checkpoint, tmp_path):
    code, facts = export(checkpoint, tmp_path / "a.onnx")
    assert code == 0
    assert facts == {
        "image_size": "96",
        "width": "0.125",
        "checkpoint_sha256": file_sha(checkpoint),
        "lipsync_version": __version__,
    }
    card = {"network": "wav2lip", "licence": "CC-BY-4.0", "checkpoint_sha256": file_sha(checkpoint)}
    side = checkpoint.with_name("model_card.json")
    side.write_text(json.dumps(card))
    _, facts = export(checkpoint, tmp_path / "b.onnx")
    assert facts["licence"] == "CC-BY-4.0" and json.loads(facts["model_card"]) == card
    side.write_text(json.dumps(card | {"checkpoint_sha256": "of another file"}))
    export(checkpoint, tmp_path / "c.onnx")
    assert (tmp_path / "c.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()


def test_refusals(checkpoint, tmp_path, capsys):
    assert export(checkpoint, tmp_path / "a.pth") == (1, {})
    assert "ends in .onnx" in capsys.readouterr().err
    assert export(tmp_path / "none.pth", tmp_path / "a.onnx") == (1, {})
    assert "no such checkpoint" in capsys.readouterr().err


def test_dubbing_without_torch(checkpoint, tmp_path):
    export(checkpoint, tmp_path / "a.onnx")
    face = tmp_path / "face.mp4"
    picture = cv2.imread(str(photo_path("collins")))
    picture = cv2.resize(picture, (320, 400), interpolation=cv2.INTER_AREA)
    with VideoWriter(face, (320, 400)) as writer:
        for _ in range(8):
            writer.write(picture)
    times = np.arange(8000) / 16000
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes((9000 * np.sin(2000 * times)).astype("<i2").tobytes())
    outfile = tmp_path / "out.mp4"
    files = ["dub", "--face", face, "--audio", tmp_path / "a.wav", "--outfile", outfile]
    done = without_torch(*files, "--checkpoint", tmp_path / "a.onnx")
    assert done.returncode == 0, done.stderr
    assert outfile.stat().st_size > 1000

    done = without_torch(*files, "--checkpoint", checkpoint)
    assert done.returncode == 1
    assert "a checkpoint needs torch" in done.stderr and "export-onnx" in done.stderr
    done = without_torch("export-onnx", "--checkpoint", checkpoint, "--outfile", "b.onnx")
    assert done.returncode == 1
    assert "torch is not installed; run `pip install 'lipsync-pipeline[train]'`" in done.stderr
