"""Conversion of the arrays of `lipsync_core.data.dataset` to the inputs of the networks."""

from __future__ import annotations

import numpy as np
import torch

from lipsync_core.models.blocks import lower_half


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array as a tensor on `device`, with its dtype (frames as uint8: fewer bytes to copy)."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def stack_window(frames: torch.Tensor) -> torch.Tensor:
    """SyncNet input from lower halves: uint8 (N, 5, H, S, 3) -> float32 (N, 15, H, S) in [0, 1].

    Channels are frame-major: b, g, r of the first frame, then of the second. The result is
    channels-last in memory, which is faster to convolve.
    """
    count, steps, height, width, colors = frames.shape
    last = frames.permute(0, 2, 3, 1, 4).reshape(count, height, width, steps * colors)
    return last.permute(0, 3, 1, 2).float() / 255


def to_planes(frames: torch.Tensor) -> torch.Tensor:
    """uint8 (B, T, S, S, 3) -> float32 (B, 3, T, S, S) in [0, 1]."""
    return frames.permute(0, 4, 1, 2, 3).float() / 255


def generator_input(target: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(B, 3, T, S, S) twice -> (B, 6, T, S, S): target with its lower half 0, then reference."""
    masked = target.clone()
    lower_half(masked).zero_()
    return torch.cat((masked, reference), dim=1)


def syncnet_input(faces: torch.Tensor) -> torch.Tensor:
    """SyncNet input from generated windows: (B, 3, 5, S, S) -> lower halves (B, 15, S/2, S)."""
    return lower_half(faces).transpose(1, 2).flatten(1, 2)
