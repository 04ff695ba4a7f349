"""`lipsync evaluate` on videos made on the spot: figures, failures, references, files."""

import csv
import json

import numpy as np
import pytest
import torch

from lipsync_core import cli
from lipsync_core.checkpoints import save_public
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import lse, videos
from lipsync_core.evaluation.judges import SyncNetJudge
from lipsync_core.faces import detectors
from lipsync_core.models import SyncNet
from tests.support.media import write_video

# On busy cores several threads spend minutes waiting for each other over these small networks.
pytestmark = [pytest.mark.media, pytest.mark.usefixtures("one_thread")]
TINY = 0.0625


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "ours" / "a.mp4", 1.2)
    write_video(folder / "ours" / "faceless.mp4", 0.4, face=False)
    write_video(folder / "ours" / "silent.mp4", 0.4, sound=False)
    write_video(folder / "real" / "a.mp4", 1.2)
    torch.manual_seed(0)
    save_public(folder / "syncnet" / "checkpoint.pth", SyncNet(width=TINY))
    return folder


def test_videos_are_measured_and_failed_ones_counted(folder, capsys):
    names = [str(folder / "ours" / f"{name}.mp4") for name in ("a", "faceless", "silent")]
    options = ["--results", str(folder), "--outfile", str(folder / "out" / "e.json")]
    options += ["--detector", "centerface", "--device", "cpu"]
    assert cli.main(["evaluate", *names, *options]) == 0
    report = json.loads((folder / "out" / "e.json").read_text())
    found = report["protocols"]["same_audio"]["ours"]
    assert (found["clips"], found["scored"]) == (3, 1)
    assert found["failed"] == {"no_audio": 1, "no_face": 1}
    assert found["metrics"]["distance_syncnet"]["n"] == 1
    assert found["metrics"]["coverage"]["value"] > 0.9
    assert found["metrics"]["distance_syncnet"]["low"] is None  # of one video
    with open(folder / "out" / "e_clips.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["reason"] for row in rows] == ["", "no_face", "no_audio"]
    assert "1 of 3 clips scored" in (folder / "out" / "e.txt").read_text()


def test_a_reference_is_the_ground_truth(folder):
    judge = SyncNetJudge("syncnet", SyncNet(width=TINY))
    detector = detectors.build("centerface", "cpu")
    paths = [folder / "ours" / "a.mp4"], [folder / "real" / "a.mp4"]
    report, rows = videos.evaluate_videos(paths[0], [judge], detector, paths[1])
    assert [row["system"] for row in rows] == ["ground_truth", "ours"]
    assert rows[1]["mouth_l1"] == 0  # the same content
    assert rows[0]["distance_syncnet"] == pytest.approx(rows[1]["distance_syncnet"])
    systems = report["protocols"]["same_audio"]
    assert systems["ours"]["metrics"]["lip_dynamics"]["closeness"] == pytest.approx(1)


def test_mistakes_are_said_before_any_work(folder):
    path = folder / "ours" / "a.mp4"
    with pytest.raises(LipsyncError, match=r"2 videos and 1 references; give one for each"):
        videos.evaluate_videos([path, path], [], None, [path])
    with pytest.raises(LipsyncError, match=r"gone\.mp4: no such file"):
        videos.evaluate_videos([folder / "gone.mp4"], [], None)


def test_no_measured_video_is_a_failure(folder, capsys):
    options = ["--outfile", str(folder / "none" / "e.json"), "--results", str(folder / "none")]
    options += ["--detector", "centerface"]
    assert cli.main(["evaluate", str(folder / "ours" / "faceless.mp4"), *options]) == 1
    assert "none of the 1 videos could be measured" in capsys.readouterr().err


def test_checkpoints_are_named_by_their_folders(tmp_path):
    assert videos._checkpoints(["runs/a/checkpoint.pth", "b.pth"], tmp_path).keys() == {"a", "b"}
    found = videos._checkpoints(["x/checkpoint.pth", "y/x/checkpoint.pth"], tmp_path)
    assert found.keys() == {"x_1", "x_2"}


def test_regions_of_lse_have_a_margin_at_the_sides_and_below():
    found = lse.protocol_boxes(np.float32([[100, 100, 180, 200]]))
    assert found[0].tolist() == [70, 100, 210, 240]
