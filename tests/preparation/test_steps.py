"""Preparation of a folder in which most clips are bad: each is accounted for, the good go on."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import hostile as benchmark
from lipsync_core.config import Config
from lipsync_core.corpus import clips
from lipsync_core.media import ffmpeg
from lipsync_core.preparation import splits, stages, steps
from lipsync_core.runtime.tables import read_by_clip
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media

AWKWARD = "-a 'b' \"c\" é漢"
NOT_UTF_8 = os.fsdecode(b"bo\xefris \xff")


def settings(root: Path, stage: stages.Stage, **changes) -> dict:
    return stage.params(Config(**changes).model_dump() | {"detector": "centerface"})


def run_all(root: Path, data: Path, results: Path, **changes) -> dict[str, dict]:
    found = clips.discover(data, 1)
    steps.extract_audio(steps.Shard(found, data, results, 0, settings(root, stages.AUDIO)))
    steps.mel_spectrograms(steps.Shard(found, data, results, 0, settings(root, stages.MELS)))
    options = {"batch_size": 4, "device": "cpu", "models": Path("models")}
    steps.detect_faces(
        steps.Shard(found, data, results, 0, settings(root, stages.BOXES)), **options
    )
    steps.crop_faces(steps.Shard(found, data, results, 0, settings(root, stages.FACES)))
    steps.check_clips(
        steps.Shard(found, data, results, 0, settings(root, stages.CHECKS, **changes))
    )
    return read_by_clip(results / "checks" / "0.csv")


@pytest.fixture(scope="module")
def hostile(root, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "data"
    good = write_video(data / "good" / "1.mp4", 1.2)
    write_video(data / AWKWARD / f"{AWKWARD}.mp4", 0.8, seed=1)
    (data / "bad").mkdir()
    (data / "bad" / "text.mp4").write_text("I am no video")
    (data / "bad" / "empty.mp4").write_bytes(b"")
    (data / "bad" / "truncated.mp4").write_bytes(good.read_bytes()[:500])
    write_wav(data / "bad" / "tone.wav", 1).rename(data / "bad" / "sound_only.mp4")
    write_video(data / "bad" / "no_sound.mp4", 0.8, sound=False)
    write_video(data / "bad" / "no_face.mp4", 0.8, face=False)
    write_video(data / "bad" / "short.mp4", 0.4)
    # Names of an old archive: bytes that are not UTF-8.
    (data / NOT_UTF_8).mkdir()
    write_video(folder / "a.mp4", 0.8, seed=2).rename(data / NOT_UTF_8 / f"good {NOT_UTF_8}.mp4")
    (data / NOT_UTF_8 / f"bad {NOT_UTF_8}.mp4").write_text("I am no video")
    return folder, run_all(root, data, folder / "results")


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ("good/1", ""),
        (f"{AWKWARD}/{AWKWARD}", ""),
        ("bad/text", "unreadable"),
        ("bad/empty", "unreadable"),
        ("bad/truncated", "unreadable"),
        ("bad/sound_only", "no_video"),
        ("bad/no_sound", "no_audio"),
        ("bad/no_face", "no_face"),
        ("bad/short", "too_short"),
        ("bo%EFris %FF/good bo%EFris %FF", ""),
        ("bo%EFris %FF/bad bo%EFris %FF", "unreadable"),
    ],
)
def test_each_clip_has_its_reason(hostile, clip, reason):
    row = hostile[1][clip]
    assert row["reason"] == reason
    assert row["outcome"] == ("dropped" if reason else "kept")
    assert bool(row["detail"]) == bool(reason)


def test_every_stage_adds_up(hostile):
    folder, checks = hostile
    for stage in stages.ALL:
        table = read_by_clip(folder / "results" / stage.folder / "0.csv")
        assert table.keys() == checks.keys()
        assert all((row["outcome"] == "kept") == (row["reason"] == "") for row in table.values())


def test_lists_and_account_of_names_that_are_not_utf_8(hostile):
    folder, _ = hostile
    found = clips.discover(folder / "data", 1)
    splits.write_filelists(folder / "results", found, stages.ALL, 0.4, 0, 0)
    lists = folder / "results" / "filelists"
    lines = {line for name in ("train", "val") for line in (lists / f"{name}.txt").open()}
    assert "bo%EFris %FF/good bo%EFris %FF\n" in lines
    with open(lists / "clips.csv", newline="", encoding="utf-8") as stream:
        details = {row["clip"]: row["detail"] for row in csv.DictReader(stream)}
    said = details["bo%EFris %FF/bad bo%EFris %FF"]
    assert r"bo\xefris \xff/bad bo\xefris \xff.mp4: " in said


def test_measures_of_a_dropped_clip_are_kept(hostile):
    assert float(hostile[1]["bad/no_sound"]["seconds"]) == pytest.approx(0.8, abs=0.05)


def test_artifacts_of_a_good_clip(hostile):
    results = hostile[0] / "results"
    mel = np.load(results / "mels" / "good" / "1.npy")
    assert (mel.dtype, mel.shape[1]) == (np.float32, 80)
    assert len(mel) == pytest.approx(1.2 * 80, abs=6)
    with zipfile.ZipFile(results / "faces" / "good" / "1.zip") as archive:
        assert archive.namelist() == [f"{frame}.jpg" for frame in range(30)]
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        crop = cv2.imdecode(np.frombuffer(archive.read("7.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert 50 < max(crop.shape) <= 160


def test_nothing_is_left_of_a_dropped_clip(hostile):
    left = {path.name for path in (hostile[0] / "results").rglob("*/bad/*") if path.is_file()}
    # What the stages before the drop made of readable clips may stay.
    assert left <= {
        *(f"{name}{suffix}" for name in ("no_face", "short") for suffix in (".wav", ".npy")),
        "no_face.parquet",
        "short.parquet",
        "short.zip",
    }


def test_frames_are_accounted_for(hostile, root, tmp_path):
    row = hostile[1]["good/1"]
    assert (row["frames_dropped"], row["frames_duplicated"], row["fps_in"]) == ("0", "0", "25.0")
    write_video(tmp_path / "data" / "s" / "50.mp4", 1, fps=50)
    found = clips.discover(tmp_path / "data", 1)
    rows = steps.extract_audio(steps.Shard(found, tmp_path / "data", tmp_path / "results", 0, {}))
    assert (rows[0]["frames_dropped"], rows[0]["frames_duplicated"]) == (25, 0)
    assert (rows[0]["fps_in"], rows[0]["seconds"]) == (50, 1)


def test_mutated_files_are_accounted_for_and_harm_no_other(tmp_path):
    rows, kinds = benchmark.compare(tmp_path, 25, seed=1, timeout=60)
    outcomes = {(kinds[clip], row["reason"]) for clip, row in rows.items()}
    assert {kind for kind, _ in outcomes} > {"good", "name", "truncated", "flipped", "bad_box"}
    assert {reason for kind, reason in outcomes if kind in ("good", "name")} == {""}
    assert ("huge_picture", "unreadable") in outcomes
    assert ("no_stream", "unreadable") in outcomes


def test_a_clip_that_hangs_is_dropped_by_any_stage(root, tmp_path, monkeypatch):
    data, results, whole = tmp_path / "data", tmp_path / "results", ffmpeg.ffmpeg_exe()
    for name in ("a", "b"):
        write_video(data / "s" / f"{name}.mp4", 0.4)
    hanging = tmp_path / "ffmpeg"
    hanging.write_text(
        f'#!/bin/sh\ncase "$*" in *a.mp4*) exec sleep 60;; esac\nexec {whole} "$@"\n'
    )
    hanging.chmod(0o755)
    found = clips.discover(data, 1)
    options = {"batch_size": 4, "device": "cpu", "models": root / "models"}
    runs = {
        stages.AUDIO: lambda done: steps.extract_audio(steps.Shard(found, data, done, 0, {})),
        stages.BOXES: lambda done: steps.detect_faces(
            steps.Shard(found, data, done, 0, settings(root, stages.BOXES)), **options
        ),
        stages.FACES: lambda done: steps.crop_faces(
            steps.Shard(found, data, done, 0, settings(root, stages.FACES))
        ),
    }
    for stage, run in runs.items():
        with monkeypatch.context() as patch, ffmpeg.time_limit(1):
            patch.setattr(ffmpeg, "ffmpeg_exe", lambda: str(hanging))
            rows = run(results)
        assert (rows[0]["clip"], rows[0]["reason"]) == ("s/a", "timed_out"), stage
        assert "check.timeout" in rows[0]["detail"]
        assert rows[1]["reason"] != "timed_out"
        rows = run(results)  # for the next stage: as if there had been time
        assert rows[0]["reason"] != "timed_out"


def test_thresholds_apply(root, hostile, tmp_path):
    folder, _ = hostile
    data, results = folder / "data", folder / "results"
    found = clips.discover(data, 1)
    changed = settings(root, stages.CHECKS, check={"min_face_px": 1000})
    rows = steps.check_clips(steps.Shard(found, data, results, 0, changed))
    assert {row["reason"] for row in rows if row["clip"].startswith("good")} == {"small_face"}
    steps.check_clips(steps.Shard(found, data, results, 0, settings(root, stages.CHECKS)))


def test_audio_from_a_separate_file(root, tmp_path):
    """VoxCeleb2: the video is silent, the sound lies beside it in aac/."""
    data = tmp_path / "data"
    write_video(data / "dev/mp4/id00012/abc/00001.mp4", 0.8, sound=False)
    sound = data / "dev/aac/id00012/abc/00001.m4a"
    write_wav(sound.with_suffix(".x"), 0.8).rename(sound)
    found = clips.discover(data, 1, layout="voxceleb2")
    (row,) = steps.extract_audio(
        steps.Shard(found, data, tmp_path, 0, settings(root, stages.AUDIO))
    )
    assert row["outcome"] == "kept"
    assert row["audio_seconds"] == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("stage", [stages.AUDIO, stages.BOXES])
def test_a_damaged_file_drops_its_clip_and_is_made_again(root, tmp_path, stage):
    """Of the right size, so that only the stage that reads it can tell."""
    data, results = tmp_path / "data", tmp_path / "results"
    for index in range(2):
        write_video(data / "s" / f"{index}.mp4", 0.8, seed=index)
    whole = run_all(root, data, results)
    path = results / stage.folder / f"s/0{stage.suffix}"
    before = path.read_bytes()
    path.write_bytes(np.random.default_rng(0).bytes(len(before)))
    # What reads it is to do again, as after a change of its settings.
    reader = {stages.AUDIO: stages.MELS, stages.BOXES: stages.FACES}[stage]
    (results / reader.folder / f"s/0{reader.suffix}").unlink()
    rows = run_all(root, data, results)
    assert {clip: row["reason"] for clip, row in rows.items()} == {"s/0": "unreadable", "s/1": ""}
    assert str(path) in rows["s/0"]["detail"]
    assert "run again" in rows["s/0"]["detail"]
    assert run_all(root, data, results) == whole
    assert path.read_bytes() == before


LIGHT = """
import sys
from pathlib import Path
from lipsync_core.corpus import clips
from lipsync_core.preparation import steps, stages
from lipsync_core.runtime import threads
from lipsync_core.config import Config

