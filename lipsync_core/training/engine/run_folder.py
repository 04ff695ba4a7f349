"""The files of a training run, and the order in which they are written.

last.pt      everything that a resumed run needs; a save is complete when it is renamed into place.
previous.pt  the last.pt of the save before; the run continues from it if last.pt is damaged.
last_good.pt the state at the last evaluation without a failure: a hard link to its last.pt.
step_<n>.pt  copies that are kept.
best_<n>.pth the best weights so far, public format. They are written before the state that names
             them, and removed only when no state names them any more: whenever the process is
             killed, the weights that belong to last.pt exist.
best.pth     the best weights of a finished run.
metrics.csv  the rows of last.pt or later ones, which a resumed run writes again.

Every file is written under a temporary name, synced to the disk and renamed. A damaged last.pt is
kept as damaged.pt, and the newest intact state replaces it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from lipsync_core.checkpoints import write_tensors
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import (
    PathLike,
    atomic_path,
    exclusive_lock,
    remove_stale_temporaries,
    write_text,
)
from lipsync_core.runtime.tables import format_rows
from lipsync_core.training.engine.run_signature import LOCK, STATE

log = logging.getLogger(__name__)
LAST, LAST_GOOD, BEST, METRICS = STATE, "last_good.pt", "best.pth", "metrics.csv"
PREVIOUS, DAMAGED = "previous.pt", "damaged.pt"
State = dict[str, Any]
Row = dict[str, float | str]


class RunFolder:
    """The files of one run in the folder `path`, created if missing. A context manager.

    writes: False for the ranks that only read; methods that write then do nothing. The process that
    writes locks the folder while the context lasts, and removes incomplete files of a killed one.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.writes = path, writes
        self._lock = contextlib.ExitStack()
        self._damaged = False  # last.pt
        self._replacement: Path | None = None

    def __enter__(self) -> RunFolder:
        if self.writes:
            self._lock.enter_context(exclusive_lock(self.path / LOCK))
            remove_stale_temporaries([self.path])
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def best(self, step: int) -> Path:
        """Path of the best weights when they are those of `step`."""
        return self.path / f"best_{step:07d}.pth"

    def has_best(self, state: State) -> bool:
        """Whether the best weights that a state names exist."""
        return not state["best_step"] or self.best(state["best_step"]).is_file()

    def link_best(self, step: int) -> None:
        """Make best.pth the best weights, those of `step`."""
        if self.writes:
            hard_link(self.best(step), self.path / BEST)

    def remove_best_except(self, keep: Collection[int]) -> None:
        """Remove all best weights except those of the steps `keep`."""
        wanted = {self.best(step) for step in keep}
        for path in self.path.glob("best_*.pth") if self.writes else ():
            if path not in wanted:
                path.unlink(missing_ok=True)

    def save(self, state: State, copy: bool = False) -> None:
        """Write last.pt, and with `copy` also step_<n>.pt; the old last.pt becomes previous.pt."""
        if not self.writes:
            return
        if (self.path / LAST).is_file():
            hard_link(self.path / LAST, self.path / PREVIOUS)
        write_tensors(self.path / LAST, state)
        if copy:
            hard_link(self.path / LAST, self.path / f"step_{state['step']:07d}.pt")

    def discard_old_states(self) -> None:
        """Remove the states of an earlier run; its other files are overwritten later."""
        if self.writes:
            (self.path / LAST_GOOD).unlink(missing_ok=True)
            (self.path / PREVIOUS).unlink(missing_ok=True)

    def replace_damaged(self) -> None:
        """If `load` found last.pt damaged, replace it by the state that `load` returned instead."""
        if self.writes and self._damaged:
            os.replace(self.path / LAST, self.path / DAMAGED)
            if self._replacement:
                hard_link(self._replacement, self.path / LAST)

    def mark_good(self) -> None:
        """Make last_good.pt a link to the present last.pt."""
        if self.writes:
            hard_link(self.path / LAST, self.path / LAST_GOOD)

    def write_rows(self, rows: list[Row]) -> None:
        """Write metrics.csv."""
        if self.writes:
            write_text(self.path / METRICS, to_csv(rows))

    def load(self, name: str = LAST) -> State | None:
        """The state in last.pt or last_good.pt, on the CPU; None when there is none.

        If the file is damaged, the newest intact state in the folder whose best weights still exist
        is returned, or None without one; both are logged.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return read_run_state(path)
        except LipsyncError as error:
            damage = str(error)
        kept = DAMAGED if name == LAST else name
        self._damaged |= name == LAST
        for other in self._others(path):
            with contextlib.suppress(LipsyncError):
                state = read_run_state(other)
                if self.has_best(state):
                    log.warning(
                        "%s (kept as %s). Continuing from %s: the steps after %d are repeated",
                        *(damage, kept, other.name, state["step"]),
                    )
                    self._replacement = other
                    return state
        log.warning(
            "%s (kept as %s). No other state is intact: THE TRAINING STARTS AFRESH", damage, kept
        )
        return None

    def _others(self, path: Path) -> list[Path]:
        """The other states of the folder, the newest first."""
        names = (self.path / name for name in (LAST, PREVIOUS, LAST_GOOD))
        states = [*names, *self.path.glob("step_*.pt")]
        found = [other for other in states if other != path and other.is_file()]
        return sorted(found, key=lambda other: other.stat().st_mtime_ns, reverse=True)


def read_run_state(path: Path) -> State:
    """The state in a file, on the CPU. Raises LipsyncError for other content or a damaged file.

    Every byte is checked against the file's checksums, which `torch.load` does not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise zipfile.BadZipFile(f"bad checksum of {broken}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        _ = state["step"], state["best_step"]
    except (
        *(zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError),
        *(LookupError, TypeError, ValueError),  # other content than a state
    ) as error:
        reason = str(error).partition("\n")[0]
        raise LipsyncError(f"{path}: not a whole state of this program ({reason})") from error
    return state


def hard_link(source: Path, target: PathLike) -> None:
    """Make `target` a hard link to `source`, atomically; a copy where there are no hard links.

    Safe for files that are only ever replaced as a whole.
    """
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def copy(source: Path, target: PathLike) -> None:
    """Copy a file, atomically."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def format_row(row: Row) -> str:
    """A row in one line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


def to_csv(rows: list[Row]) -> str:
    """Rows as CSV text; the columns are the keys of all rows in order of appearance."""
    return format_rows(
        [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    )
