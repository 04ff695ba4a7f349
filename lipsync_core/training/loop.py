"""The one training loop: steps, evaluation, checkpoints, exact resume, orderly interruption.

Knows no network and no loss: a `Task` (`expert.ExpertTask`, `generator.GeneratorTask`) brings
batches, steps and evaluations. The state lives in a run folder named by `runs.run_signature`:
last.pt (everything), step_<n>.pt (kept copies of it), best.pth (public format) and metrics.csv,
each written aside and renamed. A killed run loses at most the steps since its last save; a resumed
one continues bit for bit on the same kind of processor with the same number of threads.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import pickle
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core.checkpoints import load_weights
from lipsync_core.errors import LipsyncError
from lipsync_core.files import atomic_path, write_text
from lipsync_core.progress import Progress
from lipsync_core.training.signals import Interrupted, StopSignals
from lipsync_core.windows import prefetch

log = logging.getLogger(__name__)
LOOK_EVERY = 20  # steps between looks at the loss: each look makes a GPU wait
LAST, BEST, METRICS = "last.pt", "best.pth", "metrics.csv"
Row = dict[str, float | str]


@dataclass(frozen=True)
class LoopOptions:
    """How long and how often.

    steps: optimiser steps in all. eval_every, save_every: steps between evaluations (rows of
    metrics.csv) and between saves; both also happen at the end. keep_every: keep a copy of the
    state every so many steps (0: none). workers: threads that prepare batches.
    """

    steps: int
    eval_every: int = 100
    save_every: int = 500
    keep_every: int = 0
    workers: int = 1


class Task(ABC):
    """What one training brings to the loop.

    Attributes
    ----------
    label: shown beside the progress, e.g. "syncnet".
    goal: the metric of `evaluate` that decides which weights are best; lower is better unless
        `maximise`.
    parts: networks, optimisers, whatever has `state_dict` and `load_state_dict`: with `memory`,
        all that a resumed run needs.
    memory: the schedule's own state, numbers by name (the sync weight, say).
    """

    label: str
    goal: str
    maximise: bool = False
    parts: dict[str, Any]
    memory: dict[str, float]

    @abstractmethod
    def batch(self, step: int) -> Any:
        """The batch of a step, numpy arrays: a pure function of `step`, called in threads."""

    @abstractmethod
    def step(self, step: int, batch: Any) -> dict[str, torch.Tensor]:
        """One optimisation step; returns detached scalars by metric name, to be averaged."""

    @abstractmethod
    def evaluate(self, step: int) -> Row:
        """Metrics on a fixed validation set after `step` steps. May change `memory` only."""

    @abstractmethod
    def export(self, path: Path, step: int) -> None:
        """Write the weights as a public-format checkpoint."""


def train(task: Task, run_dir: Path, options: LoopOptions) -> list[Row]:
    """Train `task` to `options.steps`, going on from the state in `run_dir` if there is one.

    Returns the rows of metrics.csv. Raises Interrupted after SIGTERM or SIGINT (the state is
    saved), LipsyncError when a loss is no longer a finite number (the state is not).
    """
    return _Run(task, Path(run_dir), options).go()


class _Run:
    def __init__(self, task: Task, run_dir: Path, options: LoopOptions) -> None:
        self.task, self.run_dir, self.options = task, run_dir, options
        self.step = 0
        self.best, self.best_step = math.inf, 0
        self.rows: list[Row] = []
        self.sums: dict[str, torch.Tensor] = {}  # of the metrics since the last evaluation
        self.summed = 0
        run_dir.mkdir(parents=True, exist_ok=True)
        self._resume()

    def go(self) -> list[Row]:
        options = self.options
        batches = prefetch(self.task.batch, range(self.step, options.steps), options.workers)
        progress = Progress(options.steps, self.task.label, "step", start=self.step)
        note = ""
        with StopSignals() as stop, progress:
            try:
                for batch in batches:
                    self._advance(batch)
                    if self._due(options.eval_every):
                        note = self._evaluate()
                    elif self.step % LOOK_EVERY == 0:
                        note = _describe(self._means())
                    if self._due(options.save_every) or stop.signal:
                        self._save()
                    if stop.signal and self.step < options.steps:
                        raise Interrupted(stop.signal, self.run_dir, self.step, options.steps)
                    progress.advance(note=note)
            finally:
                batches.close()
        return self.rows

    def _due(self, every: int) -> bool:
        return self.step == self.options.steps or (every > 0 and self.step % every == 0)

    def _advance(self, batch: Any) -> None:
        for name, value in self.task.step(self.step, batch).items():
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
            raise LipsyncError(
                f"{self.task.label}: {name} is {value} near step {self.step}; the last good state "
                f"is in {self.run_dir}. Lower `lr`, set `clip`, or use `precision: float32`"
            )

    def _evaluate(self) -> str:
        row = {"step": self.step} | self._means() | self.task.evaluate(self.step)
        self._check(self.task.goal, row[self.task.goal])
        self.rows.append(row)
        self.sums, self.summed = {}, 0
        write_text(self.run_dir / METRICS, to_csv(self.rows))
        score = -row[self.task.goal] if self.task.maximise else row[self.task.goal]
        if score < self.best:
            self.best, self.best_step = score, self.step
            self.task.export(self.run_dir / BEST, self.step)
        log.info("%s: %s", self.task.label, _describe(row))
        return _describe({self.task.goal: row[self.task.goal]})

    def _save(self) -> None:
        self._means()  # a state that is no longer finite must not replace a good one
        state = {
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "rows": self.rows,
            "sums": self.sums,
            "summed": self.summed,
            "memory": self.task.memory,
            "parts": {name: part.state_dict() for name, part in self.task.parts.items()},
            "rng": torch.get_rng_state(),
        }
        with atomic_path(self.run_dir / LAST) as temporary:
            torch.save(state, temporary)
        if self.options.keep_every and self.step % self.options.keep_every == 0:
            _copy(self.run_dir / LAST, self.run_dir / f"step_{self.step:07d}.pt")

    def _resume(self) -> None:
        path = self.run_dir / LAST
        if not path.is_file():
            log.info("%s: a new run in %s", self.task.label, self.run_dir)
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            step, best_step = state["step"], state["best_step"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise LipsyncError(
                f"{path}: not a state of this program ({reason}); delete it to start afresh"
            ) from error
        if step > self.options.steps:
            log.info(
                "%s: the state in %s is already at step %d of %d; starting afresh",
                *(self.task.label, self.run_dir, step, self.options.steps),
            )
            return
        if best_step and not (self.run_dir / BEST).is_file():
            log.info("%s: %s is gone; starting afresh", self.task.label, self.run_dir / BEST)
            return
        for name, part in self.task.parts.items():
            part.load_state_dict(state["parts"][name])
        self.task.memory.update(state["memory"])
        torch.set_rng_state(state["rng"])
        for name in ("step", "best", "best_step", "rows", "sums", "summed"):
            setattr(self, name, state[name])
        log.info("%s: continuing at step %d from %s", self.task.label, step, path)


def _describe(row: Row) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


def to_csv(rows: list[Row]) -> str:
    """Rows as CSV text; the columns are the keys of all rows in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def _copy(source: Path, target: str | os.PathLike[str]) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def start_from(model: nn.Module, init: str | Path | None) -> None:
    """Load the weights at `init`, if any, into `model`; log the tensors that do not fit."""
    if init is None:
        return
    misfits = load_weights(model, init, strict=False)
    log.info("starting from %s; tensors that do not fit: %s", init, ", ".join(misfits) or "none")


def publish(
    task: Task,
    run_dir: Path,
    checkpoint: str | os.PathLike[str],
    metrics: str | os.PathLike[str],
    step: int,
    final: str = "best",
) -> None:
    """Write a finished run's outputs, each whole: metrics.csv and the weights.

    final: "best" for the best weights of the run, "last" for those of the task at `step`.
    """
    if final == "best":
        _copy(run_dir / BEST, checkpoint)
    else:
        task.export(Path(checkpoint), step)
    _copy(run_dir / METRICS, metrics)