root, folder, stage = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
config = Config().model_dump()
params = next(each for each in stages.ALL if each.rule == stage).params(
    config | {"detector": "centerface", "ffmpeg": ""}
)
found = clips.discover(folder / "data", 1)
if stage in ("detect_faces", "crop_faces"):
    threads.limit(1)
options = {"batch_size": 0, "device": "auto", "models": Path("none")}
options = options if stage == "detect_faces" else {}
shard = steps.Shard(found, folder / "data", folder / "results", 0, params)
rows = getattr(steps, stage)(shard, **options)
assert rows[0]["outcome"] == "kept"
print([name for name in sys.argv[4].split() if name in sys.modules])
"""


def test_jobs_load_only_what_they_need(root, tmp_path):
    """A small shard is done faster than torch is loaded."""
    write_video(tmp_path / "data" / "s" / "1.mp4", 0.8)
    needless = {
        "extract_audio": "torch librosa pandas pyarrow onnxruntime",
        "mel_spectrograms": "torch pandas pyarrow",
        "detect_faces": "torch librosa",
        "crop_faces": "torch librosa onnxruntime",
        "check_clips": "torch librosa pandas pyarrow onnxruntime",
    }
    for stage, names in needless.items():
        command = [sys.executable, "-c", LIGHT, str(root), str(tmp_path), stage, names]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("[]\n", 0), (stage, done.stderr)
