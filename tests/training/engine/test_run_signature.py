"""engine/run_signature.py, engine/tensorboard.py: what changed, which runs stay, event files."""

import os
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lipsync_core.runtime.files import exclusive_lock, is_locked
from lipsync_core.training.engine import run_signature
from lipsync_core.training.engine.tensorboard import TensorBoard

OPTIONS = {"lr": 0.1, "width": 1.0, "lr_schedule": "cosine"}


def finished(home, training="syncnet", data="d", seed=0, age=0, **changes):
    """A run with a state that is `age` seconds old."""
    folder = run_signature.open_run(home, training, OPTIONS | changes, data, seed)
    state = folder / run_signature.STATE
    state.write_text("a state")
    when = 1_000_000 - age
    os.utime(state, (when, when))
    return folder


def test_the_same_options_find_the_same_run(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = finished(tmp_path)
    assert run_signature.open_run(tmp_path, "syncnet", OPTIONS, "d", 0) == folder
    assert caplog.text == ""
    assert run_signature.open_run(tmp_path, "wav2lip", OPTIONS, "d", 0) != folder
    assert caplog.text == ""  # another training, never trained before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.2}, "`lr` 0.1 -> 0.2"),
        ({"lr": 0.2, "width": 0.5}, "`lr` 0.1 -> 0.2; `width` 1.0 -> 0.5"),
        ({"center_steps": 9}, "`center_steps` unset -> 9"),
        ({"data": "e"}, "the clips or the weights it starts from"),
        ({"seed": 7}, "the seed"),
    ],
)
def test_a_fresh_start_logs_what_changed(tmp_path, caplog, changes, said):
    caplog.set_level("INFO")
    old = finished(tmp_path)
    finished(tmp_path, age=50, lr=5.0)  # older, not the one to compare with
    caplog.clear()
    finished(tmp_path, **changes)
    assert [record.getMessage() for record in caplog.records] == [
        f"syncnet: starts afresh; since the run in {old} changed: {said}"
    ]


def test_another_version_of_the_code_is_named(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    finished(tmp_path)
    monkeypatch.setattr(run_signature, "VERSION", 99)
    finished(tmp_path)
    assert "changed: the training code" in caplog.text


def test_removed_old_states_are_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    kept = [finished(tmp_path, lr=float(number + 1), age=10 * number) for number in range(5)]
    other = finished(tmp_path, "wav2lip", age=900)
    current = kept[3]
    caplog.clear()
    with exclusive_lock(kept[4] / run_signature.LOCK):
        run_signature.remove_old_runs(current, keep=2)
    assert [run.is_dir() for run in kept] == [True, False, False, True, True] and other.is_dir()
    assert caplog.text.count("removed the state of an older run") == 2
    run_signature.remove_old_runs(current, keep=1)
    assert sorted(tmp_path.iterdir()) == sorted([current, other])


def test_max_runs_zero_keeps_all_states(tmp_path):
    kept = [finished(tmp_path, lr=float(number + 1), age=number) for number in range(4)]
    run_signature.remove_old_runs(kept[0], keep=0)
    assert all(run.is_dir() for run in kept)


def test_a_lock_is_held_by_a_process_and_falls_with_it(tmp_path):
    lock = tmp_path / "run/.lock"
    assert not is_locked(lock)
    hold = "import sys, pathlib, time; from lipsync_core.runtime.files import exclusive_lock\n"
    hold += "with exclusive_lock(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE)
    process.stdout.readline()
    assert is_locked(lock)
    process.kill()
    process.wait()
    assert not is_locked(lock)


def test_tensorboard_drops_rows_after_the_resumed_step(tmp_path):
    def shown():
        board = EventAccumulator(str(tmp_path)).Reload()
        return {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in ("a", "b")}

    events = TensorBoard(tmp_path, 0)
    for step in (1, 2, 3):
        events.add({"step": step, "a": float(step), "b": 2, "phase": "words"})
    events.back_to(1)
    events.add({"step": 2, "a": 20.0, "b": 2})
    events.flush()
    assert shown()["a"] == [(1, 1.0), (2, 20.0)]
    events.close()
    events = TensorBoard(tmp_path, 2)
    events.add({"step": 3, "a": 30.0, "b": 2})
    events.close()
    assert shown() == {"a": [(1, 1.0), (2, 20.0), (3, 30.0)], "b": [(1, 2), (2, 2), (3, 2)]}
