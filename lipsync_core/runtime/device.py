"""Selection of the torch device."""

from __future__ import annotations

import torch

from lipsync_core.errors import LipsyncError


def pick(name: str = "auto") -> torch.device:
    """The torch device called `name`; "auto" is the first available GPU, else the CPU.

    Raises LipsyncError when there is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LipsyncError(
            f"device {name!r}: this torch ({torch.__version__}) finds no GPU; "
            "install a CUDA build of torch, or set `device: auto` in config/config.yaml"
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise LipsyncError(f"device {name!r}: give auto, cpu, cuda, cuda:1 or mps") from error


def cpu_has_bf16(device: torch.device) -> bool:
    """Whether `device` is a CPU that multiplies bfloat16 in hardware (AMX or AVX-512 BF16)."""
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
