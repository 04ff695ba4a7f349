"""Optimizer steps (single- or multi-process), gradient accumulation, learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lipsync_core.errors import LipsyncError
from lipsync_core.training.engine import distributed

FUSED = ("cpu", "cuda")
MIN_LR_RATIO = 0.01  # of the peak, at the end of the cosine


def learning_rate(
    step: int, steps: int, peak: float, schedule: str = "constant", warmup_steps: int = 0
) -> float:
    """Learning rate of a step (from 0): linear up to `peak` over the warm-up, then the schedule.

    "constant" stays at the peak; "cosine" falls along half a cosine to 1 % of it at `steps`.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return peak * (MIN_LR_RATIO + (1 - MIN_LR_RATIO) * (1 + math.cos(math.pi * progress)) / 2)


def adam(
    weights: Iterable[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam, fused where torch supports it; `optimizer_step` sets the learning rate."""
    weights = list(weights)
    return torch.optim.Adam(weights, betas=betas, fused=weights[0].device.type in FUSED)


def micro_batches(batch: Sequence[np.ndarray], parts: int) -> Iterator[Any]:
    """The batch (arrays, or a named tuple of them) in `parts` parts along their first axes.

    Part p takes every `parts`-th sample from p on, so the micro-batches of all ranks together, and
    their batch-norm statistics, are those of a single process.

    Raises LipsyncError when the parts are not equally large.
    """
    if len(batch[0]) % parts:
        raise LipsyncError(
            f"grad_accumulation: a batch of {len(batch[0])} does not divide into {parts} parts"
        )
    kind = getattr(type(batch), "_make", tuple)
    return (kind(array[part::parts] for array in batch) for part in range(parts))


def mean_metrics(reports: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each scalar that micro-batches report under the same names."""
    if len(reports) == 1:
        return reports[0]
    return {name: torch.stack([report[name] for report in reports]).mean() for name in reports[0]}


def detached(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The scalars without their graphs, which would keep activations in memory."""
    return {name: value.detach() for name, value in losses.items()}


def maybe_compile(model: nn.Module, wanted: bool) -> Callable[..., Any]:
    """The model compiled by torch if `wanted`, else the model itself.

    The compiled form shares the weights and stays out of checkpoints; evaluations use the model.
    """
    return torch.compile(model, dynamic=False) if wanted else model


def optimizer_step(
    optimizer: torch.optim.Optimizer, lr: float, grad_clip: float = 0.0, parts: int = 1
) -> None:
    """One step at learning rate `lr` with the gradients in place, averaged over all ranks.

    parts: micro-batches whose gradients were summed. grad_clip: bound of the gradient norm, 0 for
    none.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    distributed.average_gradients(weights, parts)
    if grad_clip > 0:
        torch.nn.utils.clip_grad_norm_(weights, grad_clip)
    optimizer.step()
