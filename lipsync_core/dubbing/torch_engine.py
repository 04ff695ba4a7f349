"""The generator of a checkpoint under torch: batch norm folded, channels last, bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lipsync_core.checkpoints import build_from
from lipsync_core.models import Wav2Lip
from lipsync_core.models.blocks import Block
from lipsync_core.runtime.device import cpu_has_bf16, pick
from lipsync_core.runtime.files import PathLike

CPU_BATCH = 16  # frames; more at a time are no faster on a CPU
GPU_BATCH = 128
FREE_SHARE = 0.5  # of a GPU's free memory that a batch may take
BYTES_PER_PIXEL = 2048  # of activations: float32, 80 + 64 + 64 channels and the engine's own


class TorchEngine:
    """Runs the `Wav2Lip` of a checkpoint; see `generators.load_generator`."""

    def __init__(self, checkpoint: PathLike, device: str = "auto", precision: str = "auto") -> None:
        self._device = pick(device)
        network = build_from(checkpoint, Wav2Lip)
        self.image_size = network.image_size
        self._dtype = _dtype(precision, self._device)
        self._network = fold_batch_norm(network).to(
            self._device, self._dtype, memory_format=torch.channels_last
        )
        precision = "float32" if self._dtype == torch.float32 else "bf16"
        self.name = f"torch {self._device} {precision}"
        self.batch_size = _batch_size(self._device, self.image_size)

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """See `generators.Engine`."""
        with torch.inference_mode():
            generated = self._network(self._tensor(mels[:, None]), self._tensor(faces))
            return generated.permute(0, 2, 3, 1).float().cpu().numpy()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self._device, self._dtype)
        return tensor.contiguous(memory_format=torch.channels_last)


def fold_batch_norm(network: Wav2Lip) -> Wav2Lip:
    """Fold the batch norm of each block of a network in eval mode into its convolution; in place.

    The same function with fewer passes over the features. Returns the network.
    """
    for block in network.modules():
        if isinstance(block, Block) and len(block.conv_block) == 2:
            convolution, norm = block.conv_block
            transpose = isinstance(convolution, nn.ConvTranspose2d)
            block.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose))
    return network.requires_grad_(False)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "bf16" if cpu_has_bf16(device) else "float32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _batch_size(device: torch.device, image_size: int) -> int:
    if device.type == "cpu":
        return CPU_BATCH
    if device.type != "cuda":
        return GPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(GPU_BATCH, max(1, FREE_SHARE * free // (BYTES_PER_PIXEL * image_size**2))))
