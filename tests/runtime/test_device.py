from __future__ import annotations

import pytest
import torch

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import device, threads


def test_names():
    assert device.pick("cpu") == torch.device("cpu")
    assert device.pick("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["gpu", "banana"])
def test_unknown_device_is_one_line(name):
    with pytest.raises(LipsyncError, match="give auto, cpu, cuda"):
        device.pick(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_says_what_to_do():
    with pytest.raises(LipsyncError, match="finds no GPU"):
        device.pick("cuda")


def test_thread_limit():
    before = torch.get_num_threads()
    threads.limit(1)
    assert torch.get_num_threads() == 1
    threads.limit(before)
