"""Building blocks of the networks: turns tables of layers into torch modules.

Keeps the public parameter names (`conv_block.0.*` the convolution, `conv_block.1.*` the batch
norm). The tables are in the modules of the networks.

Sizes of SyncNet, generator and discriminator
---------------------------------------------
`width` multiplies every hidden channel count of the public network, rounded to a multiple of 8
and at least 8 (`scaled`), or 16 in the generator's face encoder and decoder. Inputs and outputs
(mel, images, probability) keep their channels; the embedding is a hidden layer and has
`scaled(512, width)` numbers. Width 1.0 is the public network.

`image_size` S wraps the public 96 x 96 network, whose tensors keep their names and shapes:

    encoders: image -> stem (the public first layer) -> `face_downscale_blocks` -> public rest
    decoder:  public up to the 96 grid -> `face_upscale_blocks` -> public output block

    S    strides  kernels    The stem processes the image at full resolution, the strided blocks
    96   none     none       reduce its features to the 96 grid. In the generator transposed
    192  2        3          convolutions with skip connections reverse them. The kernel is
    288  3        5          2 * stride - 1 with padding 1: windows overlap, n becomes n / stride
    384  2, 2     3, 3       exactly, and the kernels of a checkpoint tell its size.

With S = 96 both lists are empty: exactly the public network, key for key. At any other size a
public checkpoint initializes all but the lists (`checkpoints.load_weights(..., strict=False)`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from lipsync_core.errors import LipsyncError

Pair = int | tuple[int, int]

STRIDES_TO_GRID: dict[int, tuple[int, ...]] = {96: (), 192: (2,), 288: (3,), 384: (2, 2)}
"""image_size -> strides of the blocks between the image and the 96 x 96 grid."""


@dataclass(frozen=True)
class Layer:
    """One row of a layout: a convolution with what follows it.

    kind: "conv" (Conv2d, batch norm, ReLU), "up" (ConvTranspose2d, batch norm, ReLU) or
        "plain" (Conv2d, LeakyReLU(0.01), no norm).
    channels: output channels of the public network, before `width`.
    residual: the input is added before the activation.
    """

    kind: str
    channels: int
    kernel: Pair
    stride: Pair = 1
    padding: Pair = 0
    output_padding: Pair = 0
    residual: bool = False


Layout = Sequence[Layer]


conv, up, plain = (functools.partial(Layer, kind) for kind in ("conv", "up", "plain"))


def residual(channels: int, times: int = 1) -> list[Layer]:
    """Rows: `times` 3 x 3 convolutions that keep the shape and add their input."""
    return times * [Layer("conv", channels, 3, 1, 1, residual=True)]


class Block(nn.Module):
    """The module of one row. (B, in_channels, H, W) -> (B, out_channels, H', W')."""

    def __init__(self, layer: Layer, in_channels: int, out_channels: int) -> None:
        super().__init__()
        shape = (in_channels, out_channels, layer.kernel, layer.stride, layer.padding)
        if layer.kind == "up":
            modules = [nn.ConvTranspose2d(*shape, layer.output_padding)]
        else:
            modules = [nn.Conv2d(*shape)]
        if layer.kind != "plain":
            modules.append(nn.BatchNorm2d(out_channels))
            # Batch norm cancels a bias: its gradient is rounding noise, which Adam would scale to
            # full steps.
            modules[0].bias.requires_grad_(False)
        self.conv_block = nn.Sequential(*modules)
        # In place: no layer before the activation needs its own output for the gradient.
        self.activation = (
            nn.LeakyReLU(0.01, inplace=True) if layer.kind == "plain" else nn.ReLU(inplace=True)
        )
        self.residual = layer.residual

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result = self.conv_block(features)
        return self.activation(result + features if self.residual else result)


def scaled(channels: int, width: float, least: int = 8) -> int:
    """Hidden `channels` of the public network at `width`: a multiple of 8, at least `least`."""
    return max(least, 8 * int(channels * width / 8 + 0.5))


def chain(layout: Layout, in_channels: int, width: float, least: int = 8) -> nn.Sequential:
    """The blocks of `layout` in sequence; `in_channels` is not scaled by `width`."""
    blocks = []
    for layer in layout:
        out_channels = scaled(layer.channels, width, least)
        blocks.append(Block(layer, in_channels, out_channels))
        in_channels = out_channels
    return nn.Sequential(*blocks)


def stages(
    layouts: Sequence[Layout], in_channels: int, width: float, least: int = 8
) -> nn.ModuleList:
    """One `chain` per layout; each takes the output of the one before."""
    chains = nn.ModuleList()
    for layout in layouts:
        chains.append(chain(layout, in_channels, width, least))
        in_channels = scaled(layout[-1].channels, width, least)
    return chains


class Step(NamedTuple):
    """Kernel, stride and padding of one block between the image and the 96 x 96 grid."""

    kernel: int
    stride: int
    padding: int


def steps_to_grid(image_size: int) -> list[Step]:
    """The steps from an `image_size` image down to the 96 x 96 grid (see the module docstring).

    Raises LipsyncError for a size that is not 96, 192, 288 or 384.
    """
    if image_size not in STRIDES_TO_GRID:
        choices = ", ".join(map(str, STRIDES_TO_GRID))
        raise LipsyncError(f"image_size {image_size}: not supported; choose one of {choices}")
    return [Step(2 * stride - 1, stride, 1) for stride in STRIDES_TO_GRID[image_size]]


def check_width(width: float) -> None:
    """Raise LipsyncError unless `width` is a positive number."""
    if not 0 < width < float("inf"):
        raise LipsyncError(f"width {width}: not supported; choose a number above 0 (public: 1.0)")


def check_shape(name: str, tensor: torch.Tensor, *shape: int) -> None:
    """Raise ValueError unless the last dimensions of `tensor` are `shape`."""
    if tensor.shape[-len(shape) :] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected (..., {wanted}), got {tuple(tensor.shape)}")


def fold_time(frames: torch.Tensor) -> torch.Tensor:
    """(B, C, T, H, W) -> (T * B, C, H, W), frame-major: all of t = 0 first."""
    return frames.permute(2, 0, 1, 3, 4).flatten(0, 1)


def unfold_time(frames: torch.Tensor, batch: int) -> torch.Tensor:
    """(T * B, C, H, W), frame-major -> (B, C, T, H, W); undoes `fold_time`."""
    return frames.unflatten(0, (-1, batch)).permute(1, 2, 0, 3, 4)


def lower_half(faces: torch.Tensor) -> torch.Tensor:
    """(..., S, S) -> (..., S / 2, S): the lower half, with the mouth; a view."""
    return faces[..., faces.shape[-2] // 2 :, :]
