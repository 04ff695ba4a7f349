"""The one training loop: steps, evaluation, checkpoints, exact resume, orderly interruption.

Knows no network and no loss: a `Task` (`syncnet.ExpertTask`, `generator.GeneratorTask`) brings
batches, steps and evaluations. The state lives in a folder (`run_folder`) named by `run_signature`.
A killed run loses at most the steps since its last save; a resumed one
continues bit for bit on the same kind of processor with the same number of threads.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core.data.dataset import prefetch
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress
from lipsync_core.training.engine import distributed, run_folder
from lipsync_core.training.engine.run_folder import BEST, HEALTHY, METRICS, Row, RunFolder, describe
from lipsync_core.training.engine.signals import Interrupted, StopSignals
from lipsync_core.training.engine.tensorboard import Events

log = logging.getLogger(__name__)
LOOK_EVERY = 20  # steps between looks at the loss: each look makes a GPU wait
REMEDY = "Lower `lr`, set `clip`, or use `precision: float32`"
FIELDS = ("step", "best", "best_step", "rows", "sums", "summed", "healthy")  # of a run's state


@dataclass(frozen=True)
class LoopOptions:
    """How long and how often.

    steps: optimiser steps in all. eval_every, save_every: steps between evaluations (rows of
    metrics.csv) and between saves; both also happen at the end. keep_every: keep a copy of the
    state every so many steps (0: none). workers: threads that prepare batches. patience: stop after
    so many evaluations without better weights (0: never). rollbacks: how often to return to the
    last healthy state; the next time that training goes wrong, it ends (`Task.unfinished`). ranks:
    processes that share each batch, see `launch`. keep_runs: see `run_signature.tidy`.
    """

    steps: int
    eval_every: int = 100
    save_every: int = 500
    keep_every: int = 0
    workers: int = 1
    patience: int = 0
    rollbacks: int = 3
    ranks: int = 1
    keep_runs: int = 2


class Task(ABC):
    """What one training brings to the loop.

    Attributes
    ----------
    label: shown beside the progress, e.g. "syncnet".
    goal: the metric of `evaluate` that decides which weights are best; lower is better unless
        `maximise`.
    parts: networks, optimisers, whatever has `state_dict` and `load_state_dict`: with `memory`,
        all that a resumed run needs.
    memory: the schedule's own state, numbers by name (the sync weight, say). The loop keeps
        "rollbacks" in it, how often training returned to a healthy state.
    unfinished: whether a training that went wrong too often hands on its last healthy state.
    """

    label: str
    goal: str
    maximise: bool = False
    unfinished: bool = True
    parts: dict[str, Any]
    memory: dict[str, float]

    @abstractmethod
    def batch(self, step: int) -> Any:
        """The batch of a step, numpy arrays, called in threads.

        A pure function of `step`, and of `memory["rollbacks"]` where other samples should be drawn
        after a return.
        """

    @abstractmethod
    def step(self, step: int, batch: Any) -> dict[str, torch.Tensor]:
        """One optimisation step; returns detached scalars by metric name, to be averaged."""

    @abstractmethod
    def evaluate(self, step: int) -> Row:
        """Metrics on a fixed validation set after `step` steps. May change `memory` only."""

    @abstractmethod
    def export(self, path: Path, step: int) -> None:
        """Write the weights as a public-format checkpoint."""

    def ill(self, rows: list[Row]) -> str:
        """In words why training has gone wrong by the last of `rows`, or nothing.

        A pure function of `rows`. The loop then returns to the last state that was not ill.
        """
        return ""

    def recover(self, count: int) -> None:  # noqa: B027
        """Change in `memory`, just restored for the count-th time, what should not happen again."""

    def advice(self, rows: list[Row]) -> str:
        """In words what to do about the course of `rows` (a plateau, say), or nothing."""
        return ""

    def settled(self, step: int) -> bool:
        """Whether an evaluation after `step` steps that is no better counts towards `patience`."""
        return True


def train(task: Task, run_dir: Path, options: LoopOptions) -> list[Row]:
    """Train `task` to `options.steps`, going on from the state in `run_dir` if there is one.

    Returns the rows of metrics.csv; the last one is of the last step. Raises Interrupted after
    SIGTERM or SIGINT (the state is saved), LipsyncError when training goes wrong again and again
    (from the start, or where the task is of no use `unfinished`), or when a loss is no longer a
    finite number (the state is not saved) and the task has no `ill`; otherwise that counts as ill.
    """
    with RunFolder(Path(run_dir), writes=distributed.first()) as folder:
        return _Run(task, folder, options).go()


class _NotFinite(LipsyncError):
    """A loss is no number any more; says which."""


class _Run:
    def __init__(self, task: Task, folder: RunFolder, options: LoopOptions) -> None:
        self.task, self.folder, self.options = task, folder, options
        self.step = 0
        self.best, self.best_step = math.inf, 0
        self.rows: list[Row] = []
        self.sums: dict[str, torch.Tensor] = {}  # of the metrics since the last evaluation
        self.summed = 0
        self.healthy = [0, 0]  # step and best_step of healthy.pt
        self.saved_best = self.previous_best = 0  # best_step of last.pt and previous.pt
        self.said = ""  # the last advice
        task.memory.setdefault("rollbacks", 0.0)
        self.watched = type(task).ill is not Task.ill
        for part in task.parts.values():
            if isinstance(part, nn.Module):
                distributed.join(part)
        distributed.wait()  # until the one that writes holds the folder
        resumed = self._resume()
        distributed.wait()  # nothing is written before all have read
        self.folder.repair()
        if resumed and self.watched and self.healthy[0] == self.step:
            self.folder.mark_healthy()  # where the process was killed just before that
        self.events = Events(folder.path / task.label, self.step) if folder.writes else None

    def go(self) -> list[Row]:
        self._complain()
        with StopSignals() as stop:
            if self.watched and not (self.folder.path / HEALTHY).is_file():
                self.healthy = [self.step, self.best_step]
                self._save()
            try:
                while not self._over():
                    self._stretch(stop)
            finally:
                if self.events:
                    self.events.close()
        if self.best_step:
            self.folder.name_best(self.best_step)
        return self.rows

    def _over(self) -> bool:
        return self.step >= self.options.steps or self._gave_up() or self._stands_still()

    def _gave_up(self) -> bool:
        return self.task.memory["rollbacks"] > self.options.rollbacks

    def _complain(self) -> None:
        """Raise LipsyncError when training went wrong too often to hand anything on."""
        if self._gave_up() and not self.task.unfinished:
            raise LipsyncError(
                f"{self.task.label}: went wrong {self.task.memory['rollbacks']:.0f} times, each "
                f"time after other samples; the healthy state of step {self.step} is in "
                f"{self.folder.path}. {REMEDY}, or allow more `rollbacks`"
            )

    def _stands_still(self) -> bool:
        """A function of the rows alone, so that a resumed run decides alike."""
        later = [row["step"] for row in self.rows if row["step"] > self.best_step]
        return 0 < self.options.patience <= sum(map(self.task.settled, later))

    def _stretch(self, stop: StopSignals) -> None:
        """Steps until training is over, or returns to a healthy state."""
        task, options = self.task, self.options
        batches = prefetch(task.batch, range(self.step, options.steps), options.workers)
        note = ""
        with Progress(options.steps, task.label, "step", start=self.step) as progress:
            try:
                for batch in batches:
                    self._advance(batch)
                    signum = distributed.highest(stop.signal)
                    evaluated = self._due(options.eval_every)
                    if evaluated:
                        illness, note = self._evaluate()
                        if illness:
                            return self._fall_back(illness)
                    elif self.step % LOOK_EVERY == 0:
                        note = describe(self._means())
                    over = self._over()
                    healthy = evaluated and self.watched
                    if healthy:
                        self.healthy = [self.step, self.best_step]
                    if self._due(options.save_every) or healthy or over or signum:
                        self._save()
                    progress.advance(note=note)
                    if over:
                        return self._say_why()
                    if signum:
                        raise Interrupted(signum, self.folder.path, self.step, options.steps)
            except _NotFinite as error:
                if self.watched:
                    return self._fall_back(str(error))
                raise LipsyncError(
                    f"{task.label}: {error}; the last good state is in {self.folder.path}. {REMEDY}"
                ) from error
            finally:
                batches.close()

    def _due(self, every: int) -> bool:
        return self.step == self.options.steps or (every > 0 and self.step % every == 0)

    def _advance(self, batch: Any) -> None:
        for name, value in distributed.mean(self.task.step(self.step, batch)).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.summed += 1
        self.step += 1

    def _means(self) -> Row:
        means = {name: float(total) / self.summed for name, total in self.sums.items()}
        for name, value in means.items():
            self._check(name, value)
        return means

    def _check(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise _NotFinite(f"{name} is {value} near step {self.step}")

    def _evaluate(self) -> tuple[str, str]:
        """What has gone wrong, or nothing, and a note for the progress."""
        task = self.task
        row = {"step": self.step} | self._means() | self._measures()
        if task.memory["rollbacks"]:
            row["rollbacks"] = int(task.memory["rollbacks"])
        self._check(task.goal, row[task.goal])
        log.info("%s: %s", task.label, describe(row))
        illness = task.ill([*self.rows, row])
        if illness:
            return illness, ""
        self.rows.append(row)
        self.sums, self.summed = {}, 0
        score = -row[task.goal] if task.maximise else row[task.goal]
        if score < self.best:
            self.best, self.best_step = score, self.step
            if distributed.first():
                task.export(self.folder.best(self.step), self.step)
            self._drop_best()
        self.folder.write_rows(self.rows)
        if self.events:
            self.events.add(row)
        advice = task.advice(self.rows)
        if advice and advice != self.said:
            log.warning("%s: %s", task.label, advice)
        self.said = advice
        return "", describe({task.goal: row[task.goal]})

    def _measures(self) -> Row:
        """The evaluation, which one rank makes for all; with what it changes in the memory."""
        row, memory = distributed.of_first(
            lambda: (self.task.evaluate(self.step), self.task.memory)
        )
        self.task.memory.update(memory)
        return row

    def _say_why(self) -> None:
        if self.step < self.options.steps:
            log.info(
                "%s: no better weights than those of step %d in %d evaluations; stopped at step %d",
                *(self.task.label, self.best_step, self.options.patience, self.step),
            )

    def _fall_back(self, illness: str) -> None:
        """Return to the last healthy state, so often as `rollbacks` allows; then end with it."""
        task, at, count = self.task, self.step, int(self.task.memory["rollbacks"]) + 1
        healthy = self.folder.load(HEALTHY)
        distributed.wait()  # nothing is written before all have read
        last = count > self.options.rollbacks and task.unfinished
        if healthy is None or (last and healthy["step"] == 0):
            raise LipsyncError(
                f"{task.label}: {illness} (step {at}, return number {count}); training was never "
                "healthy. Lower `lr`, or start from trained weights (`init`)"
            )
        self._restore(healthy)
        task.memory["rollbacks"] = float(count)
        task.recover(count)
        if self.rows:
            self.rows[-1]["rollbacks"] = count
            self.folder.write_rows(self.rows)
        if self.events:
            self.events.back_to(self.step)
        over = "; that was the last time, training ends with it" if self._gave_up() else ""
        log.warning(
            "%s: %s (step %d); back to the healthy state of step %d, return number %d%s",
            *(task.label, illness, at, self.step, count, over),
        )
        self._save()
        self._complain()

    def _drop_best(self) -> None:
        self.folder.drop_best(
            {self.best_step, self.saved_best, self.previous_best, self.healthy[1]}
        )

    def _save(self) -> None:
        self._means()  # a state that is no longer finite must not replace a good one
        options, task = self.options, self.task
        content = {name: getattr(self, name) for name in FIELDS} | {
            "memory": task.memory,
            "parts": {name: part.state_dict() for name, part in task.parts.items()},
            "rng": torch.get_rng_state(),
            "previous_best": self.saved_best,
        }
        if self.events:
            self.events.flush()  # before the state that says these rows are done
        kept = self.step and options.keep_every and self.step % options.keep_every == 0
        self.folder.save(content, copy=bool(kept))
        if self.watched and self.healthy[0] == self.step:
            self.folder.mark_healthy()
        self.previous_best, self.saved_best = self.saved_best, self.best_step
        self._drop_best()

    def _resume(self) -> bool:
        """Restore the state of the folder; False where there is none to go on from."""
        label, found = self.task.label, self.folder.load()
        if found is None:
            log.info("%s: a new run in %s", label, self.folder.path)
        elif found["step"] > self.options.steps:
            log.info(
                "%s: the state in %s is already at step %d of %d; starting afresh",
                *(label, self.folder.path, found["step"], self.options.steps),
            )
        elif not self.folder.has_best(found):
            log.info("%s: %s is gone; starting afresh", label, self.folder.best(found["best_step"]))
        else:
            self._restore(found)
            self.saved_best = self.best_step
            self.previous_best = found.get("previous_best", 0)
            self.folder.write_rows(self.rows)
            log.info("%s: continuing at step %d from %s", label, self.step, self.folder.path)
            return True
        self.folder.start_afresh()
        return False

    def _restore(self, found: run_folder.State) -> None:
        for name, part in self.task.parts.items():
            part.load_state_dict(found["parts"][name])
        self.task.memory.clear()
        self.task.memory.update(found["memory"])
        torch.set_rng_state(found["rng"])
        for name in FIELDS:
            setattr(self, name, found[name])


def publish(
    task: Task,
    run_dir: Path,
    checkpoint: PathLike,
    metrics: PathLike,
    step: int,
    final: str = "best",
) -> None:
    """Write a finished run's outputs, each whole: metrics.csv and the weights.

    final: "best" for the run's best weights, "last" for the task's, of `step`, the last row's.
    """
    if final == "best":
        run_folder.copy(run_dir / BEST, checkpoint)
    else:
        task.export(Path(checkpoint), step)
    run_folder.copy(run_dir / METRICS, metrics)
