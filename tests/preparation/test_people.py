"""Two people in three shots, through the whole preparation: each person a clip, over all shots."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core import checkpoints
from lipsync_core.config import Config
from lipsync_core.corpus import clips
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.archive import CropArchive
from lipsync_core.faces.tracking import association
from lipsync_core.faces.tracking import reidentification as looks
from lipsync_core.models import SyncNet
from lipsync_core.preparation import splits, stages, steps
from lipsync_core.runtime.tables import read_by_clip
from tests.preparation.test_steps import settings
from tests.support.media import write_video
from tests.support.media_people import (
    CUTS,
    FRAMES,
    PATHS,
    SLOW_PASS,
    TURN_BACK,
    Paths,
    place,
    write_people,
)

pytestmark = pytest.mark.media


class Preparation:
    """A corpus of the made-up video and a clip with one face."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.data, self.results = root, folder / "data", folder / "results"
        write_people(self.data / "duo" / "1.mp4")
        write_video(self.data / "solo" / "1.mp4", 1.2, seed=1)
        self.clips = clips.discover(self.data, 1)
        steps.extract_audio(
            steps.Shard(self.clips, self.data, self.results, 0, self.of(stages.AUDIO))
        )
        steps.mel_spectrograms(
            steps.Shard(self.clips, self.data, self.results, 0, self.of(stages.MELS))
        )
        options = {"batch_size": 8, "device": "cpu", "models": Path("models")}
        boxes = self.of(stages.BOXES)
        steps.detect_faces(steps.Shard(self.clips, self.data, self.results, 0, boxes), **options)

    def of(self, stage: stages.Stage, **changes) -> dict:
        return settings(self.root, stage, **changes)

    def crop(self, speaker_model: Path | None = None, **changes) -> dict[str, dict]:
        faces = self.of(stages.FACES, **changes)
        steps.crop_faces(
            steps.Shard(self.clips, self.data, self.results, 0, faces), "cpu", speaker_model
        )
        steps.check_clips(
            steps.Shard(self.clips, self.data, self.results, 0, self.of(stages.CHECKS))
        )
        return read_by_clip(self.results / "checks/0.csv")

    def crops(self) -> list[str]:
        return sorted(path.stem for path in (self.results / "faces/duo").glob("*.zip"))


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory) -> Preparation:
    return Preparation(root, tmp_path_factory.mktemp("people"))


@pytest.fixture
def everybody(prepared) -> dict[str, dict]:
    return prepared.crop(track={"select": "all"})


def who(boxes: np.ndarray, frames: np.ndarray, paths: Paths = PATHS) -> set[str]:
    """Whose portraits the boxes lie nearest to."""
    names = set()
    for box, frame in zip(boxes, frames.tolist(), strict=True):
        center = (box[:2] + box[2:]) / 2
        there = {name: place(name, frame, paths) for name in paths if place(name, frame, paths)}
        names.add(min(there, key=lambda name: float(np.hypot(*(center - there[name])))))
    return names


def test_no_track_changes_its_person(prepared):
    found = detection.read_boxes(prepared.results / "boxes/duo/1.parquet")
    assert found.cuts == CUTS
    tracks = association.link(found)
    seen = sorted((*who(track.boxes, track.frames), int(track.frames[0])) for track in tracks)
    assert seen == [("collins", 0), ("collins", 80), ("hopper", 0), ("hopper", 50), ("hopper", 80)]
    assert max(int(track.frames[-1]) for track in tracks) == FRAMES - 1


