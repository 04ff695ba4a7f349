"""`lipsync offset` on videos made on the spot, measured by a network that knows the answer."""

import csv

import numpy as np
import pytest
import torch

from lipsync_core import cli
from lipsync_core.checkpoints import save_public
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import judges, offsets
from lipsync_core.evaluation.av_offset import SHIFTS
from lipsync_core.evaluation.sync import SyncMeasure
from lipsync_core.models import SyncNet
from tests.support.media import write_video

pytestmark = pytest.mark.media


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "a b.mp4", 1.6)
    write_video(folder / "silent.mp4", 1.0, sound=False)
    torch.manual_seed(0)
    save_public(folder / "sync/bootstrap/checkpoint.pth", SyncNet(width=0.0625))
    return folder


@pytest.fixture
def late(monkeypatch):
    """Every face window is nearest to the audio of two frames before."""

    def distances(self, faces, first, audio):
        return np.tile(np.where(SHIFTS == -2, 0.1, 0.9).astype(np.float32), (len(faces), 1))

    monkeypatch.setattr(judges.SyncNetJudge, "distances", distances)


def options(folder):
    files = ["--results", str(folder), "--models", str(folder), "--detector", "centerface"]
    return [*files, "--device", "cpu"]


def test_offset_of_each_face_in_words_and_in_a_table(folder, late, caplog):
    caplog.set_level("INFO")
    names = [str(folder / "a b.mp4"), str(folder / "silent.mp4")]
    table = ["--outfile", str(folder / "out.csv")]
    assert cli.main(["offset", *names, *table, *options(folder)]) == 0
    assert "+2 frames, the picture comes 80 ms late (100% sure, +2 to +2 frames)" in caplog.text
    with open(folder / "out.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["offset"], row["offset_ms"], row["reason"]) for row in rows] == [
        ("2", "80", ""),
        ("", "", "no_audio"),
    ]


def test_no_measured_file_is_a_failure(folder, late, capsys):
    assert cli.main(["offset", str(folder / "silent.mp4"), *options(folder)]) == 1
    assert "none of the 1 files could be measured" in capsys.readouterr().err


def test_without_a_network_the_message_says_how_to_get_one(tmp_path):
    with pytest.raises(LipsyncError, match=r"give --model, fetch one .* or let your videos train"):
        offsets.choose_judge(None, tmp_path, tmp_path, "cpu")


def test_real_distances_have_a_row_for_each_window(folder):
    judge = offsets.choose_judge(None, folder, folder, "cpu")
    [face] = offsets.video_offsets(folder / "a b.mp4", judge, detector())
    assert face.found.windows == 36  # of 40 frames
    assert (face.first, face.last) == (0, 39)


def detector():
    from lipsync_core.faces import detectors

    return detectors.build("centerface", "cpu")


def test_drift_and_several_faces_are_in_the_sentence():
    face = offsets.FaceOffset(25, 274, SyncMeasure(0, 0.4, 0.9, -1, 2, 6.5, 246))
    said = offsets.sentence(face, 1, 2)
    assert said == (
        ", face 2 of 2 (1.0-11.0 s): 0 frames, in sync (90% sure, -1 to +2 frames; "
        "it grows by +6.5 frames in that time)"
    )
