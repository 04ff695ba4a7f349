"""engine/loop.py, signals.py, optimization.py: any interruption, the same result."""

import csv
import itertools
import math
import os
import signal
import threading

import pytest
import torch
from torch import nn

from lipsync_core.checkpoints import load_pretrained, load_weights, save_public
from lipsync_core.config import TrainingConfig
from lipsync_core.errors import LipsyncError
from lipsync_core.training.engine import loop
from lipsync_core.training.engine.loop import BEST, Task, publish
from lipsync_core.training.engine.optimization import learning_rate, optimizer_step
from lipsync_core.training.engine.run_folder import LAST, to_csv
from lipsync_core.training.engine.signals import Interrupted, StopSignals


class Line(Task):
    """Fits y = 3 x, with a schedule that remembers and a loss that moves up and down."""

    label, monitor = "line", "val_loss"

    def __init__(self, at=None, sabotage=None):
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.parts = {"model": self.model, "optimizer": self.optimizer}
        self.extra_state = {"evaluations": 0.0}
        self.at, self.sabotage = at, sabotage

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        return torch.randn(8, 1, generator=generator)

    def step(self, step, batch):
        if step == self.at:
            self.sabotage(self)
        loss = ((self.model(batch) - 3 * batch) ** 2).mean() + torch.rand(()) * 0.01
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer_step(self.optimizer, lr=0.1)
        return {"train_loss": loss.detach()}

    def evaluate(self, step):
        self.extra_state["evaluations"] += 1
        return {
            "val_loss": abs(self.model.weight.item() - 3),
            "seen": self.extra_state["evaluations"],
        }

    def export(self, path, step):
        save_public(path, self.model, step=step)


OPTIONS = TrainingConfig(steps=10, eval_every=4, save_every=2)


def outcome(run_dir):
    state = torch.load(run_dir / LAST, weights_only=True)
    best = torch.load(run_dir / BEST, weights_only=True)
    return state, (run_dir / "metrics.csv").read_text(), best


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("straight")
    rows = loop.train(Line(), run_dir, OPTIONS)
    return rows, outcome(run_dir)


def terminate(task):
    os.kill(os.getpid(), signal.SIGTERM)


def crash(task):
    raise RuntimeError("as if killed")


