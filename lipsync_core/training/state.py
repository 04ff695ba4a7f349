"""What a run keeps on disk, and in which order it is written.

last.pt      everything that a resumed run needs. Renaming it into place is the moment of saving.
healthy.pt   the state at the last evaluation that was not ill: a link to what was last.pt then.
step_<n>.pt  copies that are kept.
best_<n>.pth the best weights so far, public format. They are written before the state that names
             them, and removed only when no state names them any more: whenever the process is
             killed, the weights that belong to last.pt are there.
best.pth     the best weights of a finished run.
metrics.csv  the rows of last.pt or later ones, which a resumed run writes again.

Every file is written aside and renamed.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from lipsync_core.errors import LipsyncError
from lipsync_core.files import atomic_path, remove_leftovers

LAST, HEALTHY, BEST, METRICS = "last.pt", "healthy.pt", "best.pth", "metrics.csv"
State = dict[str, Any]


class RunFolder:
    """The files of one run in the folder `path`, which is made."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path

    def clear(self) -> None:
        """Remove what a killed process left half-written."""
        remove_leftovers([self.path])

    def best(self, step: int) -> Path:
        """Where the best weights are when they are those of `step`."""
        return self.path / f"best_{step:07d}.pth"

    def drop_best(self, keep: Collection[int]) -> None:
        """Remove best weights but those of the steps `keep`."""
        wanted = {self.best(step) for step in keep}
        for path in self.path.glob("best_*.pth"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def save(self, state: State, copy: bool = False) -> None:
        """Write last.pt; with `copy` also step_<n>.pt."""
        # Through a stream: given a path, torch writes the (temporary) name into the file.
        with atomic_path(self.path / LAST) as temporary, temporary.open("wb") as stream:
            torch.save(state, stream)
        if copy:
            link(self.path / LAST, self.path / f"step_{state['step']:07d}.pt")

    def mark_healthy(self) -> None:
        """Let healthy.pt be what last.pt is now."""
        link(self.path / LAST, self.path / HEALTHY)

    def load(self, name: str = LAST) -> State | None:
        """The state in last.pt or healthy.pt, on the CPU; None when there is none.

        Raises LipsyncError when the file is something else, or damaged.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            _ = state["step"], state["best_step"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise LipsyncError(
                f"{path}: not a state of this program ({reason}); delete it to start afresh"
            ) from error
        return state


def link(source: Path, target: str | os.PathLike[str]) -> None:
    """Let `target` be what `source` is now, atomically; a copy where there are no hard links.

    Safe for files that are only ever replaced as a whole.
    """
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def copy(source: Path, target: str | os.PathLike[str]) -> None:
    """Copy a file, atomically."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
