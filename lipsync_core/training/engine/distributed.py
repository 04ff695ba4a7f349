"""Several processes, one training: every rank computes a share of each batch.

Knows torch.distributed and nothing of networks or files. In a single process, and that is where no
process group was started (`launch` starts one), every function here is the identity.

All ranks take the same steps and decisions; the first one alone evaluates, writes and speaks. Small
values that the processes agree on travel on the CPU (gloo), gradients where they are (nccl on GPUs,
gloo elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

Value = TypeVar("Value")


def count() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def index() -> int:
    """Which rank this process is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def first() -> bool:
    """True in the rank that evaluates, writes and speaks."""
    return index() == 0


def share(number: int, size: int) -> tuple[int, int]:
    """This rank's part of batch `number` of `size` samples: number and size of a smaller batch.

    Samples are numbered through all batches. Cut into `count` parts each, the batches are batches
    of the same stream, and the ranks' parts together are the whole batch, in order.
    """
    return number * count() + index(), size // count()


def wait() -> None:
    """Go on when all ranks have come here."""
    highest(0)


def of_first(make: Callable[[], Value]) -> Value:
    """What `make` returns in the first rank, which alone calls it."""
    if count() == 1:
        return make()
    box = [make() if first() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]  # type: ignore[return-value]


def highest(number: int) -> int:
    """The highest `number` of all ranks."""
    if count() == 1:
        return number
    agreed = torch.tensor(number)
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    return int(agreed)


def mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scalars by name, each averaged over the ranks."""
    if count() == 1 or not values:
        return values
    together = torch.stack([value.float() for value in values.values()])
    dist.all_reduce(together)
    return dict(zip(values, (together / count()).unbind(), strict=True))


def average_gradients(weights: Iterable[nn.Parameter], parts: int = 1) -> None:
    """Replace gradients, sums over `parts` micro-batches, by the mean over those of all ranks."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    share_of_one = 1 / (parts * count())
    if count() > 1 and gradients:
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        pieces = together.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
    if share_of_one < 1:
        torch._foreach_mul_(gradients, share_of_one)


def join(network: nn.Module) -> nn.Module:
    """Let batch norms take their statistics over the batch of all ranks; returns the network.

    Parameters, buffers and their names stay as they are.
    """
    if count() > 1:
        for layer in network.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = GlobalBatchNorm2d
    return network


class _Sum(torch.autograd.Function):
    """Sum over the ranks, with the gradient of what all of them do with it."""

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
    """Batch norm over the batch of all ranks, on any device; see `join`.

    torch's own SyncBatchNorm needs a GPU. Equal numbers of samples in all ranks.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape and type; statistics in float32."""
        if not self.training:
            return super().forward(features)
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        size = features.numel() // features.shape[1] * count()
        mean = _Sum.apply(wide.sum((0, 2, 3))) / size
        centred = wide - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / size
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * (size / max(1, size - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        result = centred * scale[:, None, None] + self.bias[:, None, None]
        return result.to(features.dtype)

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
