"""Weights and inputs of the golden numbers: drawn from seeds, so that only results are stored."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDEN = Path(__file__).parents[1] / "golden"


def spec() -> dict[str, list[list]]:
    """Network -> rows [key, shape, dtype] of its public state dict, in order."""
    with gzip.open(GOLDEN / "state_dict_spec.json.gz", "rt") as stream:
        return json.load(stream)


def numbers(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as archive:
        return dict(archive)


def draw_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill `model` in the order of its state dict; returns it in eval mode."""
    random = np.random.RandomState(seed)
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 0:
            continue
        z = random.standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            z = 0.5 + np.abs(z)
        elif tensor.ndim > 1:
            z = z / np.sqrt(np.prod(tensor.shape[1:]))
        elif name.endswith(".weight"):
            z = 1 + 0.1 * z
        else:
            z = 0.1 * z
        tensor.copy_(torch.from_numpy(z.astype(np.float32)))
    return model.eval()


def network_inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    random = np.random.RandomState(1000 + seed)
    draws = {
        "mel": random.standard_normal((2, 1, 80, 16)),
        "face15": random.random_sample((2, 15, 48, 96)),
        "face6": random.random_sample((2, 6, 96, 96)),
        "mel5": random.standard_normal((2, 5, 1, 80, 16)),
        "face6x5": random.random_sample((2, 6, 5, 96, 96)),
        "face3x5": random.random_sample((2, 3, 5, 96, 96)),
    }
    return {name: torch.from_numpy(draw.astype(np.float32)) for name, draw in draws.items()}


def lse_frames() -> np.ndarray:
    """uint8 (30, 224, 224, 3), blurred noise."""
    import cv2

    noise = np.random.RandomState(2000).randint(0, 256, (30, 224, 224, 3)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 9) for frame in noise])
