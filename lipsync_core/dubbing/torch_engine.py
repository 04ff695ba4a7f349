"""The generator of a checkpoint under torch: batch norm folded, channels last, bfloat16."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lipsync_core.checkpoints import build_from
from lipsync_core.models import Wav2Lip
from lipsync_core.models.blocks import Block
from lipsync_core.runtime.device import cpu_has_bf16, pick
from lipsync_core.runtime.files import PathLike

CPU_BATCH = 16  # frames; more at a time are no faster on a CPU
WORKER_BATCH = 12  # frames of a worker, where there are several
MAX_WORKERS = 16  # of which each has some 8 frames of the largest batch
GPU_BATCH = 128
FREE_SHARE = 0.5  # of a GPU's free memory that a batch may take
MARGIN = 3  # rows above those seen that scaling the face looks at
LAST = -2  # layer with weights of the output block
BYTES_PER_PIXEL = 2048  # of activations: float32, 80 + 64 + 64 channels and the engine's own


class TorchEngine:
    """Runs the `Wav2Lip` of a checkpoint; see `generators.load_generator`."""

    def __init__(
        self,
        checkpoint: PathLike,
        device: str = "auto",
        precision: str = "auto",
        seen_from: float = 0.0,
    ) -> None:
        self._device = pick(device)
        network = fold_batch_norm(build_from(checkpoint, Wav2Lip))
        self.image_size = network.image_size
        self._first_row = max(0, int(seen_from * network.image_size) - MARGIN)
        if precision == "auto":
            precision = "bf16" if cpu_has_bf16(self._device) else "float32"
        if precision == "bf16":
            network = to_bf16(network)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self.name = f"torch {self._device} {precision}"
        on_cpu = self._device.type == "cpu"
        count = min(MAX_WORKERS, torch.get_num_threads()) if on_cpu else 1
        self._workers = _workers(count) if count > 1 else None
        self._parts = count
        self.batch_size = _batch_size(self._device, self.image_size, count)
        self._still: np.ndarray | None = None  # the face of which `_stages` are the features
        self._stages: list[torch.Tensor] = []

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """See `generators.Engine`."""
        size = -(-len(faces) // self._parts)
        still = self._encode_still(faces[0], size) if _all_equal(faces) else None
        parts = [slice(first, first + size) for first in range(0, len(faces), size)]
        if self._workers is None or len(parts) == 1:
            return np.concatenate([self._part(mels[part], faces[part], still) for part in parts])
        jobs = [self._workers.submit(self._part, mels[part], faces[part], still) for part in parts]
        return np.concatenate([job.result() for job in jobs])

    @torch.inference_mode()
    def _part(
        self, mels: np.ndarray, faces: np.ndarray, still: list[torch.Tensor] | None
    ) -> np.ndarray:
        """`run`; still: features of the face that all frames show, None where they differ."""
        if still is None:
            stages = self._network.encode_faces(self._tensor(faces))
        else:
            stages = [stage[: len(faces)] for stage in still]
        first = self._first_row
        generated = np.empty((len(faces), *faces.shape[2:], 3), np.float32)
        generated[:, :first] = faces[:, :3, :first].transpose(0, 2, 3, 1)
        decoded = self._network.decode(self._tensor(mels[:, None]), stages, first)
        generated[:, first:] = decoded.permute(0, 2, 3, 1).cpu().numpy()
        return generated

    @torch.inference_mode()
    def _encode_still(self, face: np.ndarray, count: int) -> list[torch.Tensor]:
        """Features of one face for `count` frames; computed again for another one or for more."""
        same = self._still is not None and np.array_equal(self._still, face)
        if not same or len(self._stages[0]) < count:
            self._still = face.copy()
            once = self._network.encode_faces(self._tensor(face[None]))
            # Copies: with views of one frame the concatenations cost what was saved.
            self._stages = [stage.repeat(count, 1, 1, 1) for stage in once]
        return self._stages

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
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                *(convolution.weight, convolution.bias),
                *(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),
                transpose=isinstance(convolution, nn.ConvTranspose2d),
            )
            block.conv_block = nn.Sequential(convolution)
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


def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that compute parts of a batch, each with one thread of torch.

    The threads of one convolution wait for each other after every layer, which costs much where
    decoding and encoding take their cores; parts of a batch wait once (docs/log.md).
    """
    usual = torch.get_num_threads()
    together = threading.Barrier(count)  # starts all of them now
    pool = ThreadPoolExecutor(count, "generator", initializer=_one_thread)
    list(pool.map(lambda _: together.wait(), range(count)))
    torch.set_num_threads(usual)  # the number of this thread, and of those that others start
    return pool


def _one_thread() -> None:
    torch.get_num_threads()  # a thread's first call takes over the number of the others
    torch.set_num_threads(1)


def _batch_size(device: torch.device, image_size: int, workers: int) -> int:
    if device.type == "cpu":
        return max(CPU_BATCH, WORKER_BATCH * workers)
    if device.type != "cuda":
        return GPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(GPU_BATCH, max(1, FREE_SHARE * free // (BYTES_PER_PIXEL * image_size**2))))
