"""Faces of a file to be dubbed: how they are found, how far the search is, and its end."""

from __future__ import annotations

import json

import pytest
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.config import DubOptions
from lipsync_core.dubbing import dub as dubbing
from lipsync_core.dubbing.dub import dub
from lipsync_core.dubbing.faces import FaceSettings, find_faces, kept_faces
from lipsync_core.dubbing.onnx_export import export_onnx
from lipsync_core.errors import LipsyncError
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.files import file_sha
from tests.support.media import write_video


def test_the_search_tells_how_far_it_is_and_can_be_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(dubbing, "load_generator", lambda *_: None)
    video, told = write_video(tmp_path / "clip.mp4", 0.8), []
    settings = FaceSettings("centerface")
    found = find_faces(video, settings, on_progress=lambda *each: told.append(each))
    assert found.frames == 20 and told == [(number, 20) for number in range(1, 21)]

    def cancel(done, total):
        if done == 5:
            raise KeyboardInterrupt

    (tmp_path / "checkpoint.pth").touch()
    folders = {"outfile": tmp_path / "out.mp4", "faces_dir": tmp_path / "faces"}
    with pytest.raises(KeyboardInterrupt):
        dub(video, video, tmp_path / "checkpoint.pth", **folders, on_faces=cancel)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pth", "clip.mp4"]


def test_faces_are_found_as_in_the_training_of_the_model(tmp_path):
    torch.manual_seed(0)
    checkpoint = tmp_path / "wav2lip" / "checkpoint.pth"
    save_public(checkpoint, Wav2Lip(width=0.125))
    assert FaceSettings.of_checkpoint(checkpoint) == FaceSettings()
    found = {
        "detector": "centerface",
        "detect": {"stride": 3},
        "track": {"smooth": 5},
        "crop": {"margin": 0.2},
    }
    card = {"checkpoint_sha256": file_sha(checkpoint), "faces": found}
    (checkpoint.parent / "model_card.json").write_text(json.dumps(card))
    trained = FaceSettings.of_checkpoint(checkpoint)
    assert (trained.detector, trained.detect.stride, trained.track.smooth) == ("centerface", 3, 5)
    assert (trained.crop.margin, trained.crop.pads) == (0.2, [0, 0, 0, 0])
    # What is given wins; a model card of another file does not count.
    changed = trained.changed(DubOptions(pads=[1, 2, 3, 4], smooth=False, long_side=320))
    assert (changed.crop.pads, changed.crop.margin) == ([1, 2, 3, 4], 0.2)
    assert (changed.track.smooth, changed.detect.long_side, changed.detect.stride) == (0, 320, 3)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    assert FaceSettings.of_checkpoint(tmp_path / "model.onnx") == trained
    save_public(checkpoint, Wav2Lip(width=0.125))
    assert FaceSettings.of_checkpoint(checkpoint) == FaceSettings()


def test_a_folder_that_cannot_be_written_ends_no_dubbing(tmp_path, caplog):
    video = write_video(tmp_path / "clip.mp4", 0.4)
    (tmp_path / "file").write_text("no folder")
    found = kept_faces(video, FaceSettings("centerface"), tmp_path / "file")
    assert found.frames == 10
    assert "are not kept for the next audio" in caplog.text


def test_a_damaged_model_card(tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"x")
    (tmp_path / "model_card.json").write_text("{")
    with pytest.raises(LipsyncError, match=r"checkpoint\.pth: its model card is not whole"):
        FaceSettings.of_checkpoint(tmp_path / "checkpoint.pth")
