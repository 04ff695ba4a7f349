"""training/{ranks,launch}.py: two processes are one, and end in order."""

import csv
import functools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from lipsync_core.config import SyncNetConfig
from lipsync_core.data.syncnet_batches import SyncNetBatch
from lipsync_core.errors import LipsyncError
from lipsync_core.training import launch
from lipsync_core.training.engine.optimization import micro_batches, optimizer_step
from tests.support.ranks_worker import NAMES
from tests.support.training import small_corpus
from tests.training.test_tasks import SYNCNET


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def compared(root, results, tmp_path_factory):
    """`compared(precision, name)`: the states of a training alone and in two ranks."""

    @functools.cache
    def trained(precision):
        out = tmp_path_factory.mktemp(precision)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [
            "--nproc-per-node=2",
            "-m",
            "tests.support.ranks_worker",
            precision,
            results,
            out,
        ]
        environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return out

    def states(precision, name, file="last.pt"):
        folders = [trained(precision) / how / name for how in ("alone", "ranks")]
        files = [sorted(path.name for path in folder.iterdir()) for folder in folders]
        assert files[0] == files[1]
        return [torch.load(folder / file, weights_only=True) for folder in folders]

    return states


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_train_as_one_process_does(compared, name):
    alone, both = compared("double", name)
    for part in alone["parts"].keys() - {"optimizer", "disc_optimizer"}:
        for key, tensor in alone["parts"][part].items():
            other = both["parts"][part][key]
            assert torch.allclose(tensor.double(), other.double(), rtol=0, atol=1e-7), (part, key)
    assert alone["extra_state"] == pytest.approx(both["extra_state"])
    for left, right in zip(alone["rows"], both["rows"], strict=True):
        numbers = {key: value for key, value in left.items() if not isinstance(value, str)}
        assert numbers == pytest.approx({key: right[key] for key in numbers}, abs=1e-6)


def gradients(state):
    """What the optimisers remember, which after one step is the gradients and nothing else."""
    memories = [
        memory
        for part in ("optimizer", "disc_optimizer")
        if part in state["parts"]
        for memory in state["parts"][part]["state"].values()
    ]
    names = {"exp_avg", "momentum", "first"}
    return torch.cat(
        [memory[name].flatten() for memory in memories for name in memory.keys() & names]
    )


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_are_as_near_to_the_true_gradient_as_one_process(compared, name):
    alone, both = map(gradients, compared("single", name, "step_0000001.pt"))
    true, same = map(gradients, compared("double", name, "step_0000001.pt"))
    assert (true - same).norm() < 1e-7 * true.norm()
    assert 0 < (true - both).norm() < 2 * (true - alone).norm()


def job(results, folder, **more):
    return {
        "results": results,
        "config": SyncNetConfig(
            **SYNCNET | {"steps": 8, "save_every": 3, "num_processes": 2} | more
        ),
        "image_size": 96,
        "run_dir": folder / "run",
        "checkpoint": folder / "checkpoint.pth",
        "metrics": folder / "metrics.csv",
        "seed": 3,
    }


def test_sigterm_to_the_job_saves_and_the_same_command_goes_on(results, tmp_path, caplog):
    caplog.set_level("INFO")
    arguments = job(results, tmp_path)

    def terminate():
        while not (tmp_path / "run/metrics.csv").exists():  # from the first evaluation, step 2
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate).start()
    with pytest.raises(LipsyncError, match=r"stopped by SIGTERM at step \d of 8") as caught:
        launch.run("syncnet", "cpu", 2, **arguments)
    assert caught.value.exit_code == 143
    stopped_at = torch.load(tmp_path / "run/last.pt")["step"]
    assert 2 <= stopped_at < 8 and not (tmp_path / "checkpoint.pth").exists()
    launch.run("syncnet", "cpu", 2, **arguments)
    assert f"continuing at step {stopped_at}" in caplog.text
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"]
    assert (tmp_path / "checkpoint.pth").is_file()


def test_the_error_of_a_rank_is_that_of_the_job(tmp_path):
    results = small_corpus(tmp_path / "results")
    (results / "mels/c/1.npy").unlink()
    with pytest.raises(LipsyncError, match=r"^.*1 of 1 clips cannot be used .*c/1\.npy") as caught:
        launch.run("syncnet", "cpu", 2, **job(results, tmp_path))
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("training", "keys", "said"),
    [
        ("syncnet", {"clips_per_batch": 3}, r"`clips_per_batch: 3` does not divide into 2"),
        ("syncnet", {"clips_per_batch": 6, "grad_accumulation": 2}, "make it a multiple of 4"),
        ("generator", {"batch_size": 5}, r"`batch_size: 5` does not divide into 2"),
        ("generator", {"batch_size": 2, "compile": True}, "in one process only"),
    ],
)
def test_invalid_keys_for_several_ranks_are_refused(training, keys, said):
    config = launch.TRAININGS[training].config(num_processes=2, **keys)
    with pytest.raises(LipsyncError, match=said):
        launch.run(training, "cpu", 1, config)


def test_as_many_gpus_as_ranks(monkeypatch, tmp_path):
    monkeypatch.setattr(launch.device, "pick", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(LipsyncError, match="2 processes need a GPU each, and there are 1"):
        launch.run("syncnet", "cuda", 1, **job(tmp_path, tmp_path))


def test_one_rank_trains_in_this_process(results, tmp_path):
    before = torch.get_num_threads()
    launch.run("syncnet", "cpu", 1, **job(results, tmp_path, num_processes=1, steps=1))
    torch.set_num_threads(before)
    assert (tmp_path / "checkpoint.pth").is_file() and not (tmp_path / "run/.ranks").exists()


def test_lines_of_ranks_are_logged_and_others_kept(caplog):
    caplog.set_level("INFO")
    foreign = []
    launch._relay(json.dumps([logging.WARNING, "two\nlines"]), foreign)
    for line in ("no json", "7", '["x", 1]', '{"a": 1}'):
        launch._relay(line, foreign)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("WARNING", "two\nlines")]
    assert foreign == ["no json", "7", '["x", 1]', '{"a": 1}']


def test_micro_batches_give_the_gradient_of_the_batch():
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    values = np.arange(6, dtype=np.float32)
    group = SyncNetBatch(values, values + 10, values + 20)
    parts = list(micro_batches(group, 3))
    assert [part.frames.tolist() for part in parts] == [[0, 3], [1, 4], [2, 5]]
    assert isinstance(parts[0], SyncNetBatch)
    for part in parts:
        (weight.sum() * float(part.mels.mean())).backward()
    optimizer_step(optimizer, lr=0.1, parts=3)
    assert weight.item() == pytest.approx(2 - 0.1 * 12.5)
    with pytest.raises(LipsyncError, match="a batch of 6 does not divide into 4 parts"):
        micro_batches(group, 4)
