"""One step down a loss, in one or several processes, and how large it is."""

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


def micro_batches(batch: Sequence[np.ndarray], parts: int) -> Iterator[Any]:
    """The batch (arrays, or a named tuple of them) in `parts` parts along their first axes.

    Every `parts`-th sample belongs together: so the micro-batches of all ranks are, together, those
    of a single process, and so are the statistics of batch norm.

    Raises LipsyncError when that is not possible without a rest.
    """
    if len(batch[0]) % parts:
        raise LipsyncError(
            f"accumulate: {parts} parts of a batch of {len(batch[0])} are not equally large"
        )
    kind = getattr(type(batch), "_make", tuple)
    return (kind(array[part::parts] for array in batch) for part in range(parts))


def mean(reports: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each of the scalars that micro-batches report under the same names."""
    if len(reports) == 1:
        return reports[0]
    return {name: torch.stack([report[name] for report in reports]).mean() for name in reports[0]}


def compiled(model: nn.Module, wanted: bool) -> Callable[..., Any]:
    """What computes a model's training steps: the model, or torch's compiled form of it.

    The compiled form shares the weights and stays out of checkpoints; evaluations use the model.
    """
    return torch.compile(model, dynamic=False) if wanted else model


def descend(
    losses: torch.Tensor | Iterable[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    rate: float,
    clip: float = 0.0,
) -> None:
    """One step of `optimizer` at learning rate `rate` down a loss, averaged over all ranks.

    losses: a scalar, or those of micro-batches, whose mean counts; each is asked for when the one
    before has given its gradient, so that one of them is in memory at a time. clip: bound of the
    gradient's norm, 0 for none.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    parts = 0
    for loss in [losses] if isinstance(losses, torch.Tensor) else losses:
        loss.backward()
        parts += 1
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    distributed.average_gradients(weights, parts)
    if clip > 0:
        torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
