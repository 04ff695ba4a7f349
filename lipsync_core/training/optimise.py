"""One step down a loss, and how large it is."""

from __future__ import annotations

import math

import torch

SCHEDULES = ("constant", "cosine")
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
