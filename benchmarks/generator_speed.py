"""Speed of the generator at inference, and how far its faces are from float32.

    python -m benchmarks.generator_speed [--threads 2] [--rounds 7] [--batch 16] [--checkpoint F]

Engines take turns in one process, on random faces and weights (of the golden numbers) or on those
of a checkpoint; "public" is the network of the public code: float32, batch norm, contiguous. The
table has the least milliseconds a frame, the median over the rounds of the ratio to "public", and
the largest and the mean difference to it in levels of 255. Claim: "bf16", the default where the
processor has it, is at least 2 times as fast at the public size, within 2 levels, 0.3 in the mean.
"seen rows": the lower half alone, which is what a dubbing shows (but with `blend: hard`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from lipsync_core.checkpoints import build_from, save_public
from lipsync_core.dubbing.compositor import seen_from
from lipsync_core.dubbing.generator_input import inference_input
from lipsync_core.dubbing.generators import load_generator
from lipsync_core.dubbing.onnx_export import export_onnx
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime import threads
from tests.support.golden_recipe import draw_weights

SEEN, STILL = "bf16, seen rows", "bf16, a still"
SIZES = ((1.0, 96), (0.25, 96), (1.0, 192))
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


def inputs(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mel windows, and smooth random faces with the lower half hidden."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    smooth = (cv2.GaussianBlur(each, (0, 0), 3).astype(np.float32) for each in noise)
    crops = [np.clip(4 * (each - 128) + 128, 0, 255).astype(np.uint8) for each in smooth]
    mels = np.clip(random.normal(0, 2, (count, 80, 16)), -4, 4).astype(np.float32)
    return mels, inference_input(crops, size)


def public(checkpoint: Path) -> Run:
    """The network as it is in the public code."""
    network = build_from(checkpoint, Wav2Lip)

    def run(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            generated = network(torch.from_numpy(mels[:, None]), torch.from_numpy(faces))
        return generated.numpy().transpose(0, 2, 3, 1)

    return run


def engines(checkpoint: Path, folder: Path) -> dict[str, Run]:
    """Name -> what generates; the first is the public one."""
    export_onnx(checkpoint, folder / "generator.onnx")
    bf16 = load_generator(checkpoint, "cpu", "bf16").generate
    seen = seen_from("soft", enhanced=False)

    def still(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        return bf16(mels, np.repeat(faces[:1], len(mels), axis=0))

    return {
        "public": public(checkpoint),
        "float32": load_generator(checkpoint, "cpu", "float32").generate,
        "bf16": bf16,
        SEEN: load_generator(checkpoint, "cpu", "bf16", seen_from=seen).generate,
        STILL: still,
        "onnxruntime": load_generator(folder / "generator.onnx").generate,
    }


def compare(checkpoint: Path, title: str, batch: int, rounds: int) -> float:
    """Print the table of one network; return the ratio of "bf16"."""
    with tempfile.TemporaryDirectory() as folder:
        runs = engines(checkpoint, Path(folder))
        mels, faces = inputs(batch, build_from(checkpoint, Wav2Lip).image_size)
        seconds = {name: [] for name in runs}
        results = {}
        for number in range(rounds + 1):  # the first one warms up
            for name, run in runs.items():
                start = time.perf_counter()
                results[name] = run(mels, faces)
                if number:
                    seconds[name].append(time.perf_counter() - start)
    print(f"\n{title}, {batch} frames at a time, {torch.get_num_threads()} threads")
    print(f"{'engine':16} {'ms a frame':>10} {'ratio':>6} {'worst':>6} {'mean':>6}")
    ratios = {}
    for name, taken in seconds.items():
        ratios[name] = float(np.median(np.divide(seconds["public"], taken)))
        error = 255 * np.abs(results[name] - results["public"])
        if name == STILL:
            error = np.zeros(1)  # other faces
        elif name == SEEN:
            error = error[:, error.shape[1] // 2 :]
        figures = f"{1000 * min(taken) / batch:10.2f} {ratios[name]:6.2f}"
        print(f"{name:16} {figures} {error.max():6.2f} {error.mean():6.3f}")
    return ratios["bf16"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--checkpoint", type=Path, help="instead of random weights of three sizes")
    options = parser.parse_args()
    threads.limit(options.threads)
    if options.checkpoint:
        compare(options.checkpoint, str(options.checkpoint), options.batch[0], options.rounds)
        return 0
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        for width, size in SIZES:
            with torch.no_grad():
                save_public(path, draw_weights(Wav2Lip(width, size)))
            for batch in options.batch:
                title = f"width {width:g}, {size} pixels"
                ratios[width, size, batch] = compare(path, title, batch, options.rounds)
    return 0 if all(ratios[1.0, 96, batch] >= 2 for batch in options.batch) else 1


if __name__ == "__main__":
    sys.exit(main())
