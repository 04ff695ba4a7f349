"""The Snakefile on a tiny corpus: the whole chain, what reruns what, and mistakes of users."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import yaml

from lipsync_core.checkpoints import build_from, save_public
from lipsync_core.corpus.clips import shard_of
from lipsync_core.media import ffmpeg_binary
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime.tables import read_table
from tests.support.media import write_video

TRAINING = {"width": 0.125, "steps": 4, "eval_every": 2, "save_every": 2, "val_windows": 4}
CONFIG = {
    "data_root": "data",
    "results": "results",
    "shards": 2,
    "detector": "centerface",
    "device": "cpu",
    "check": {"min_coverage": 0.5},
    "split": {"merge_aliases": False},  # the made-up speakers share a face and a voice
    "syncnet": TRAINING | {"clips_per_batch": 2, "windows_per_clip": 4},
    "generator": TRAINING | {"batch_size": 2},
    "evaluate": {"windows_per_clip": 8, "generator_windows": 8},
}
PREPARED = {"extract_audio", "mel_spectrograms", "detect_faces", "crop_faces", "check_clips"}
AFTER_SPLITS = {
    "dub_faces",
    "train_syncnet",
    "train_generator",
    "evaluate",
    "infer",
    "report_page",
    "all",
}
AFTER_SPLITS |= {"model_card"}


class Project:
    """A working folder with its own copy of the workflow, as a user has it."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.repo = folder, folder / "repo"
        for name in ("rules", "workflow", "profiles", "config"):
            shutil.copytree(root / name, self.repo / name)
        shutil.copy(root / "Snakefile", self.repo)

    def run(self, *arguments: str, **changes) -> subprocess.CompletedProcess[str]:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | changes))
        command = [sys.executable, "-m", "snakemake", "-s", str(self.repo / "Snakefile")]
        command += ["--configfile", "config.yaml", "--cores", "2", *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def jobs(self, *arguments: str, **changes) -> dict[str, int]:
        """What a dry run would do: rule -> number of jobs."""
        done = self.run("-n", *arguments, **changes)
        assert done.returncode == 0, done.stdout + done.stderr
        table = (done.stdout + done.stderr).partition("Job stats:")[2].partition("total")[0]
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}

    def log(self, name: str) -> str:
        return (self.folder / "results" / "logs" / name).read_text()