def test_rows_at_every_evaluation_and_at_the_end(straight):
    rows, (state, text, _) = straight
    assert [row["step"] for row in rows] == [4, 8, 10]
    assert [row["seen"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in csv.DictReader(text.splitlines())] == ["4", "8", "10"]
    assert text.splitlines()[0] == "step,train_loss,val_loss,seen"
    assert state["step"] == 10


@pytest.mark.parametrize("step", range(10))
def test_sigterm_saves_and_the_next_run_ends_the_same(tmp_path, straight, step):
    if step < 9:
        with pytest.raises(Interrupted, match=f"SIGTERM at step {step + 1} of 10") as raised:
            loop.train(Line(step, terminate), tmp_path, OPTIONS)
        assert raised.value.exit_code == 143
        rows = loop.train(Line(), tmp_path, OPTIONS)
    else:  # after the last step there is nothing left to interrupt
        rows = loop.train(Line(step, terminate), tmp_path, OPTIONS)
    assert rows == straight[0]
    assert_same(outcome(tmp_path), straight[1])


@pytest.mark.parametrize("step", [0, 3, 5, 9])
def test_a_killed_run_repeats_the_steps_since_its_last_save(tmp_path, straight, step):
    with pytest.raises(RuntimeError, match="as if killed"):
        loop.train(Line(step, crash), tmp_path, OPTIONS)
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert_same(outcome(tmp_path), straight[1])


def test_killed_during_a_save_the_previous_state_stays(tmp_path, straight, monkeypatch):
    real = torch.save

    def half(state, path, **more):
        if isinstance(state, dict) and state.get("step") == 6:
            path.write(b"half a file")
            raise KeyboardInterrupt
        real(state, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            loop.train(Line(), tmp_path, OPTIONS)
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] == 4
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert_same(outcome(tmp_path), straight[1])


def test_a_finished_run_has_nothing_left_to_do(tmp_path, straight):
    loop.train(Line(), tmp_path, OPTIONS)
    assert loop.train(Line(0, crash), tmp_path, OPTIONS) == straight[0]


def test_more_steps_continue_and_fewer_start_afresh(tmp_path, straight, caplog):
    caplog.set_level("INFO")
    loop.train(Line(), tmp_path, TrainingConfig(steps=4, eval_every=4, save_every=2))
    assert loop.train(Line(3, crash), tmp_path, OPTIONS) == straight[0]
    assert "continuing at step 4" in caplog.text
    rows = loop.train(Line(), tmp_path, TrainingConfig(steps=4, eval_every=4))
    assert "already at step 10 of 4; starting afresh" in caplog.text
    assert rows == straight[0][:1]


def test_lost_best_weights_start_afresh(tmp_path, straight, caplog):
    caplog.set_level("INFO")
    loop.train(Line(), tmp_path, OPTIONS)
    for path in tmp_path.glob("best_*.pth"):
        path.unlink()
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert "is missing; starting afresh" in caplog.text and (tmp_path / BEST).is_file()


def empty(path):
    path.write_bytes(b"")


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def a_hole(path):
    content = bytearray(path.read_bytes())
    place = content.index(torch.load(path)["parts"]["model"]["weight"].numpy().tobytes())
    content[place : place + 4] = bytes(4)
    path.write_bytes(content)


def foreign(path):
    torch.save({"something": "else"}, path)


DAMAGES = [empty, zeros, cut_short, a_hole, foreign]


def broken(path, damage):
    """Damage a file as if written anew: what is linked to it stays whole."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    damage(path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_a_power_cut_a_run_goes_on_from_the_state_before(tmp_path, straight, damage, caplog):
    with pytest.raises(RuntimeError):
        loop.train(Line(7, crash), tmp_path, OPTIONS)
    broken(tmp_path / LAST, damage)
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert "last.pt: not a whole state" in caplog.text
    assert "Continuing from previous.pt: the steps after 4 are repeated" in caplog.text
    assert (tmp_path / "damaged.pt").is_file()
    assert_same(outcome(tmp_path), straight[1])


def test_the_newest_intact_state_is_loaded(tmp_path, straight, caplog):
    options = TrainingConfig(steps=10, eval_every=4, save_every=2, checkpoint_every=4)
    with pytest.raises(RuntimeError):
        loop.train(Line(9, crash), tmp_path, options)
    for name in (LAST, "previous.pt", "last_good.pt", "step_0000008.pt"):
        broken(tmp_path / name, empty)
    assert loop.train(Line(), tmp_path, options) == straight[0]
    assert "Continuing from step_0000004.pt: the steps after 4 are repeated" in caplog.text


def test_without_an_intact_state_a_run_starts_afresh(tmp_path, straight, caplog):
    with pytest.raises(RuntimeError):
        loop.train(Line(7, crash), tmp_path, OPTIONS)
    for path in tmp_path.glob("*.pt"):
        broken(path, zeros)
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert "No other state is intact: THE TRAINING STARTS AFRESH" in caplog.text
    assert_same(outcome(tmp_path), straight[1])


def test_a_state_is_not_taken_without_its_best_weights(tmp_path, straight, caplog):
    with pytest.raises(RuntimeError):
        loop.train(Line(7, crash), tmp_path, OPTIONS)
    broken(tmp_path / LAST, empty)
    for path in tmp_path.glob("best_*.pth"):
        path.unlink()
    assert loop.train(Line(), tmp_path, OPTIONS) == straight[0]
    assert "STARTS AFRESH" in caplog.text


def test_a_loss_that_is_not_finite_is_never_saved(tmp_path, caplog):
    def explode(task):
        task.model.weight.data.fill_(float("nan"))

    rows = loop.train(Line(5, explode), tmp_path, OPTIONS.model_copy(update={"max_rollbacks": 0}))
    assert "train_loss is nan near step 6 (step 6); back to the last good state of step 4" in (
        caplog.text
    )
    assert [row["step"] for row in rows] == [4]
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] == 4


def test_copies_of_the_state_are_kept(tmp_path):
    loop.train(Line(), tmp_path, TrainingConfig(steps=10, save_every=2, checkpoint_every=4))
    assert sorted(path.name for path in tmp_path.glob("step_*")) == [
        "step_0000004.pt",
        "step_0000008.pt",
    ]
    assert torch.load(tmp_path / "step_0000004.pt", weights_only=True)["step"] == 4


@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_is_by_the_monitored_metric(tmp_path, mode):
    task = Line()
    values = iter([2.0, 1.0, 3.0])
    task.mode = mode
    task.evaluate = lambda step: {"val_loss": next(values)}
    loop.train(task, tmp_path, OPTIONS)
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert best["global_step"] == (10 if mode == "max" else 8)


def test_a_run_keeps_the_best_weights_that_its_states_name(tmp_path):
    task = Line()
    values = iter([2.0, 3.0, 1.0])
    task.evaluate = lambda step: {"val_loss": next(values)}
    loop.train(task, tmp_path, TrainingConfig(steps=12, eval_every=4, save_every=6))
    assert {path.name for path in tmp_path.glob("best*")} == {
        "best.pth",
        "best_0000004.pth",  # of the state before the last
        "best_0000012.pth",
    }


class Scripted(Line):
    """Returns the given evaluations one after the other; above 5 is a failure."""

    def __init__(self, values, **more):
        super().__init__(**more)
        self.values, self.drawn, self.counts = list(values), [], []

    def batch(self, step):
        self.drawn.append((step, int(self.extra_state["rollbacks"])))
        return super().batch(step + 100 * int(self.extra_state["rollbacks"]))

    def evaluate(self, step):
        return {"val_loss": self.values.pop(0)}

    def failure(self, rows):
        return "it went wrong" if rows[-1]["val_loss"] > 5 else ""

    def on_rollback(self, count):
        self.counts.append(count)
        self.extra_state["recovered"] = self.extra_state.get("recovered", 0) + count


def test_a_failed_training_returns_to_its_last_good_state(tmp_path, caplog):
    task = Scripted([2.0, 9.0, 8.0, 1.0, 3.0])
    rows = loop.train(task, tmp_path, TrainingConfig(steps=12, eval_every=4, save_every=3))
    assert [(row["step"], row["val_loss"], row.get("rollbacks")) for row in rows] == [
        (4, 2.0, 2),
        (8, 1.0, 2),
        (12, 3.0, 2),
    ]
    assert task.counts == [1, 2] and task.extra_state["recovered"] == 3
    assert {(4, 1), (4, 2)} <= set(task.drawn) and (0, 1) not in task.drawn
    assert "line: it went wrong (step 8); back to the last good state of step 4, rollback 1" in (
        caplog.text
    )
    assert to_csv(rows) == (tmp_path / "metrics.csv").read_text()
    assert [torch.load(tmp_path / name)["step"] for name in ("last_good.pt", LAST)] == [12, 12]


def test_after_too_many_rollbacks_the_last_good_state_is_the_result(tmp_path, caplog):
    options = TrainingConfig(steps=12, eval_every=4, save_every=12, max_rollbacks=2)
    rows = loop.train(Scripted([2.0, 9.0, 9.0, 9.0]), tmp_path, options)
    assert [(row["step"], row["rollbacks"]) for row in rows] == [(4, 3)]
    assert "that was the last one, the training ends" in caplog.text
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert best["global_step"] == 4
    assert loop.train(Scripted([], at=4, sabotage=crash), tmp_path, options) == rows
    more = TrainingConfig(steps=12, eval_every=4, max_rollbacks=3)
    rows = loop.train(Scripted([1.0, 1.5]), tmp_path, more)
    assert [(row["step"], row["rollbacks"]) for row in rows] == [(4, 3), (8, 3), (12, 3)]


def test_a_failure_from_the_start_is_an_error(tmp_path):
    options = TrainingConfig(steps=12, eval_every=4, max_rollbacks=1)
    with pytest.raises(LipsyncError, match=r"went wrong \(step 4, .*there is no good state"):
        loop.train(Scripted([9.0, 9.0]), tmp_path, options)


def test_a_loss_that_is_not_finite_is_a_failure(tmp_path, caplog):
    def explode(task):
        task.model.weight.data.fill_(float("nan"))
        task.at = None

    task = Scripted([2.0, 1.0, 3.0], at=5, sabotage=explode)
    rows = loop.train(task, tmp_path, TrainingConfig(steps=12, eval_every=4, save_every=3))
    assert [(row["step"], row.get("rollbacks")) for row in rows] == [(4, 1), (8, 1), (12, 1)]
    assert (
        "train_loss is nan near step 6" in caplog.text
        and "last good state of step 4" in caplog.text
    )


def test_after_a_power_cut_a_failed_training_still_returns(tmp_path, caplog):
    options = TrainingConfig(steps=12, eval_every=4, save_every=3)
    with pytest.raises(RuntimeError):
        loop.train(Scripted([2.0], at=5, sabotage=crash), tmp_path, options)
    empty(tmp_path / LAST)  # and so last_good.pt, which is linked to it
    assert (tmp_path / "last_good.pt").stat().st_size == 0
    rows = loop.train(Scripted([2.0, 9.0, 1.0, 3.0]), tmp_path, options)
    assert "Continuing from previous.pt: the steps after 3 are repeated" in caplog.text
    assert [(row["step"], row.get("rollbacks")) for row in rows] == [(4, 1), (8, 1), (12, 1)]


class Whole(Scripted):
    """Of no use before it is finished."""

    export_after_failure = False


def test_a_task_without_export_after_failure_raises(tmp_path, caplog):
    options = TrainingConfig(steps=12, eval_every=4, save_every=12, max_rollbacks=2)
    words = r"line: failed 3 times, each time with other samples; .* state of step 4 .* Lower `lr`"
    with pytest.raises(LipsyncError, match=words):
        loop.train(Whole([2.0, 9.0, 9.0, 9.0]), tmp_path, options)
    with pytest.raises(LipsyncError, match=words):  # at once: no step is trained
        loop.train(Whole([], at=4, sabotage=crash), tmp_path, options)
    more = TrainingConfig(steps=12, eval_every=4, max_rollbacks=3)
    assert [row["step"] for row in loop.train(Whole([1.0, 1.5]), tmp_path, more)] == [4, 8, 12]


@pytest.mark.parametrize("step", [2, 5, 6, 9, 10])
def test_a_kill_around_a_rollback_changes_nothing(tmp_path, step):
    class Sure(Scripted):
        def evaluate(self, step):
            self.extra_state["seen"] = self.extra_state.get("seen", 0) + 1
            failed = step == 8 and self.extra_state["rollbacks"] < 2
            return {"val_loss": 9.0 if failed else abs(self.model.weight.item() - 3)}

    options = TrainingConfig(steps=12, eval_every=4, save_every=3)
    quiet = loop.train(Sure([]), tmp_path / "quiet", options)
    times = iter([False, True] if step in (5, 6) else [True])  # in the second return, too

    def once(task):
        task.sabotage = crash if next(times, True) else once
        if task.sabotage is crash:
            crash(task)

    with pytest.raises(RuntimeError):
        loop.train(Sure([], at=step, sabotage=once), tmp_path / "killed", options)
    assert loop.train(Sure([]), tmp_path / "killed", options) == quiet
    assert_same(outcome(tmp_path / "killed"), outcome(tmp_path / "quiet"))


def test_patience_stops_a_training_without_improvement(tmp_path, caplog):
    caplog.set_level("INFO")
    options = TrainingConfig(steps=40, eval_every=4, save_every=40, patience=2)
    task = Line()
    values = iter([3.0, 1.0, 2.0, 1.0, 0.5])
    task.evaluate = lambda step: {"val_loss": next(values)}
    rows = loop.train(task, tmp_path, options)
    assert [row["step"] for row in rows] == [4, 8, 12, 16]
    assert "no better weights than those of step 8 in 2 evaluations; stopped at step 16" in (
        caplog.text
    )
    assert torch.load(tmp_path / LAST)["step"] == 16
    assert loop.train(Line(16, crash), tmp_path, options) == rows
    task.counts_for_patience = lambda step: step > 12
    later = TrainingConfig(steps=20, eval_every=4, patience=2)
    task.extra_state.clear()
    assert [row["step"] for row in loop.train(task, tmp_path, later)] == [4, 8, 12, 16, 20]


def test_advice_is_logged_when_it_changes(tmp_path, caplog):
    task = Line()
    task.advice = lambda rows: ["", "look at the data", "look at the data", ""][len(rows) - 1]
    loop.train(task, tmp_path, TrainingConfig(steps=16, eval_every=4))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "line: look at the data"
    ]


def test_publish_exports_best_or_last(tmp_path):
    task = Line()
    loop.train(task, tmp_path / "run", OPTIONS)
    out = tmp_path / "deep/er/checkpoint.pth"
    publish(task, tmp_path / "run", out, tmp_path / "metrics.csv", step=10, export="best")
    assert out.read_bytes() == (tmp_path / "run" / BEST).read_bytes()
    publish(task, tmp_path / "run", out, tmp_path / "metrics.csv", step=10, export="last")
    again = nn.Linear(1, 1)
    assert load_weights(again, out) == []
    assert torch.equal(again.weight, task.model.weight)
    assert (tmp_path / "metrics.csv").read_text().startswith("step,")


def test_load_pretrained_lists_tensors_that_do_not_fit(tmp_path, caplog):
    caplog.set_level("INFO")
    source, target = nn.Linear(2, 3), nn.Linear(2, 3, bias=False)
    save_public(tmp_path / "a.pth", source)
    load_pretrained(target, tmp_path / "a.pth")
    assert torch.equal(source.weight, target.weight) and "do not fit: bias" in caplog.text
    load_pretrained(target, None)
    with pytest.raises(LipsyncError, match="no such checkpoint"):
        load_pretrained(target, tmp_path / "b.pth")


def test_csv_has_all_columns_in_order_of_appearance():
    assert to_csv([{"step": 1, "a": 0.25}, {"step": 2, "a": 1e-9, "b": 1.0}]) == (
        "step,a,b\n1,0.25,\n2,1e-09,1\n"
    )


def test_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_training_in_a_thread_works_without_signals(tmp_path, straight):
    found = []
    worker = threading.Thread(target=lambda: found.append(loop.train(Line(), tmp_path, OPTIONS)))
    worker.start()
    worker.join()
    assert [row["step"] for row in found[0]] == [row["step"] for row in straight[0]]


def test_learning_rate_warms_up_and_falls():
    rates = [learning_rate(step, 100, 1.0, "cosine", warmup_steps=10) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.505)
    assert rates[-1] == pytest.approx(0.01, abs=0.001)
    assert {learning_rate(step, 100, 0.5) for step in range(100)} == {0.5}
    assert learning_rate(500, 100, 1.0, "cosine") == pytest.approx(0.01)


def test_an_optimizer_step_clips_the_gradient_and_sets_the_rate():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.tensor([100.0])
    optimizer_step(optimizer, lr=0.5, grad_clip=1.0)
    assert weight.item() == pytest.approx(0.5)
    weight.grad = torch.tensor([100.0])
    optimizer_step(optimizer, lr=0.001)
    assert weight.item() == pytest.approx(0.4)
    assert math.isclose(optimizer.param_groups[0]["lr"], 0.001)
