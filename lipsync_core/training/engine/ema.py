"""Exponential moving average (EMA) of a network's weights during training."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def ema_model(model: nn.Module, decay: float) -> AveragedModel:
    """EMA of a model's weights and batch-norm statistics; call its `update_parameters` each step.

    decay: the weight, in (0, 1), of the average before each update. Update n uses at most
    (1 + n) / (10 + n) (the rule of TensorFlow), so that the random start soon has no weight.
    """
    averaged = AveragedModel(model, use_buffers=True)

    @torch.no_grad()
    def update(old: list[torch.Tensor], new: list[torch.Tensor], _: torch.Tensor) -> None:
        # Counted by the model's own buffer, which stays on the CPU: no step waits for a GPU.
        count = int(averaged.n_averaged)
        kept = min(decay, (1 + count) / (10 + count))
        if old[0].is_floating_point():
            torch._foreach_lerp_(old, new, 1 - kept)
        else:  # the counters of batch norm
            torch._foreach_copy_(old, new)

    averaged.multi_avg_fn = update
    return averaged
