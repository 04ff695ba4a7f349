"""One step down a loss, and how large it is."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

FUSED = ("cpu", "cuda")
FLOOR = 0.01  # of the peak, at the end of the cosine


def learning_rate(
    step: int, steps: int, peak: float, schedule: str = "constant", warmup: int = 0
) -> float:
    """Learning rate of a step (from 0): linear up to `peak` over `warmup` steps, then the schedule.

    "constant" stays there; "cosine" falls along half a cosine to 1 % of it at `steps`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * share)) / 2)


def adam(
    weights: Iterable[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in one kernel for all weights where torch has it; `descend` sets the learning rate."""
    weights = list(weights)
    return torch.optim.Adam(weights, betas=betas, fused=weights[0].device.type in FUSED)


def descend(
    loss: torch.Tensor, optimizer: torch.optim.Optimizer, rate: float, clip: float = 0.0
) -> None:
    """One step of `optimizer` down `loss` at learning rate `rate`.

    clip: bound of the gradient's norm, 0 for none.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip > 0:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
