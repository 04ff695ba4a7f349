"""The rows of a run as TensorBoard shows them: `tensorboard --logdir results/.runs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Events:
    """Writes each number of a row under its column's name, into files in `folder`.

    step: the run is there now. Rows of later steps that an earlier process wrote were lost with it;
    TensorBoard is told to forget them.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._open(step)

    def _open(self, step: int) -> None:
        # Here, not above: its import takes longer than all others.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self._folder, purge_step=step + 1)

    def add(self, row: Mapping[str, float | str]) -> None:
        """Add a row, which has its `step`."""
        for name, value in row.items():
            if name != "step" and not isinstance(value, str):
                self._writer.add_scalar(name, value, int(row["step"]))

    def back_to(self, step: int) -> None:
        """Forget the rows of later steps."""
        self._writer.close()
        self._open(step)

    def flush(self) -> None:
        """Bring to disk what was added."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and end."""
        self._writer.close()
