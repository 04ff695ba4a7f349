"""The training loop: steps, evaluation, checkpoints, exact resume, orderly interruption.

Networks and losses come from a `Task` (`syncnet.SyncNetTask`, `generator.GeneratorTask`): batches,
steps and evaluations. The state lives in a folder (`run_folder`) named by `run_signature`. A killed
run loses at most the steps since its last save; a resumed one continues bit for bit on the same
kind of processor with the same number of threads.
"""

from __future__ import annotations

import contextlib
import logging
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lipsync_core.config import TrainingConfig
from lipsync_core.data.prefetch import prefetch
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress
from lipsync_core.training.engine import distributed, run_folder
from lipsync_core.training.engine.run_folder import (
    BEST,
    LAST_GOOD,
    METRICS,
    Row,
    RunFolder,
    format_row,
)
from lipsync_core.training.engine.signals import Interrupted, StopSignals
from lipsync_core.training.engine.tensorboard import TensorBoard

log = logging.getLogger(__name__)
FINITE_CHECK_EVERY = 20  # steps; each check makes a GPU wait
REMEDY = "Lower `lr`, set `grad_clip`, or use `precision: float32`"
FIELDS = ("step", "best", "best_step", "rows", "sums", "num_summed", "last_good")  # saved


class Task(ABC):
    """Interface between a training and the loop: batches, steps, evaluation, export.

    Attributes
    ----------
    label: shown beside the progress, e.g. "syncnet".
    monitor: the metric of `evaluate` that decides which weights are best; mode: "min" or "max".
    parts: networks, optimizers and other objects with `state_dict` and `load_state_dict`: together
        with `extra_state`, all that a resumed run needs.
    extra_state: state of the schedule, numbers by name (such as the sync weight). The loop keeps
        "rollbacks" in it, the number of returns to the last good state.
    export_after_failure: whether a training that failed too often exports its last good state
        instead of raising an error.
    """

    label: str
    monitor: str
    mode: Literal["min", "max"] = "min"
    export_after_failure: bool = True
    parts: dict[str, Any]
    extra_state: dict[str, float]

    @abstractmethod
    def batch(self, step: int) -> Any:
        """The batch of a step, NumPy arrays; called in threads.

        A pure function of `step`, and of `extra_state["rollbacks"]` if a rollback should change the
        samples.
        """

    @abstractmethod
    def step(self, step: int, batch: Any) -> dict[str, torch.Tensor]:
        """One optimization step; returns detached scalars by metric name, to be averaged."""

    @abstractmethod
    def evaluate(self, step: int) -> Row:
        """Metrics on a fixed validation set after `step` steps. May change `extra_state` only."""

    @abstractmethod
    def export(self, path: Path, step: int) -> None:
        """Write the weights as a public-format checkpoint."""

    def preview(self, row: Row, run_dir: Path) -> np.ndarray | None:
        """Write a preview of the evaluation that gave `row` into the folder of the run.

        Called in the process that writes, before the state that counts the row is saved. Returns
        uint8 (H, W, 3) BGR for TensorBoard, or None.
        """
        return None

    def failure(self, rows: list[Row]) -> str:
        """A failure message if the last of `rows` shows that the training diverged, else "".

        A pure function of `rows`. The loop then returns to the last good state.
        """
        return ""

    def on_rollback(self, count: int) -> None:  # noqa: B027
        """Change the restored state after rollback number `count`, to avoid the same failure."""

    def advice(self, rows: list[Row]) -> str:
        """A warning about `rows` (such as a plateau) with a remedy, or ""."""
        return ""

    def counts_for_patience(self, step: int) -> bool:
        """Whether an evaluation at `step` without improvement counts towards `patience`."""
        return True


def train(task: Task, run_dir: Path, config: TrainingConfig) -> list[Row]:
    """Train `task` to `config.steps`, continuing from the state in `run_dir` if there is one.

    Returns the rows of metrics.csv; the last one is of the last step. A metric that is not finite,
    or a `Task.failure`, sends the training back to its last good state, `config.max_rollbacks`
    times; after that it ends with this state. Raises Interrupted after SIGTERM or SIGINT (the state
    is saved), LipsyncError when there is no good state, or after too many failures of a task
    without `export_after_failure`.
    """
    with RunFolder(Path(run_dir), writes=distributed.is_main_process()) as folder:
        return _Run(task, folder, config).go()


class _Failure(LipsyncError):
    """The training diverged."""


