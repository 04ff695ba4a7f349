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
