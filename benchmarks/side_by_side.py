"""A labeled picture: mouths by several generators beside the reference and the ground truth.

Each column is the middle frame of a validation window, each row one source of frames: the
reference, the ground truth, then each checkpoint with its figures over all windows. Below each
face its mouth, enlarged. The same windows for all checkpoints, a pure function of the data.

    python benchmarks/side_by_side.py --results results --checkpoints before.pth after.pth \
        --labels before after --out picture.png [--split val] [--columns 6] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.checkpoints import build_from
from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.data.generator_samples import generator_batch
from lipsync_core.evaluation import mouth
from lipsync_core.evaluation.appearance import Appearance
from lipsync_core.evaluation.generator import generate
from lipsync_core.faces.mouth_region import region
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime import threads
from lipsync_core.runtime.files import atomic_path

CELL, GAP, LABEL = 144, 4, 148  # pixels
ZOOM = (0.5, 0.98, 0.14, 0.86)  # top, bottom, left, right of the enlarged part, of the face
BLACK = (0, 0, 0)


def cell(frame: np.ndarray) -> np.ndarray:
    """A face uint8 (S, S, 3) with its mouth enlarged below: (height, CELL, 3)."""
    detail = region(frame[None], ZOOM)[0]
    height = round(CELL * detail.shape[0] / detail.shape[1])
    face = cv2.resize(frame, (CELL, CELL), interpolation=cv2.INTER_CUBIC)
    # Pixels stay visible: stripes and blur are what one looks for.
    enlarged = cv2.resize(detail, (CELL, height), interpolation=cv2.INTER_NEAREST)
    return np.vstack([face, np.full((GAP, CELL, 3), 255, np.uint8), enlarged])


def labeled_row(lines: list[str], frames: np.ndarray) -> np.ndarray:
    """A row of cells behind lines of text. frames: uint8 (n, S, S, 3)."""
    cells = [cell(frame) for frame in frames]
    strip = np.full((len(cells[0]), LABEL, 3), 255, np.uint8)
    for number, text in enumerate(lines):
        size = 0.5 if number == 0 else 0.4
        where = (6, 24 + 20 * number)
        cv2.putText(strip, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, BLACK, 1, cv2.LINE_AA)
    border = [(0, 0), (GAP, 0), (0, 0)]
    padded = [np.pad(picture, border, constant_values=255) for picture in cells]
    return np.pad(
        np.hstack([strip, *padded]), [(0, 3 * GAP), (0, GAP), (0, 0)], constant_values=255
    )


def figures(frames: np.ndarray, gt: np.ndarray) -> list[str]:
    """What is written beside a generator's frames, both uint8 (B, 5, S, S, 3)."""
    measured = Appearance()
    flat = [windows.reshape(-1, *windows.shape[2:]) for windows in (frames, gt)]
    measured.add(*flat)
    found = measured.result()
    colors = " ".join(f"{found[f'color_shift_{channel}']:+.1f}" for channel in "bgr")
    return [
        f"L1 of the mouth {mouth.l1(*flat):.4f}",
        f"sharpness {found['sharpness_ratio']:.2f}",
        f"stripes {found['stripes']:.2f}",
        f"b g r {colors}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="prepared data")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", help="of the checkpoints; default: their folders")
    parser.add_argument("--out", type=Path, required=True, help="a .png or .jpg file")
    parser.add_argument("--split", default="val")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    threads.limit(options.threads)
    labels = options.labels or [path.resolve().parent.name for path in options.checkpoints]
    models = [build_from(path, Wav2Lip) for path in options.checkpoints]
    corpus = ClipDataset.load(options.results, options.split, models[0].image_size)
    batch = generator_batch(corpus, options.seed, 0, options.columns)
    middle = WINDOW // 2
    rows = [
        labeled_row(["reference"], batch.reference[:, middle]),
        labeled_row(["ground truth"], batch.target[:, middle]),
    ]
    for label, model in zip(labels, models, strict=True):
        frames = (generate(model, batch) * 255).round().astype(np.uint8)
        lines = [label, *figures(frames, batch.target)]
        rows.append(labeled_row(lines, frames[:, middle]))
    with atomic_path(options.out) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows))


if __name__ == "__main__":
    main()
