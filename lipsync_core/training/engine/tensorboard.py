"""Metrics and previews of a run for TensorBoard: `tensorboard --logdir results/.runs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

PREVIEW = "preview"  # tag of the image of an evaluation


class TensorBoard:
    """Writes each number of a row under its column's name, into event files in `folder`.

    step: the step that the run is at. TensorBoard drops rows of later steps, which an earlier
    process wrote and did not save.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._open(step)

    def _open(self, step: int) -> None:
        # Imported here, because it takes longer than all other imports.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self._folder, purge_step=step + 1)

    def add(self, row: Mapping[str, float | str], image: np.ndarray | None = None) -> None:
        """Add a row, which has its `step`, and an image, uint8 (H, W, 3) BGR."""
        for name, value in row.items():
            if name != "step" and not isinstance(value, str):
                self._writer.add_scalar(name, value, int(row["step"]))
        if image is not None:
            rgb = np.ascontiguousarray(image[..., ::-1])
            self._writer.add_image(PREVIEW, rgb, int(row["step"]), dataformats="HWC")

    def back_to(self, step: int) -> None:
        """Drop the rows of later steps."""
        self._writer.close()
        self._open(step)

    def flush(self) -> None:
        """Write to disk what was added."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
