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
LAST = -2  # layer with weights of the output block
BYTES_PER_PIXEL = 2048  # of activations: float32, 80 + 64 + 64 channels and the engine's own


class TorchEngine:
    """Runs the `Wav2Lip` of a checkpoint; see `generators.load_generator`."""

    def __init__(self, checkpoint: PathLike, device: str = "auto", precision: str = "auto") -> None:
        self._device = pick(device)
        network = fold_batch_norm(build_from(checkpoint, Wav2Lip))
        self.image_size = network.image_size
        if precision == "auto":
            precision = "bf16" if cpu_has_bf16(self._device) else "float32"
        if precision == "bf16":
            network = to_bf16(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self.name = f"torch {self._device} {precision}"
        self.batch_size = _batch_size(self._device, self.image_size)
        self._still: np.ndarray | None = None  # the face of which `_stages` are the features
        self._stages: list[torch.Tensor] = []

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """See `generators.Engine`."""
        with torch.inference_mode():
            generated = self._network.decode(self._tensor(mels[:, None]), self._encoded(faces))
            return generated.permute(0, 2, 3, 1).cpu().numpy()

    def _encoded(self, faces: np.ndarray) -> list[torch.Tensor]:
        """Features of the faces; those of a still are computed once, and again for more frames."""
        if not _all_equal(faces):
            return self._network.encode_faces(self._tensor(faces))
        same = self._still is not None and np.array_equal(self._still, faces[0])
        if not same or len(self._stages[0]) < len(faces):
            self._still = faces[0].copy()
            once = self._network.encode_faces(self._tensor(faces[:1]))
            # Copies: with views of one frame the concatenations cost what was saved.
            self._stages = [stage.repeat(len(faces), 1, 1, 1) for stage in once]
        return [stage[: len(faces)] for stage in self._stages]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self._device)
        return tensor.contiguous(memory_format=torch.channels_last)


class Float32(nn.Module):
    """A part of a bfloat16 network that computes in float32 and gives `dtype`."""

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part, self.dtype = part, dtype

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.part(features.float()).to(self.dtype)


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


def to_bf16(network: Wav2Lip) -> Wav2Lip:
    """Compute in bfloat16, but for the ends of the network; inputs and outputs stay float32.

    The first layer of the faces, the audio encoder (4 % of the work) and the last layer compute in
    float32: the worst value of 192 frames is then 1.9 of 255 away from float32,
    with all layers in bfloat16 4.8 (docs/log.md). In place; returns the network.
    """
    stem, audio, output = (
        network.face_encoder_blocks[0],
        network.audio_encoder,
        network.output_block,
    )
    kept = {id(layer) for part in (stem, audio, output[LAST]) for layer in part.modules()}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and id(layer) not in kept:
            layer.to(torch.bfloat16)
    network.face_encoder_blocks[0] = Float32(stem, torch.bfloat16)
    network.audio_encoder = Float32(audio, torch.bfloat16)
    output[LAST] = Float32(output[LAST], torch.float32)
    return network


def _all_equal(faces: np.ndarray) -> bool:
    return np.array_equal(faces[0], faces[-1]) and bool((faces == faces[:1]).all())


def _batch_size(device: torch.device, image_size: int) -> int:
    if device.type == "cpu":
        return CPU_BATCH
    if device.type != "cuda":
        return GPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(GPU_BATCH, max(1, FREE_SHARE * free // (BYTES_PER_PIXEL * image_size**2))))