class _Run:
    def __init__(self, task: Task, folder: RunFolder, config: TrainingConfig) -> None:
        self.task, self.folder, self.config = task, folder, config
        self.step = 0
        self.best, self.best_step = math.inf, 0
        self.rows: list[Row] = []
        self.sums: dict[str, torch.Tensor] = {}  # of the metrics since the last evaluation
        self.num_summed = 0
        self.last_good = [0, 0]  # step and best_step of last_good.pt
        self.saved_best = self.previous_best = 0  # best_step of last.pt and previous.pt
        self.last_advice = ""
        task.extra_state.setdefault("rollbacks", 0.0)
        for part in task.parts.values():
            if isinstance(part, nn.Module):
                distributed.sync_batchnorm(part)
        distributed.barrier()  # until rank 0 holds the folder
        resumed = self._resume()
        distributed.barrier()  # nothing is written before all ranks have read
        folder.replace_damaged()
        if resumed and self.last_good[0] == self.step:
            folder.mark_good()  # if the process was killed just before that
        self.board = TensorBoard(folder.path / task.label, self.step) if folder.writes else None

    def go(self) -> list[Row]:
        self._raise_after_failures()
        with contextlib.ExitStack() as stack:
            if self.board:
                stack.callback(self.board.close)
            stop = stack.enter_context(StopSignals())
            if not (self.folder.path / LAST_GOOD).is_file():
                self.last_good = [self.step, self.best_step]
                self._save()
            while not self._finished():
                try:
                    self._train(stop)
                except _Failure as failure:
                    self._roll_back(str(failure))
        if self.best_step:
            self.folder.link_best(self.best_step)
        return self.rows

    def _train(self, stop: StopSignals) -> None:
        """Steps until the training is finished. Raises _Failure and Interrupted."""
        task, config, note = self.task, self.config, ""
        batches = prefetch(task.batch, range(self.step, config.steps), config.num_workers)
        with (
            Progress(config.steps, task.label, "step", start=self.step) as progress,
            contextlib.closing(batches),
        ):
            for batch in batches:
                for name, value in distributed.mean(task.step(self.step, batch)).items():
                    self.sums[name] = self.sums[name] + value if name in self.sums else value
                self.num_summed += 1
                self.step += 1
                signum = distributed.all_reduce_max(stop.signal)
                evaluated = self._due(config.eval_every)
                if evaluated:
                    note = self._evaluate()
                elif self.step % FINITE_CHECK_EVERY == 0:
                    note = format_row(self._means())
                finished = self._finished()
                if evaluated or self._due(config.save_every) or finished or signum:
                    self._save()
                progress.advance(note=note)
                if finished:
                    return self._log_early_stop()
                if signum:
                    raise Interrupted(signum, self.folder.path, self.step, config.steps)

    def _due(self, every: int) -> bool:
        return self.step == self.config.steps or self.step % every == 0

    def _finished(self) -> bool:
        return self.step >= self.config.steps or self._failed_too_often() or self._out_of_patience()

    def _failed_too_often(self) -> bool:
        return self.task.extra_state["rollbacks"] > self.config.max_rollbacks

    def _out_of_patience(self) -> bool:
        """A function of the rows alone, so that a resumed run stops at the same step."""
        later = [row["step"] for row in self.rows if row["step"] > self.best_step]
        return 0 < self.config.patience <= sum(map(self.task.counts_for_patience, later))

    def _log_early_stop(self) -> None:
        if self.step < self.config.steps:
            log.info(
                "%s: no better weights than those of step %d in %d evaluations; stopped at step %d",
                *(self.task.label, self.best_step, self.config.patience, self.step),
            )

    def _means(self) -> Row:
        means = {name: float(total) / self.num_summed for name, total in self.sums.items()}
        for name, value in means.items():
            self._require_finite(name, value)
        return means

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise _Failure(f"{name} is {value} near step {self.step}")

    def _evaluate(self) -> str:
        """Add a row, keep the best weights; returns a note for the progress. Raises _Failure."""
        task = self.task
        # Only rank 0 evaluates; all ranks take over its changes of the extra state.
        metrics, extra_state = distributed.broadcast_from_rank0(
            lambda: (task.evaluate(self.step), task.extra_state)
        )
        task.extra_state.update(extra_state)
        row = {"step": self.step} | self._means() | metrics
        if task.extra_state["rollbacks"]:
            row["rollbacks"] = int(task.extra_state["rollbacks"])
        self._require_finite(task.monitor, row[task.monitor])
        log.info("%s: %s", task.label, format_row(row))
        if failure := task.failure([*self.rows, row]):
            raise _Failure(failure)
        self.rows.append(row)
        self.sums, self.num_summed = {}, 0
        score = -row[task.monitor] if task.mode == "max" else row[task.monitor]
        if score < self.best:
            self.best, self.best_step = score, self.step
            if self.folder.writes:
                task.export(self.folder.best(self.step), self.step)
            self._remove_old_best()
        self.last_good = [self.step, self.best_step]
        self.folder.write_rows(self.rows)
        image = task.preview(row, self.folder.path) if self.folder.writes else None
        if self.board:
            self.board.add(row, image)
        advice = task.advice(self.rows)
        if advice and advice != self.last_advice:
            log.warning("%s: %s", task.label, advice)
        self.last_advice = advice
        return format_row({task.monitor: row[task.monitor]})

    def _roll_back(self, failure: str) -> None:
        """Return to the last good state; after `max_rollbacks` the training ends with it."""
        task, failed_at = self.task, self.step
        count = int(task.extra_state["rollbacks"]) + 1
        state = self.folder.load(LAST_GOOD)
        distributed.barrier()  # nothing is written before all ranks have read
        last_time = count > self.config.max_rollbacks and task.export_after_failure
        if state is None or (last_time and state["step"] == 0):
            raise LipsyncError(
                f"{task.label}: {failure} (step {failed_at}, rollback {count}); there is no good "
                "state. Lower `lr`, or start from trained weights (`pretrained`)"
            )
        self._restore(state)
        task.extra_state["rollbacks"] = float(count)
        task.on_rollback(count)
        if self.rows:
            self.rows[-1]["rollbacks"] = count
            self.folder.write_rows(self.rows)
        if self.board:
            self.board.back_to(self.step)
        end = "; that was the last one, the training ends" if self._failed_too_often() else ""
        log.warning(
            "%s: %s (step %d); back to the last good state of step %d, rollback %d%s",
            *(task.label, failure, failed_at, self.step, count, end),
        )
        self._save()
        self._raise_after_failures()

    def _raise_after_failures(self) -> None:
        """Raise LipsyncError when the training failed too often to export anything."""
        if self._failed_too_often() and not self.task.export_after_failure:
            raise LipsyncError(
                f"{self.task.label}: failed {self.task.extra_state['rollbacks']:.0f} times, each "
                f"time with other samples; the good state of step {self.step} is in "
                f"{self.folder.path}. {REMEDY}, or allow more `max_rollbacks`"
            )

    def _remove_old_best(self) -> None:
        self.folder.remove_best_except(
            {self.best_step, self.saved_best, self.previous_best, self.last_good[1]}
        )

    def _save(self) -> None:
        self._means()  # a state that is not finite must not replace a good one
        config, task = self.config, self.task
        state = {name: getattr(self, name) for name in FIELDS} | {
            "extra_state": task.extra_state,
            "parts": {name: part.state_dict() for name, part in task.parts.items()},
            "rng": torch.get_rng_state(),
            "previous_best": self.saved_best,
        }
        if self.board:
            self.board.flush()  # before the state that counts these rows as done
        every = config.checkpoint_every
        self.folder.save(state, copy=bool(self.step and every and self.step % every == 0))
        if self.last_good[0] == self.step:
            self.folder.mark_good()
        self.previous_best, self.saved_best = self.saved_best, self.best_step
        self._remove_old_best()

    def _resume(self) -> bool:
        """Restore the state of the folder; False if there is none to continue from."""
        label, state = self.task.label, self.folder.load()
        if state is None:
            log.info("%s: a new run in %s", label, self.folder.path)
        elif state["step"] > self.config.steps:
            log.info(
                "%s: the state in %s is already at step %d of %d; starting afresh",
                *(label, self.folder.path, state["step"], self.config.steps),
            )
        elif not self.folder.has_best(state):
            log.info(
                "%s: %s is missing; starting afresh", label, self.folder.best(state["best_step"])
            )
        else:
            self._restore(state)
            self.saved_best, self.previous_best = self.best_step, state["previous_best"]
            self.folder.write_rows(self.rows)
            log.info("%s: continuing at step %d from %s", label, self.step, self.folder.path)
            return True
        self.folder.discard_old_states()
        return False

    def _restore(self, state: run_folder.State) -> None:
        for name, part in self.task.parts.items():
            part.load_state_dict(state["parts"][name])
        self.task.extra_state.clear()
        self.task.extra_state.update(state["extra_state"])
        torch.set_rng_state(state["rng"])
        for name in FIELDS:
            setattr(self, name, state[name])


def publish(
    task: Task,
    run_dir: Path,
    checkpoint: PathLike,
    metrics: PathLike,
    step: int,
    export: str,
) -> None:
    """Write the outputs of a finished run, atomically: metrics.csv and the weights.

    export: "best" for the best weights of the run, "last" for those of `step`, its last step.
    """
    if export == "best":
        run_folder.copy(run_dir / BEST, checkpoint)
    else:
        task.export(Path(checkpoint), step)
    run_folder.copy(run_dir / METRICS, metrics)
