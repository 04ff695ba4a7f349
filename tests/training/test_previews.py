"""training/previews.py: fixed faces, fixed audio, and what is written of an evaluation."""

import logging

import numpy as np
import pytest
import torch

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.media.audio import load_wav, write_wav
from lipsync_core.media.video import probe, read_frames
from lipsync_core.training import previews
from lipsync_core.training.previews import FACES, LENGTHS, ROWS, Previews, excerpts
from tests.support.training import SIZE, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")
ROW = {"step": 7, "val_l1": 0.04, "val_sync_loss": 0.5, "val_sync_loss_gt": 0.2}
ROW |= {"val_silent_lip_motion_ratio": 0.254, "val_sharpness_ratio": 0.6}
LONG = LENGTHS[0]


class Loud(torch.nn.Module):
    """A generator whose face is as bright as the audio of the frame is loud."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.references = []

    def forward(self, mel, faces):
        self.references.append(faces[:, 3:].clone())
        loud = (mel[..., 0].mean(dim=(2, 3)) + 4) / 8  # (B, T)
        shape = len(faces), 3, faces.shape[2], SIZE, SIZE
        return loud.clamp(0, 1)[:, None, :, None, None].expand(shape)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    clips = ["a/1", "a/2", "b/1", "c/1"]
    folder = write_corpus(tmp_path_factory.mktemp("results"), {"val": clips}, frames=LONG + 11)
    samples = (LONG + 11) * 640
    for number, clip in enumerate(clips, 1):
        tone = np.sin(np.arange(samples) * 0.1 * number) * np.linspace(0, 20000, samples)
        write_wav(folder / "audio" / f"{clip}.wav", [tone.astype("<i2")])
    return folder


@pytest.fixture
def dataset(results):
    return ClipDataset.load(results, "val")


def cell(frames, row, column):
    """The faces in one place of all frames: (T, 96, 96, 3)."""
    top = previews._row_top(SIZE, row)
    return frames[:, top : top + SIZE, column * SIZE : (column + 1) * SIZE]


def test_excerpts_are_of_different_speakers_and_from_the_middle(dataset):
    found = excerpts(dataset.clips)
    assert [each.clip.id for each in found] == ["a/1", "b/1", "c/1", "a/2"]
    assert {(each.start, each.length) for each in found} == {(5, LONG)}
    assert excerpts(dataset.clips) == found


@pytest.mark.parametrize("frames", [16, 40, 200])
def test_one_clip_gives_all_excerpts(tmp_path, frames):
    dataset = ClipDataset.load(write_corpus(tmp_path, {"val": ["a/1"]}, frames), "val")
    found = excerpts(dataset.clips)
    length = found[0].length
    assert {each.length for each in found} == {{16: 5, 40: 10, 200: LONG}[frames]}
    assert 3 <= len(found) <= FACES + 1
    used = [frame for each in found for frame in range(each.start, each.start + length)]
    assert len(set(used)) == len(used) and min(used) >= 0 and max(used) < frames


def test_excerpts_cross_no_cut_and_no_missing_face(tmp_path):
    from tests.support.training import write_clip

    results = write_corpus(tmp_path, {"val": ["a/1"]}, frames=90)
    write_clip(results, "a/1", frames=90, missing=[60], cuts=[30])
    for each in excerpts(ClipDataset.load(results, "val").clips):
        frames = range(each.start, each.start + each.length)
        assert 60 not in frames and (frames.stop <= 30 or frames.start >= 30)


def test_rows_are_truth_own_audio_and_the_audio_that_is_heard(results, dataset, tmp_path):
    model = Loud()
    strip = Previews(results, dataset).write(model, ROW, tmp_path)
    path = tmp_path / "previews" / "step_0000007.mp4"
    found = probe(path)
    frames = np.stack(list(read_frames(path)))
    assert frames.shape[0] == LONG and found.has_audio and found.width == FACES * SIZE
    assert strip.shape == (found.height, 3 * found.width, 3) and strip.dtype == np.uint8
    *shown, heard = excerpts(dataset.clips)
    for column, excerpt in enumerate(shown):
        starts = range(excerpt.start, excerpt.start + LONG, 5)
        truth = dataset.read_windows(excerpt.clip, starts).reshape(-1, SIZE, SIZE, 3)
        assert np.abs(cell(frames, 0, column).astype(int) - truth).mean() < 4
        for row, audio in ((1, excerpt), (2, heard)):
            mels = dataset.mels(audio.clip, range(audio.start, audio.start + LONG))
            loud = 255 * np.clip((mels[:, 0, :, 0].mean(axis=1) + 4) / 8, 0, 1)
            assert np.abs(cell(frames, row, column).mean(axis=(1, 2, 3)) - loud).max() < 4
    # As in dubbing, the reference is the frame itself.
    first = dataset.read_windows(shown[0].clip, [shown[0].start])[0]
    reference = model.references[0][0].permute(1, 2, 3, 0).numpy() * 255
    np.testing.assert_allclose(reference, first, atol=1e-3)
    # The tone of the clip whose audio is heard, from where its excerpt starts.
    audio = load_wav(path)[: LONG * 640]
    wanted = load_wav(results / "audio" / f"{heard.clip.id}.wav")[heard.start * 640 :][: len(audio)]
    assert np.corrcoef(audio, wanted)[0, 1] > 0.95


def test_without_audio_files_the_video_is_silent(tmp_path):
    results = write_corpus(tmp_path, {"val": ["a/1", "b/1", "c/1"]})
    Previews(results, ClipDataset.load(results, "val")).write(Loud(), ROW, tmp_path / "run")
    assert not probe(tmp_path / "run/previews/step_0000007.mp4").has_audio


def test_the_figures_and_the_rows_are_named_on_the_frames(monkeypatch):
    written = []
    monkeypatch.setattr(previews.cv2, "putText", lambda frame, text, *_: written.append(text))
    previews._background(SIZE, ROW, audible=True)
    assert written[:2] == ["step 7", "L1 0.04, sync loss 0.5 (truth 0.2)"]
    assert written[2] == "lip motion in silence 25%, sharpness 60%"
    assert written[3:] == [*ROWS[:-1], f"{ROWS[-1]} (heard)"]


@pytest.mark.parametrize("size", [96, 192])
def test_the_text_fits(size):
    row = dict.fromkeys(ROW, 0.01234) | {"step": 1234567, "val_silent_lip_motion_ratio": 12.34}
    row["val_sharpness_ratio"] = 12.34
    frame = previews._background(size, row, audible=True)
    margin = frame[:, -size // 24 :]
    assert (margin == margin[0, 0]).all() and (frame != margin[0, 0]).any()


def test_a_preview_that_cannot_be_written_stops_no_training(
    results, dataset, tmp_path, monkeypatch, caplog
):
    def fail(*_, **__):
        raise LipsyncError("disk full")

    monkeypatch.setattr(previews, "VideoWriter", fail)
    with caplog.at_level(logging.WARNING):
        assert Previews(results, dataset).write(Loud(), ROW, tmp_path) is None
    assert "no preview of step 7: disk full" in caplog.text


def test_only_the_previews_of_the_rows_are_published(tmp_path):
    source, target = tmp_path / "run" / "previews", tmp_path / "out"
    source.mkdir(parents=True)
    target.mkdir()
    for step in (2, 4, 6):
        previews.preview_path(source, step).write_bytes(bytes([step]))
    previews.preview_path(target, 9).touch()
    previews.publish(tmp_path / "run", target, [2, 4, 8])
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "step_0000002.mp4": b"\x02",
        "step_0000004.mp4": b"\x04",
    }
    previews.publish(tmp_path / "none", target, [])
    assert list(target.iterdir()) == []
