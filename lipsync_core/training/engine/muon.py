"""Muon: steps of equal size in all directions for the kernels, Adam for the other weights.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). The
gradient of a kernel, seen as a matrix (outputs x inputs), has few large directions and many small
ones; at the start those small ones are what lips and sound have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

KERNEL_STEP = 10.0  # a kernel's step in relation to Adam's at the same learning rate
ITERATIONS = 4
QUINTIC = (3.4445, -4.7750, 2.0315)  # brings singular values from 0.01 .. 1 to about 1
EPSILON = 1e-7
LARGE = 1 << 18  # numbers of a kernel from which bfloat16 pays (public size: a third of the time)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix, about, whose singular values are all 1: (m, n) -> (m, n), same type."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + EPSILON)
    linear, cubic, quintic = QUINTIC
    for _ in range(ITERATIONS):
        square = wide @ wide.T
        wide = linear * wide + (cubic * square + quintic * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions, Adam for vectors and scalars.

    The learning rate is Adam's; kernels go `KERNEL_STEP` times as far. momentum: of the kernels'
    gradients; betas: Adam's. precision: of the products for large kernels, "float32" or "bf16".
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
        precision: str = "float32",
    ) -> None:
        self.precision = precision
        weights = list(weights)
        kernels = [weight for weight in weights if weight.ndim > 1]
        others = [weight for weight in weights if weight.ndim < 2]
        groups = [{"params": group} for group in (kernels, others) if group]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step down the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if weight.ndim > 1:
                    self._turn(weight, group["lr"], group["momentum"])
                else:
                    self._adapt(weight, group["lr"], group["betas"])
        return loss

    def _turn(self, weight: torch.Tensor, rate: float, momentum: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        average = state["momentum"].mul_(momentum).add_(weight.grad)
        ahead = weight.grad.add(average, alpha=momentum).flatten(1)  # Nesterov's
        shape = ahead.shape
        if self.precision == "bf16" and ahead.numel() >= LARGE:
            ahead = ahead.bfloat16()
        step = orthogonalised(ahead).float() * max(1.0, shape[0] / shape[1]) ** 0.5
        weight.add_(step.reshape(weight.shape), alpha=-rate * KERNEL_STEP)

    def _adapt(self, weight: torch.Tensor, rate: float, betas: tuple[float, float]) -> None:
        state = self.state[weight]
        if not state:
            state["first"], state["second"] = torch.zeros_like(weight), torch.zeros_like(weight)
            state["steps"] = 0
        state["steps"] += 1
        first = state["first"].lerp_(weight.grad, 1 - betas[0])
        second = state["second"].lerp_(weight.grad.square(), 1 - betas[1])
        bias = [1 - beta ** state["steps"] for beta in betas]
        weight.addcdiv_(first, (second / bias[1]).sqrt().add_(1e-8), value=-rate / bias[0])