@pytest.fixture(scope="session")
def project(root, tmp_path_factory) -> Project:
    """The whole chain, run once; tests leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("work flow"), root)
    for index, speaker in enumerate(("ann", "bob", 'it\'s "cy"')):
        for clip in range(2):
            path = project.folder / "data" / speaker / f"{clip}.mp4"
            write_video(path, 1.6 + 0.2 * clip, seed=10 * index + clip)
    write_video(project.folder / "data" / "ann" / "-silent.mp4", 0.6, sound=False)
    done = project.run("all")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_the_promised_files_are_there(project):
    results = project.folder / "results"
    build_from(results / "syncnet" / "checkpoint.pth", SyncNet)
    for variant in ("wav2lip", "wav2lip_gan"):
        build_from(results / variant / "checkpoint.pth", Wav2Lip)
        assert (results / variant / "samples.png").is_file()
        steps = [row["step"] for row in read_table(results / variant / "metrics.csv")]
        previews = sorted((results / variant / "previews").glob("*.mp4"))
        assert [path.name for path in previews] == [f"step_{int(s):07d}.mp4" for s in steps] != []
        header = (results / variant / "metrics.csv").read_text().splitlines()[0].split(",")
        assert {"step", "train_l1", "val_l1", "val_sync_loss"} <= set(header)
    header = (results / "syncnet" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"step", "train_loss", "val_loss", "val_accuracy", "val_auc"} <= set(header)
    for network in ("syncnet", "wav2lip", "wav2lip_gan"):
        card = json.loads((results / network / "model_card.json").read_text())
        assert card["licence"] == "" and not card["commercial_use"] and card["evaluation"]
    with av.open(str(results / "result_voice.mp4")) as container:
        assert container.streams.video and container.streams.audio
    page = (results / "report" / "index.html").read_text()
    assert "data:video/mp4;base64," in page
    assert json.loads((results / "evaluation.json").read_text())


def test_the_table_of_clips_adds_up(project):
    with open(project.folder / "results/filelists/clips.csv", newline="") as stream:
        rows = {row["clip"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 7
    assert {clip for clip, row in rows.items() if row["kept"] == "0"} == {"ann/-silent"}
    assert rows["ann/-silent"]["reason"] == "no_audio"
    assert {row["split"] for row in rows.values()} == {"train", "val", "test", ""}


def test_the_account_of_clips_adds_up_stage_by_stage(project):
    with open(project.folder / "results/filelists/accounting.csv", newline="") as stream:
        lines = {line["stage"]: line for line in csv.DictReader(stream)}
    assert set(lines) == PREPARED | {"filelists", "all"}
    assert [lines["extract_audio"][name] for name in ("in", "kept", "no_audio")] == ["7", "6", "1"]
    assert [lines["all"][name] for name in ("in", "split_off", "kept", "dropped")] == list("7061")


def test_official_lists_make_new_splits_and_prepare_nothing(project):
    lists = project.folder / "data" / "val.txt"
    lists.write_text("bob/0\nbob/1\n")
    assert set(project.jobs("all")) == {"filelists"} | AFTER_SPLITS
    lists.unlink()
    assert project.jobs("all") == {}


def test_nothing_to_do_twice(project):
    assert project.jobs("all") == {}


def test_a_fresh_checkout_reruns_nothing(project):
    for path in project.repo.rglob("*"):
        path.touch()
    assert project.jobs("all") == {}


def test_crop_padding_does_not_detect_again(project):
    jobs = project.jobs("all", crop={"pads": [0, 10, 0, 0]})
    assert set(jobs) == {"crop_faces", "check_clips", "filelists"} | AFTER_SPLITS


def test_generator_steps_leave_the_expert_alone(project):
    jobs = project.jobs("all", generator=CONFIG["generator"] | {"steps": 6})
    assert set(jobs) == {"train_generator", "evaluate", "infer", "report_page", "model_card", "all"}
    assert jobs["train_generator"] == 2


def test_the_public_syncnet_is_compared_and_the_better_one_trains(project):
    public = project.folder / "public" / "lipsync_expert.pth"
    public.parent.mkdir()
    save_public(public, SyncNet(width=0.0625))
    folder, changes = project.folder / "results" / "syncnet", {"models": str(public.parent)}
    assert project.jobs(**changes) == {"all": 1, "compare_syncnets": 1, "report_page": 1}
    done = project.run("results/syncnet/best.pth", **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    best = json.loads((folder / "comparison.json").read_text())["best"]
    chosen = {"own": folder / "checkpoint.pth", "public": public}[best]
    assert (folder / "best.pth").read_bytes() == chosen.read_bytes()
    for choice in ("best", "public"):
        asked = changes | {"generator": CONFIG["generator"] | {"syncnet": choice}}
        jobs = project.jobs(**asked)
        assert jobs["train_generator"] == 2 and "train_syncnet" not in jobs
        refused = project.run("-n", licences="commercial", **asked)
        assert "lipsync_expert.pth (`generator.syncnet`)" in refused.stdout + refused.stderr
    for path in (folder / "best.pth", *folder.glob("comparison.*")):
        path.unlink()
    without = {"generator": CONFIG["generator"] | {"syncnet": "best"}}
    assert project.jobs(**without) == {}  # nothing to compare with


def test_syncnet_starts_from_the_bundled_weights(project):
    asked = {"syncnet": CONFIG["syncnet"] | {"width": 0.25, "pretrained": "demo"}}
    done = project.run("-n", "train_syncnet", **asked)
    assert re.search(r"input: .*demo/weights/syncnet\.pth", done.stdout + done.stderr)


def test_bookkeeping_reruns_nothing(project):
    assert project.jobs("all", detect={"batch_size": 3}, device="auto") == {}


def test_measuring_sync_prepares_no_clip_again(project):
    """Without weights, a network is trained on the clips as they are; with them, none."""
    measured = {"measure_sync": 2, "check_clips": 2, "filelists": 1}
    jobs = project.jobs("prepare", sync={"correct": "correct"})
    assert jobs == measured | {"bootstrap_sync": 1, "prepare": 1}
    given = {"correct": "measure", "model": "results/syncnet/checkpoint.pth"}
    assert project.jobs("prepare", sync=given) == measured | {"prepare": 1}
    assert "bootstrap_sync" in project.jobs("train_syncnet", sync={"correct": "correct"})


def test_a_lost_table_is_made_again_for_the_account_of_clips(project):
    table = project.folder / "results/mels/0.csv"
    kept = table.rename(table.with_suffix(".kept"))
    try:
        assert "mel_spectrograms" in project.jobs("prepare", "--forcerun", "filelists")
    finally:
        kept.rename(table)
    assert project.jobs("prepare") == {}


def test_another_ffmpeg_prepares_again_and_the_same_elsewhere_does_not(project, tmp_path):
    for change, redone in (("", set()), ("s/built with/made with/", PREPARED)):
        program = tmp_path / f"ffmpeg {len(change)}"
        real = shlex.quote(ffmpeg_binary.chosen().path)
        program.write_text(f'#!/bin/sh\n{real} "$@" | sed "{change}"\n')
        program.chmod(0o755)
        assert PREPARED & set(project.jobs("all", ffmpeg=str(program))) == redone


def test_one_changed_video_redoes_one_clip(project):
    video = project.folder / "data" / "bob" / "0.mp4"
    before = video.stat()
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    jobs = project.jobs("all")
    assert set(jobs) == PREPARED | {"filelists"} | AFTER_SPLITS
    assert {jobs[rule] for rule in PREPARED} == {1}
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert project.jobs("all") == {}


def test_one_changed_video_redoes_one_clip_inside(project, tmp_path):
    # On a copy: the changed clip really is prepared again.
    copy = tmp_path / "copy"
    shutil.copytree(project.folder, copy)
    other = object.__new__(Project)
    other.folder, other.repo = copy, copy / "repo"
    other.run("prepare")  # absorbs what the copying itself changed (times of large files)
    write_video(copy / "data" / "bob" / "0.mp4", 1.5, seed=99)
    before = time.time()
    done = other.run("prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    shard = shard_of("bob/0", CONFIG["shards"])
    for rule in PREPARED:
        logs = (copy / "results" / "logs" / rule).glob("*.log")
        (log,) = [path for path in logs if path.stat().st_mtime >= before]
        assert log.stem == str(shard)
        clips, current = re.search(r"(\d+) clips, (\d+) current, 1 to do", log.read_text()).groups()
        assert int(clips) == int(current) + 1
    damaged_boxes_drop_their_clip_once(other)


def damaged_boxes_drop_their_clip_once(project: Project) -> None:
    """Garbage of the right size, read for other crops: the same command again mends it."""
    boxes = project.folder / "results/boxes/ann/0.parquet"
    boxes.write_bytes(bytes(boxes.stat().st_size))
    changes = {"crop": {"pads": [0, 5, 0, 0]}}
    table = project.folder / "results/filelists/clips.csv"
    for reason in ("unreadable", ""):
        done = project.run("prepare", **changes)
        assert done.returncode == 0, done.stdout + done.stderr
        with open(table, newline="") as stream:
            rows = {row["clip"]: row for row in csv.DictReader(stream)}
        dropped = {clip: row["reason"] for clip, row in rows.items() if row["kept"] == "0"}
        assert dropped.pop("ann/0", "") == reason
        assert set(dropped) == {"ann/-silent"}
    assert project.jobs("prepare", **changes) == {}


@pytest.mark.parametrize("profile", ["gpu", "slurm"])
def test_profiles_are_accepted(project, profile):
    pytest.importorskip("snakemake_executor_plugin_slurm") if profile == "slurm" else None
    folder = str(project.repo / "profiles" / profile)
    assert project.jobs("all", "--workflow-profile", folder, "--forceall")["train_generator"] == 2


def resources(done: subprocess.CompletedProcess[str], rule: str) -> str:
    """The line of resources that a dry run prints for the first job of a rule."""
    return re.findall(rf"^rule {rule}:.*?resources: (.*?)$", done.stdout, re.M | re.S)[0]


def test_detection_claims_a_gpu_only_where_the_detector_uses_one(project):
    profile = ("--workflow-profile", str(project.repo / "profiles" / "gpu"))
    done = project.run("-n", "all", "--forceall", *profile, device="auto")
    assert "gpu=0" in resources(done, "detect_faces") and "gpu=1" in resources(done, "infer")
    weights = project.folder / "models" / "s3fd.pth"
    weights.parent.mkdir(exist_ok=True)
    weights.touch()
    try:
        done = project.run("-n", "all", "--forceall", *profile, device="auto", detector="s3fd")
        assert "gpu=1" in resources(done, "detect_faces")
        done = project.run("-n", "all", "--forceall", *profile, detector="s3fd")
        assert "gpu=0" in resources(done, "detect_faces")
    finally:
        weights.unlink()


def test_a_training_asks_for_gpus_and_memory_by_its_processes(project):
    section = CONFIG["syncnet"] | {
        "num_processes": 2,
        "cache_mb": 100,
        "clips_per_batch": 6,
        "windows_per_clip": 8,
    }
    section |= {"width": 0.5, "grad_accumulation": 2}
    done = project.run("-n", "all", "--forceall", "--resources", "gpu=4", syncnet=section)
    (job,) = re.findall(r"^rule train_syncnet:.*?resources: (.*?)$", done.stdout, re.M | re.S)
    assert "gpu=2" in job
    assert f"mem_mb={2 * (4000 + 110) + 48 * 14 // 4}" in job


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"detcetor": "s3fd"}, "unknown key 'detcetor'; did you mean 'detector'?"),
        ({"shards": "eight"}, "shards: got 'eight'; allowed: integer"),
        ({"ffmpeg": "/nowhere/ffmpeg"}, "ffmpeg '/nowhere/ffmpeg': no such program; set `ffmpeg:`"),
        ({"preset": "ful"}, "preset: got 'ful'; did you mean 'full'?"),
        ({"image_size": 288}, "crop.size: 192 is less than image_size: 288"),
        ({"image_size": 100}, "image_size: got 100; allowed: 96 | 192 | 288 | 384"),
        ({"data_root": "nowhere"}, "data_root 'nowhere' holds no video"),
        (
            {"track": {"select": "active_speaker"}},
            "active_speaker needs a network that measures sync",
        ),
        ({"detector": "s3fd", "crop": {"mode": "aligned"}}, "s3fd finds none"),
        ({"licences": "commercial"}, "7 clips of data_root 'data' have no known licence; state"),
    ],
)
def test_mistakes_stop_before_any_job(project, changes, said):
    done = project.run("-n", "all", **changes)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_training_without_clips_fails_clearly(root, tmp_path):
    project = Project(tmp_path, root)
    write_video(tmp_path / "data" / "me" / "silent.mp4", 0.6, sound=False)
    done = project.run("all")
    assert done.returncode == 1
    assert (tmp_path / "results/filelists/clips.csv").is_file()
    assert "no_audio" in (tmp_path / "results/filelists/clips.csv").read_text()
    assert "Traceback" not in project.log("train_syncnet.log")
