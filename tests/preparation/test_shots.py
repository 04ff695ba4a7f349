"""Videos with cuts, and with what looks like one, through the preparation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core.corpus import clips
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.faces import detection
from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.video import VideoWriter
from lipsync_core.preparation import stages, steps
from lipsync_core.runtime.tables import read_by_clip
from tests.preparation.test_steps import settings
from tests.support.media import write_wav
from tests.support.media_people import SIDE, SIZE, portraits

pytestmark = pytest.mark.media


def scene(who: str, x: float, place: int = 0) -> np.ndarray:
    """A person before a place: uint8 (216, 384, 3)."""
    coarse = np.random.default_rng(place).integers(40, 200, (4, 6, 3), np.uint8)
    picture = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_NEAREST)
    move = np.float32([[1, 0, x - SIDE / 2], [0, 1, 60]])
    cv2.warpAffine(portraits()[who], move, SIZE, dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def sway(frame: int) -> float:
    return 150 + 6 * np.sin(frame / 5)


def jump_cut(frame: int) -> np.ndarray:
    return scene("collins", sway(frame) + 30 * (frame >= 30))


def logo(frame: int) -> np.ndarray:
    picture = scene("collins", sway(frame))
    if frame >= 30:
        picture[:50] = 255
        picture[170:] = (0, 0, 220)
    return picture


def turn(frame: int) -> np.ndarray:
    """Two thirds of a face's width in a fifth of a second."""
    return scene("collins", float(np.interp(frame, [28, 33], [140, 170])))


def interview(frame: int) -> np.ndarray:
    """A asks, B answers, A asks again: 1.4, 1.2 and 1.2 seconds."""
    if 35 <= frame < 65:
        return scene("hopper", 250 + sway(frame) / 20, place=1)
    return scene("collins", sway(frame))


@pytest.fixture
def prepared(root, tmp_path) -> Callable[..., tuple[Path, dict[str, dict]]]:
    """`prepared(draw, frames)`: a corpus of one video; its results and its last table."""

    def make(draw, frames: int, choice: str = "largest"):
        data, results = tmp_path / "data", tmp_path / "results"
        voice = write_wav(tmp_path / "voice.wav", frames / 25)
        (data / "anna").mkdir(parents=True)
        with VideoWriter(data / "anna/1.mp4", SIZE, audio=voice, threads=1) as writer:
            for frame in range(frames):
                writer.write(draw(frame))
        corpus = clips.discover(data, 1)
        faces = settings(root, stages.FACES, track={"select": choice})
        boxes = settings(root, stages.BOXES)
        steps.extract_audio(steps.Shard(corpus, data, results, 0, settings(root, stages.AUDIO)))
        steps.mel_spectrograms(steps.Shard(corpus, data, results, 0, settings(root, stages.MELS)))
        steps.detect_faces(steps.Shard(corpus, data, results, 0, boxes), 8, "cpu", Path("models"))
        steps.crop_faces(steps.Shard(corpus, data, results, 0, faces))
        steps.check_clips(steps.Shard(corpus, data, results, 0, settings(root, stages.CHECKS)))
        return results, read_by_clip(results / "checks/0.csv")

    return make


@pytest.mark.parametrize("draw", [logo, turn])
def test_logos_and_head_turns_leave_one_shot(prepared, draw):
    results, table = prepared(draw, 60)
    row = table["anna/1"]
    assert (row["outcome"], row["shots"], row["tracks"], row["faces"]) == ("kept", "1", "1", "60")
    assert detection.read_boxes(results / "boxes/anna/1.parquet").cuts == ()


def test_a_jump_cut_stays_one_clip_that_knows_its_cut(prepared):
    results, table = prepared(jump_cut, 60)
    row = table["anna/1"]
    assert (row["outcome"], row["shots"], row["tracks"], row["faces"]) == ("kept", "2", "1", "60")
    assert CropArchive(results / "faces/anna/1.zip").cuts == (30,)
    (clip,) = ClipDataset.load(results, ["anna/1"]).clips
    straddling = {*range(26, 30)}
    assert not straddling & set(clip.starts.tolist())
    assert {0, 20, 30, 50} <= set(clip.starts.tolist())
    # The jump is no motion of the head, and smoothing does not soften it.
    assert float(row["head_speed"]) < 2


def test_the_main_person_of_an_interview_is_kept_over_all_of_their_shots(prepared):
    results, table = prepared(interview, 95)
    row = table["anna/1"]
    assert (row["outcome"], row["shots"], row["tracks"]) == ("kept", "3", "2")
    frames = CropArchive(results / "faces/anna/1.zip").frames
    assert frames.tolist() == [*range(35), *range(65, 95)]
    # What is lost is said.
    assert (row["num_frames"], row["unused_face_seconds"]) == ("65", "1.2")


def test_everybody_of_an_interview_is_one_clip(prepared):
    _, table = prepared(interview, 95, "all")
    spans = {
        name: (row["start_frame"], row["num_frames"], row["outcome"]) for name, row in table.items()
    }
    assert spans == {"anna/1": ("0", "65", "kept"), "anna/1+1": ("35", "30", "kept")}
