"""Folders of crops as Wav2Lip's preprocess.py writes them, taken without detection."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core.corpus import clips
from lipsync_core.faces.detection import read_boxes
from lipsync_core.preparation import stages, steps
from lipsync_core.runtime.tables import read_by_clip
from tests.preparation.test_steps import settings
from tests.support.media import portrait, write_wav


def write_folder(folder: Path, frames, sound: bool = True) -> Path:
    folder.mkdir(parents=True)
    for frame in frames:
        cv2.imwrite(str(folder / f"{frame}.jpg"), portrait()[: 120 + frame % 3])
    if sound:
        write_wav(folder / "audio.wav", 1.2)
    return folder


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    folder = tmp_path_factory.mktemp("given")
    data, results = folder / "data", folder / "results"
    write_folder(data / "ann" / "1", [frame for frame in range(30) if frame != 4])
    os.mkfifo(data / "ann" / "1" / "4.jpg")  # reading it would wait for ever
    write_folder(data / "ann" / "silent", range(30), sound=False)
    broken = write_folder(data / "bob" / "broken", range(2))
    for path in broken.glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:200])
    found = clips.discover(data, 1, layout="wav2lip")
    steps.extract_audio(steps.Shard(found, data, results, 0, settings(root, stages.AUDIO)))
    steps.mel_spectrograms(steps.Shard(found, data, results, 0, settings(root, stages.MELS)))
    options = {"batch_size": 4, "device": "cpu", "models": Path("models")}
    steps.detect_faces(
        steps.Shard(found, data, results, 0, settings(root, stages.BOXES)), **options
    )
    steps.crop_faces(steps.Shard(found, data, results, 0, settings(root, stages.FACES)))
    steps.check_clips(steps.Shard(found, data, results, 0, settings(root, stages.CHECKS)))
    return folder, read_by_clip(results / "checks" / "0.csv")


def test_rows_say_where_the_crops_came_from(prepared):
    row = prepared[1]["ann/1"]
    assert (row["outcome"], row["input"], row["detector"]) == ("kept", "crops", "given")
    assert (row["frames"], row["faces"], row["seconds"], row["fps_in"]) == ("30", "29", "1.2", "25")
    assert float(row["coverage"]) == pytest.approx(29 / 30, abs=1e-3)
    assert float(row["face_px"]) == 160


def test_crops_are_copied_unchanged(prepared):
    folder = prepared[0]
    with zipfile.ZipFile(folder / "results/faces/ann/1.zip") as archive:
        assert [int(name[:-4]) for name in archive.namelist()] == [
            frame for frame in range(30) if frame != 4
        ]
        assert archive.read("7.jpg") == (folder / "data/ann/1/7.jpg").read_bytes()


def test_mels_and_boxes_are_like_those_of_a_video(prepared):
    results = prepared[0] / "results"
    assert len(np.load(results / "mels/ann/1.npy")) == pytest.approx(1.2 * 80, abs=2)
    boxes = read_boxes(results / "boxes/ann/1.parquet")
    assert (boxes.frames, boxes.width, boxes.height, boxes.detector) == (30, 160, 122, "given")
    assert 4 not in boxes.faces["frame"].tolist()


def test_what_cannot_be_used_has_its_reason(prepared):
    assert prepared[1]["ann/silent"]["reason"] == "no_audio"
    assert prepared[1]["bob/broken"]["reason"] in ("unreadable", "too_short")
