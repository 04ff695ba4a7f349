"""A dubbing of given files needs no corpus; one of a clip of the corpus does."""

from __future__ import annotations

import av
import cv2
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.models import Wav2Lip
from tests.support.media import portrait, write_wav
from tests.workflow.test_snakefile import Project

GIVEN = {"face": "a face.png", "audio": "voice.wav", "checkpoint": "w.pth", "output": "given.mp4"}


def test_given_files_are_dubbed_without_a_corpus(root, tmp_path):
    project = Project(tmp_path, root)
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "a face.png"), portrait())
    write_wav(tmp_path / "voice.wav", 0.4)
    torch.manual_seed(0)
    save_public(tmp_path / "w.pth", Wav2Lip(width=0.125))
    dubs = [GIVEN | {"fps": 30}, {"output": "auto.mp4"}]
    assert project.jobs("results/given.mp4", dub=dubs) == {"infer": 1, "dub_faces": 1}
    # Several sounds on one face find it once.
    second = GIVEN | {"audio": "other.wav", "output": "second.mp4"}
    write_wav(tmp_path / "other.wav", 0.4)
    both = project.jobs("results/given.mp4", "results/second.mp4", dub=[*dubs, second])
    assert both == {"infer": 2, "dub_faces": 1}
    done = project.run("results/given.mp4", dub=dubs)
    assert done.returncode == 0, done.stdout + done.stderr
    with av.open(str(tmp_path / "results/given.mp4")) as container:
        assert container.streams.video[0].average_rate == 30
        assert container.streams.video[0].frames == 12
    # What takes a clip of the corpus says that there is none.
    done = project.run("-n", "results/auto.mp4", dub=dubs)
    assert done.returncode == 1
    assert "data_root 'data' holds no video" in done.stdout + done.stderr
