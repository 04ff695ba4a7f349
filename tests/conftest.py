from __future__ import annotations

import os
from pathlib import Path

import pytest

from lipsync_core.runtime.allocator import keep_freed_memory

# Two test processes on two cores must not start four threads each, or only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
keep_freed_memory()

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


# Modules of a minute or more begin first, so that no process is left alone with one at the end.
LONG = ("test_killed", "test_snakefile", "test_distributed", "test_tasks", "test_people")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests: those of long modules first, otherwise as they were."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))
