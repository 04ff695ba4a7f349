"""The moving average of a network's weights while it is trained."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights and statistics, for `update_parameters`.

    decay: the weight, in (0, 1), of what is averaged so far in each update. The first updates count
    for more, (1 + n) / (10 + n) for an average of n (the rule of TensorFlow), so that the random
    start is soon forgotten.
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
