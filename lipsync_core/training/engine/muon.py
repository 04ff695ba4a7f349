"""Muon (Jordan et al., 2024) for convolution kernels, Adam for the other weights.

Muon orthogonalizes the momentum of each kernel, as a matrix (outputs x inputs): all directions get
steps of equal size. `torch.optim.Muon` accepts 2-D weights only, which kernels are not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

KERNEL_LR_SCALE = 10.0  # learning rate of kernels relative to that of Adam
ITERATIONS = 4
QUINTIC = (3.4445, -4.7750, 2.0315)  # brings singular values from 0.01 .. 1 to about 1
EPSILON = 1e-7
MIN_BF16_SIZE = 1 << 18  # weights of a kernel from which bf16 is faster (public size: by 3)


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Approximate the nearest matrix with singular values of 1: (m, n) -> (m, n), same dtype.

    Newton-Schulz iteration with the coefficients of the paper.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + EPSILON)
    linear, cubic, quintic = QUINTIC
    for _ in range(ITERATIONS):
        square = wide @ wide.T
        wide = linear * wide + (cubic * square + quintic * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions, Adam for vectors and scalars.

    lr: of Adam; kernels have `KERNEL_LR_SCALE` times as much. momentum: of the kernels' gradients;
    betas: of Adam. precision: of the products for large kernels, "float32" or "bf16".
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
    def step(self) -> None:
        """One step for all weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if weight.ndim > 1:
                    self._muon_step(weight, group["lr"], group["momentum"])
                else:
                    self._adam_step(weight, group["lr"], group["betas"])

    def _muon_step(self, weight: torch.Tensor, lr: float, momentum: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        average = state["momentum"].mul_(momentum).add_(weight.grad)
        update = weight.grad.add(average, alpha=momentum).flatten(1)  # Nesterov
        shape = update.shape
        if self.precision == "bf16" and update.numel() >= MIN_BF16_SIZE:
            update = update.bfloat16()
        step = orthogonalize(update).float() * max(1.0, shape[0] / shape[1]) ** 0.5
        weight.add_(step.reshape(weight.shape), alpha=-lr * KERNEL_LR_SCALE)

    def _adam_step(self, weight: torch.Tensor, lr: float, betas: tuple[float, float]) -> None:
        state = self.state[weight]
        if not state:
            state["first"], state["second"] = torch.zeros_like(weight), torch.zeros_like(weight)
            state["steps"] = 0
        state["steps"] += 1
        first = state["first"].lerp_(weight.grad, 1 - betas[0])
        second = state["second"].lerp_(weight.grad.square(), 1 - betas[1])
        bias = [1 - beta ** state["steps"] for beta in betas]
        weight.addcdiv_(first, (second / bias[1]).sqrt().add_(1e-8), value=-lr / bias[0])
