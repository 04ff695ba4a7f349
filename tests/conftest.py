from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two test processes on two cores must not start four threads each.
os.environ.setdefault("OMP_NUM_THREADS", "2")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="module")
def one_thread():
    """One torch thread: with tiny networks more of them only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