@pytest.mark.parametrize("paths", [SLOW_PASS, TURN_BACK])
def test_one_who_was_covered_for_long_is_known_again(tmp_path, paths):
    video = write_people(tmp_path / "a.mp4", paths, CUTS[0])
    detector = detectors.build("centerface", "cpu")
    ((_, found),) = detection.detect_videos([("a", video)], detector)
    parts = association.link(found)
    assert sorted(len(track) < 30 for track in parts) == [False, True, True]
    tracks = looks.merge_tracks(video, parts)
    assert [(int(track.frames[0]), int(track.frames[-1])) for track in tracks] == [(0, 49)] * 2
    for track in tracks:
        ends = [
            who(track.boxes[rows], track.frames[rows], paths)
            for rows in (slice(9), slice(-9, None))
        ]
        assert ends[0] == ends[1] and len(ends[0]) == 1
    assert min(len(track) for track in tracks) < 45  # a covered face has no crops


def test_each_person_is_a_clip_over_all_of_their_shots(prepared, everybody):
    names = ["1", "1+1"]
    assert prepared.crops() == names
    assert list(everybody) == [*(f"duo/{name}" for name in names), "solo/1"]
    assert {row["outcome"] for row in everybody.values()} == {"kept"}
    # Hopper is in all three shots; Collins in the first and the last, 50 and 40 frames long.
    spans = [(int(row["start_frame"]), int(row["num_frames"])) for row in everybody.values()]
    assert spans == [(0, 120), (0, 90), (0, 30)]
    assert everybody["duo/1"]["tracks"] == "2"
    assert everybody["duo/1"]["shots"] == "3"
    assert everybody["duo/1+1"]["seconds"] == "3.6"
    assert float(everybody["duo/1+1"]["coverage"]) > 0.9  # covered for a moment


def test_the_crops_say_where_the_shots_begin(prepared, everybody):
    for name in prepared.crops():
        assert CropArchive(prepared.results / f"faces/duo/{name}.zip").cuts == CUTS
    assert CropArchive(prepared.results / "faces/solo/1.zip").cuts == ()
    for clip in ClipDataset.load(prepared.results, ["duo/1", "duo/1+1"]).clips:
        assert not {49, 79} & {*clip.starts.tolist(), *(clip.starts + 4).tolist()}


def test_the_crops_of_a_clip_show_one_person(prepared, everybody):
    def look(picture: np.ndarray) -> np.ndarray:
        small = cv2.resize(picture, (12, 12), interpolation=cv2.INTER_AREA).astype(float)
        return small - small.mean()

    archives = [
        CropArchive(prepared.results / f"faces/duo/{name}.zip") for name in prepared.crops()
    ]
    # Collins in a suit without a hat, Hopper in a hat: their first crops, far apart.
    hopper, collins = (look(archive.decode(0, 96)) for archive in archives)
    shown = []
    for archive in archives:
        looks = [look(archive.decode(frame, 96)) for frame in archive.frames]
        nearer = {np.sum((x - collins) ** 2) < np.sum((x - hopper) ** 2) for x in looks}
        shown.append(nearer)
    assert shown == [{False}, {True}]


def test_a_face_that_was_covered_has_no_crop(prepared, everybody):
    missing = [
        np.setdiff1d(np.arange(50), CropArchive(prepared.results / f"faces/duo/{name}.zip").frames)
        for name in prepared.crops()
    ]
    (covered,) = (frames for frames in missing if len(frames))
    assert 3 <= len(covered) <= 12
    assert {24, 25} <= set(covered.tolist())


def test_people_share_the_audio_of_their_video(prepared, everybody):
    corpus = ClipDataset.load(prepared.results, ["duo/1", "duo/1+1"])
    assert corpus.clips[0].mel == corpus.clips[1].mel
    assert {60} - set(corpus.clips[1].starts.tolist()) == {60}  # Collins is not in that shot
    assert corpus.clips[1].starts[-1] >= 100


