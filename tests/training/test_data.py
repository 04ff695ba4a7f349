"""The ways in which the public training scripts stand at `0it` for ever: each ends in words here.

Their datasets try again, without a bound, whatever goes wrong with a clip, and their evaluation
waits for a validation batch that may never come. Each row below is one cause of that.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lipsync_core.config import SyncNetConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.generator_samples import generator_batch
from lipsync_core.data.syncnet_batches import syncnet_batch
from lipsync_core.errors import LipsyncError
from lipsync_core.training import syncnet
from tests.support.training import write_clip, write_corpus

CONFIG = SyncNetConfig(
    width=1 / 32, steps=1, clips_per_batch=1, windows_per_clip=2, precision="float32"
)


def train_syncnet(results: Path) -> None:
    """The training of SyncNet, from its entry point."""
    outputs = {"checkpoint": results / "checkpoint.pth", "metrics": results / "metrics.csv"}
    device = torch.device("cpu")
    syncnet.train(results, CONFIG, 96, results / "run", seed=0, device=device, **outputs)


def listed(text: str, split: str = "train") -> Callable[[Path], object]:
    """Writes another list of clips."""
    return lambda results: (results / f"filelists/{split}.txt").write_text(text, encoding="utf-8")


def mel(values: np.ndarray) -> Callable[[Path], object]:
    """Writes another sound for the clip."""
    return lambda results: np.save(results / "mels/a/1.npy", values)


def undecodable_frames(results: Path) -> None:
    with zipfile.ZipFile(results / "faces/a/1.zip", "w") as archive:
        for frame in range(40):
            archive.writestr(f"{frame}.jpg", b"\xff\xd8\xff" + bytes(99))


def no_member(results: Path) -> None:
    with zipfile.ZipFile(results / "faces/a/1.zip", "w"):
        pass


ENDS = {
    "wrong path": (lambda r: (r / "filelists").rename(r / "lists"), r"train\.txt: no such file"),
    "list that is missing": (
        lambda r: (r / "filelists/val.txt").unlink(),
        r"val\.txt: no such file; prepare the data first",
    ),
    "list of other names": (
        listed("a/1.mp4\n"),
        r"1 of 1 clips cannot .*faces/a/1\.mp4\.zip: no such file",
    ),
    "list in another encoding": (
        lambda r: (r / "filelists/train.txt").write_bytes("é/1".encode("latin-1")),
        r"train\.txt: not UTF-8",
    ),
    "empty list": (listed(""), r"train\.txt: no clip in it"),
    "list of blank lines": (listed("\n \r\n\n"), r"train\.txt: no clip in it"),
    "one clip, none to validate": (listed("", "val"), r"val\.txt: no clip in it; the split needs"),
    "no faces": (lambda r: (r / "faces/a/1.zip").unlink(), r"faces/a/1\.zip: no such file"),
    "faces cut short": (
        lambda r: (r / "faces/a/1.zip").write_bytes((r / "faces/a/1.zip").read_bytes()[:999]),
        r"1\.zip: not a whole archive of face crops",
    ),
    "archive without frames": (no_member, "0 consecutive frames with a face, 16 needed"),
    "15 frames": (lambda r: write_clip(r, "a/1", frames=15), "15 consecutive frames .* 16 needed"),
    "gaps, so that no window fits": (
        lambda r: write_clip(r, "a/1", frames=80, missing=range(0, 80, 5)),
        "4 consecutive frames with a face, 16 needed",
    ),
    "undecodable frames": (
        undecodable_frames,
        r"1\.zip: not a whole archive of face crops \(\d+\.jpg is not an image\)",
    ),
    "no sound": (lambda r: (r / "mels/a/1.npy").unlink(), r"mels/a/1\.npy: no such file"),
    "broken sound": (lambda r: (r / "mels/a/1.npy").write_bytes(b"RIFF"), r"mels/a/1\.npy: "),
    "sound too short for the frames": (mel(np.zeros((40, 80))), r"0\.50 s of audio end too early"),
    "sound of another kind": (
        mel(np.zeros((128, 64))),
        r"shape \(128, 64\) of .*, wanted \(T, 80\)",
    ),
    "sound that is no numbers": (mel(np.full((128, 80), "a")), r"of <U1, wanted .* of floats"),
    "sound cut short": (
        lambda r: (r / "mels/a/1.npy").write_bytes((r / "mels/a/1.npy").read_bytes()[:-7]),
        r"mels/a/1\.npy: the last 7 bytes are missing",
    ),
}


@pytest.mark.parametrize("cause", ENDS)
def test_a_training_without_data_raises(tmp_path, cause):
    spoil, complaint = ENDS[cause]
    results = write_corpus(tmp_path, {"train": ["a/1"], "val": ["v/1"]})
    spoil(results)
    began = time.process_time()  # what else runs on the machine does not count
    with pytest.raises(LipsyncError, match=complaint) as caught:
        train_syncnet(results)
    assert time.process_time() - began < 10
    assert "\n" not in str(caught.value)
    assert not (results / "checkpoint.pth").exists()


GOES_ON = {
    "one clip": lambda r: None,
    "16 frames": lambda r: write_clip(r, "a/1", frames=16),
    "16 frames in a row among gaps": lambda r: write_clip(
        r, "a/1", frames=60, missing=[*range(0, 20, 3), 36, *range(38, 60, 3)]
    ),
    "trailing tokens": listed("a/1 NF\n"),
    "line ends of Windows": listed("\ufeffa/1\r\n\r\n"),
    "names that come twice": listed("a/1\na/1\n"),
    "sound longer than the frames": mel(np.zeros((999, 80), np.float32)),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_damaged_data_that_still_decodes_trains(tmp_path, case):
    results = write_corpus(tmp_path, {"train": ["a/1"]})
    GOES_ON[case](results)
    corpus = ClipDataset.load(results, "train")
    assert [clip.id for clip in corpus.clips] == ["a/1"]
    for step in range(20):
        assert generator_batch(corpus, 0, step, 1).target.shape == (1, 5, 96, 96, 3)
        assert syncnet_batch(corpus, 0, step, 1, 4).frames.shape == (1, 4, 5, 48, 96, 3)


def test_one_unreadable_frame_is_named(tmp_path):
    results = write_corpus(tmp_path, {"train": ["a/1"]})
    whole = cv2.imencode(".jpg", np.zeros((96, 96, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(results / "faces/a/1.zip", "w") as archive:
        for frame in range(40):
            archive.writestr(f"{frame}.jpg", whole if frame != 20 else b"")
    corpus = ClipDataset.load(results, "train")
    with pytest.raises(LipsyncError, match=r"20\.jpg is not an image"):
        for step in range(99):
            generator_batch(corpus, 0, step, 1)
