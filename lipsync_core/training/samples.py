"""Sample image of a generator: fixed windows, one a column."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.data.generator_samples import generator_batch
from lipsync_core.evaluation.generator import generate
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.files import atomic_path

ROWS = ("reference", "masked input", "generated", "ground truth")
COLUMNS = 8  # windows
LABEL_WIDTH = 104  # pixels


def write_samples(model: Wav2Lip, dataset: ClipDataset, path: str | Path, mel_offset: int) -> None:
    """Write a PNG of the middle frames of 8 windows; the rows are `ROWS`, labeled."""
    batch = generator_batch(dataset, 0, 0, COLUMNS, mel_offset)
    generated = (generate(model, batch) * 255).round().astype(np.uint8)
    masked = batch.target.copy()
    masked[:, :, dataset.image_size // 2 :] = 0
    middle = WINDOW // 2
    rows = [
        np.hstack([_label(name, dataset.image_size), *frames[:, middle]])
        for name, frames in zip(
            ROWS, (batch.reference, masked, generated, batch.target), strict=True
        )
    ]
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows))


def _label(text: str, height: int) -> np.ndarray:
    strip = np.full((height, LABEL_WIDTH, 3), 255, np.uint8)
    cv2.putText(
        strip, text, (6, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA
    )
    return strip