def test_the_table_of_clips_counts_people(prepared, everybody):
    found = clips.discover(prepared.data, 1)
    counts = splits.write_filelists(prepared.results, found, stages.ALL, 0.5, 0, 0)
    assert counts == {"kept": 3}
    with open(prepared.results / "filelists/clips.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with open(prepared.results / "filelists/accounting.csv", newline="") as stream:
        account = {line["stage"]: line for line in csv.DictReader(stream)}
    assert [account["crop_faces"][name] for name in ("in", "split_off", "kept")] == ["2", "1", "3"]
    assert len({row["split"] for row in rows if row["speaker"] == "duo"}) == 1


def test_choices_of_one_leave_no_other_crops(prepared, everybody):
    assert len(prepared.crops()) == 2
    for choice in ("largest", "longest"):
        table = prepared.crop(track={"select": choice})
        assert list(table) == ["duo/1", "solo/1"]
        assert prepared.crops() == ["1"]
        assert (table["duo/1"]["outcome"], table["duo/1"]["tracks"]) == ("kept", "2")
        assert (table["solo/1"]["outcome"], table["solo/1"]["faces"]) == ("kept", "30")
        frames = CropArchive(prepared.results / "faces/duo/1.zip").frames
        assert {*range(50, 80)} < set(frames.tolist())  # the main person, in all three shots


def test_short_appearances_are_no_clips(prepared):
    table = prepared.crop(track={"select": "all", "min_seconds": 4})
    assert list(table) == ["duo/1", "solo/1"]


def test_the_speaker_is_the_face_with_the_highest_score(prepared, monkeypatch):
    from lipsync_core.evaluation import active_speaker

    def distances(self, frames, pcm, start):
        seen.append((start, frames.shape))
        found = np.full((20, 31), 9, np.float32)
        found[:, 15] -= 5.0 if start == 80 else 1.0
        return found

    seen: list = []
    checkpoint = prepared.data / "syncnet.pth"
    checkpoints.save_public(checkpoint, SyncNet(width=0.125))
    monkeypatch.setattr(active_speaker.SyncNetScorer, "distances", distances)
    table = prepared.crop(checkpoint, track={"select": "active_speaker"})
    frames = CropArchive(prepared.results / "faces/duo/1.zip").frames.tolist()
    assert (table["duo/1"]["active_speaker_confidence"], table["duo/1"]["tracks"]) == ("5.0", "2")
    # Each is scored in one shot: Hopper in the first, Collins, covered there, in the last.
    assert sorted(start for start, _ in seen[:2]) == [0, 80]
    assert len(seen) == 2  # a single face is not scored
    assert not {*range(50, 80)} & set(frames)
    assert float(table["duo/1"]["unused_face_seconds"]) >= 1.2
    assert table["solo/1"].get("active_speaker_confidence", "") == ""  # nobody to choose from


def test_syncnet_v2_measures_each_person_of_a_video(prepared, everybody, monkeypatch):
    from lipsync_core.evaluation import active_speaker

    def distances(self, frames, pcm, start):
        seen.append((start, frames.shape[1:], len(pcm)))
        found = np.full((len(frames) - 5, 31), 9, np.float32)
        found[:, 15 - (4 if len(seen) == 1 else 0)] = 1  # the first is 4 frames late, until shifted
        return found

    seen: list = []
    weights = prepared.data / "syncnet_v2.model"
    weights.write_bytes(b"not read")
    monkeypatch.setattr(active_speaker.LseScorer, "__init__", lambda *_: None)
    monkeypatch.setattr(active_speaker.LseScorer, "distances", distances)
    config = Config(track={"select": "all"}, sync={"correct": "correct"}).model_dump()
    params = stages.SYNC.params(config)
    shard = steps.Shard(prepared.clips, prepared.data, prepared.results, 0, params)
    rows = {row["clip"]: row for row in steps.measure_sync(shard, weights, config, "cpu")}
    assert list(rows) == ["duo/1", "duo/1+1", "solo/1"]
    assert (rows["duo/1"]["sync_offset_before"], rows["duo/1"]["sync_offset"]) == (4, 0)
    assert [rows[name].get("sync_offset_before") for name in ("duo/1+1", "solo/1")] == [None, None]
    assert {shape for _, shape, _ in seen} == {(224, 224, 3)}
    assert seen[1][2] - seen[0][2] == 4 * 640  # measured again with the audio delayed
