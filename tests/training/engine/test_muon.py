"""Muon: kernels turn by steps of equal size, all else is Adam."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lipsync_core.training.engine import muon
from lipsync_core.training.engine.muon import KERNEL_LR_SCALE, Muon, orthogonalize


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalize_matrices_have_equal_singular_values(shape):
    # Four small directions and four large ones.
    left, values, right = torch.linalg.svd(random(*shape), full_matrices=False)
    values = torch.linspace(0.1, 1, len(values))
    found = torch.linalg.svdvals(orthogonalize(left @ torch.diag(values) @ right))
    assert found.min() > 0.4 and found.max() < 1.3
    same = orthogonalize(random(*shape)), orthogonalize(100 * random(*shape))
    assert torch.allclose(*same, atol=1e-3)


def test_a_zero_gradient_changes_no_weight():
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_a_kernels_step_does_not_depend_on_the_size_of_its_gradient():
    moved = []
    for size in (1e-3, 1e3):
        kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
        kernel.grad = size * random(8, 4, 3, 3)
        Muon([kernel], lr=0.01).step()
        moved.append(kernel.detach())
    assert torch.allclose(moved[0], moved[1], atol=1e-4)
    largest = torch.linalg.matrix_norm(moved[0].flatten(1), 2).item()
    assert largest == pytest.approx(0.01 * KERNEL_LR_SCALE, rel=0.3)


def test_large_kernels_are_orthogonalized_in_bfloat16_where_set(monkeypatch):
    used = []
    turn = muon.orthogonalize
    monkeypatch.setattr(muon, "MIN_BF16_SIZE", 20)
    monkeypatch.setattr(muon, "orthogonalize", lambda m: used.append(m.dtype) or turn(m))
    for precision in ("float32", "bf16"):
        kernels = [nn.Parameter(torch.zeros(*shape)) for shape in ((3, 4), (4, 6))]
        for kernel in kernels:
            kernel.grad = random(*kernel.shape)
        Muon(kernels, lr=0.01, precision=precision).step()
        assert kernels[1].dtype == torch.float32 and kernels[1].abs().max() > 0.01
    assert used == [torch.float32] * 3 + [torch.bfloat16]


def test_vectors_and_scalars_take_the_steps_of_adam():
    ours, theirs = nn.Parameter(random(7)), nn.Parameter(random(7))
    optimizer = Muon([ours], lr=0.01)
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99))
    for seed in range(5):
        ours.grad, theirs.grad = random(7, seed=seed), random(7, seed=seed)
        optimizer.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_restored_optimizer_continues_exactly():
    def run(steps, weights, optimizer):
        for seed in steps:
            for weight in weights:
                weight.grad = random(*weight.shape, seed=seed)
            optimizer.step()

    def fresh():
        weights = [nn.Parameter(random(4, 6)), nn.Parameter(random(4))]
        return weights, Muon(weights, lr=0.01)

    whole, optimizer = fresh()
    run(range(6), whole, optimizer)
    first, optimizer = fresh()
    run(range(3), first, optimizer)
    second, later = fresh()
    for weight, earlier in zip(second, first, strict=True):
        weight.data.copy_(earlier.data)
    later.load_state_dict(optimizer.state_dict())
    run(range(3, 6), second, later)
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
