"""Real SIGKILLs at the worst moments: the same command ends with the bits of a quiet run."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.models import SyncNet
from tests.support.killed_worker import STEPS
from tests.support.training import small_corpus
from tests.training.engine.test_loop import assert_same
from tests.training.test_tasks import TINY

NAMES = ("syncnet", "wav2lip", "wav2lip_gan")
KILLS = [
    ("best", 2),
    ("save", 3),  # the first state there would have been
    ("before", 3),  # a row and weights, but no state
    ("after", 3),
    ("preview", 4),
    ("step", 5),
    ("before", 6),
    ("save", 6),
    ("after", 6),  # before it is marked as healthy
    ("step", 7),
    ("save", 8),
]


@pytest.fixture(scope="module")
def folders(root, tmp_path_factory):
    """A quiet run of each training, and one killed at each of `KILLS`, then the same again."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    work = tmp_path_factory.mktemp("killed")
    small_corpus(work / "results")
    torch.manual_seed(5)
    save_public(work / "syncnet.pth", SyncNet(width=TINY))
    jobs = [(name, str(work / "quiet" / name), None) for name in NAMES]
    jobs += [
        (name, str(work / "killed" / name), kill)
        for name in NAMES
        for kill in [*KILLS, None]
        if kill is None or kill[0] != "preview" or name != "syncnet"
    ]
    order = {"results": str(work / "results"), "syncnet": str(work / "syncnet.pth"), "jobs": jobs}
    command = [sys.executable, "-m", "tests.support.killed_worker", json.dumps(order)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [int(line) for line in done.stdout.split()]
    assert found == [-signal.SIGKILL if kill else 0 for _, _, kill in jobs], done.stderr[-3000:]
    return work


@pytest.mark.parametrize("name", NAMES)
def test_killed_ten_times_a_training_ends_the_same(folders, name):
    quiet, killed = folders / "quiet" / name, folders / "killed" / name
    files = {path.relative_to(quiet) for path in quiet.rglob("*") if path.is_file()}
    events = {path for path in files if "tfevents" in path.name}
    for file in sorted(files - events):
        if file.suffix == ".pt":
            assert_same(*(torch.load(place / file, weights_only=True) for place in (quiet, killed)))
        else:
            assert (quiet / file).read_bytes() == (killed / file).read_bytes(), file
    left = {path.relative_to(killed) for path in killed.rglob("*") if path.is_file()}
    assert {path for path in left if "tfevents" not in path.name} == files - events
    state = torch.load(killed / "run/last.pt", weights_only=True)
    assert state["step"] == STEPS["steps"] and state["num_summed"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_tensorboard_shows_each_row_once(folders, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = folders / "killed" / name / "run"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    label = "syncnet" if name == "syncnet" else "generator"
    board = EventAccumulator(str(folder / label)).Reload()
    for tag in ("val_loss", "train_loss") if name == "syncnet" else ("val_l1", "train_loss"):
        shown = [(event.step, event.value) for event in board.Scalars(tag)]
        assert shown == [
            (int(row["step"]), pytest.approx(float(row[tag]), rel=1e-5)) for row in rows
        ]
    if name != "syncnet":
        steps = [int(row["step"]) for row in rows]
        assert [event.step for event in board.Images("preview")] == steps
        names = [path.name for path in sorted((folders / "killed" / name / "previews").iterdir())]
        assert names == [f"step_{step:07d}.mp4" for step in steps]
