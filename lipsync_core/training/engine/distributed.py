"""Multi-process training: each rank computes its shard of every batch (torch.distributed).

Without a process group (`launch` starts one) every function here is the identity. All ranks take
the same steps and decisions; only rank 0 evaluates, writes files and logs. Small values are
exchanged on the CPU (gloo), gradients on their device (nccl on GPUs, gloo elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

Value = TypeVar("Value")


def world_size() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main_process() -> bool:
    """Whether this is rank 0, which evaluates, writes files and logs."""
    return rank() == 0


def shard_batch(number: int, size: int) -> tuple[int, int]:
    """Number and size of this rank's shard of batch `number` of `size` samples.

    Batch n of size s holds samples n * s .. n * s + s - 1. A shard is itself a batch, of a smaller
    size; the shards of all ranks are together the whole batch, in order.
    """
    return number * world_size() + rank(), size // world_size()


def barrier() -> None:
    """Return when all ranks have called this."""
    all_reduce_max(0)


def broadcast_from_rank0(make: Callable[[], Value]) -> Value:
    """What `make` returns in rank 0, which alone calls it."""
    if world_size() == 1:
        return make()
    box = [make() if is_main_process() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]  # type: ignore[return-value]


def all_reduce_max(number: int) -> int:
    """The maximum of `number` over all ranks."""
    if world_size() == 1:
        return number
    agreed = torch.tensor(number)
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    return int(agreed)


def mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scalars by name, each averaged over the ranks."""
    if world_size() == 1 or not values:
        return values
    together = torch.stack([value.float() for value in values.values()])
    dist.all_reduce(together)
    return dict(zip(values, (together / world_size()).unbind(), strict=True))


def average_gradients(weights: Iterable[nn.Parameter], parts: int = 1) -> None:
    """Replace gradients, sums over `parts` micro-batches, by the mean over those of all ranks."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    scale = 1 / (parts * world_size())
    if world_size() > 1 and gradients:
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        pieces = together.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
    if scale < 1:
        torch._foreach_mul_(gradients, scale)


def sync_batchnorm(network: nn.Module) -> nn.Module:
    """Make batch norms take their statistics over the batch of all ranks; returns the network.

    Parameters, buffers and their names stay as they are.
    """
    if world_size() > 1:
        for layer in network.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = GlobalBatchNorm2d
    return network


class _Sum(torch.autograd.Function):
    """Differentiable sum over the ranks: its gradient is the sum of the gradients of all ranks."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, part: torch.Tensor) -> torch.Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        return whole


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all ranks, on any device; see `sync_batchnorm`.

    torch's own SyncBatchNorm needs a GPU. Equal numbers of samples in all ranks.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape and type; statistics in float32."""
        if not self.training:
            return super().forward(features)
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        size = features.numel() // features.shape[1] * world_size()
        mean = _Sum.apply(wide.sum((0, 2, 3))) / size
        centered = wide - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum((0, 2, 3))) / size
        if self.track_running_stats:
            self._update_running_stats(mean.detach(), variance.detach() * (size / max(1, size - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        result = centered * scale[:, None, None] + self.bias[:, None, None]
        return result.to(features.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
