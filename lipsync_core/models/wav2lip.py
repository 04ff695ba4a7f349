"""Wav2Lip: generates the lower half of a face in sync with audio (Prajwal et al., 2020)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import nn

from lipsync_core.models.blocks import (
    Layer,
    chain,
    check_shape,
    check_width,
    conv,
    fold_time,
    residual,
    scaled,
    stages,
    steps_to_grid,
    unfold_time,
    up,
)
from lipsync_core.models.syncnet import audio_layout

STEM = 16
# At a quarter of the width, the 8 channels of the highest resolution could not carry two images.
MIN_CHANNELS = 16  # of the face encoder and decoder
FACE_ENCODER = [  # output sizes at image_size 96
    [conv(STEM, 7, 1, 3)],  # 96 x 96
    [conv(32, 3, 2, 1), *residual(32, 2)],  # 48
    [conv(64, 3, 2, 1), *residual(64, 3)],  # 24
    [conv(128, 3, 2, 1), *residual(128, 2)],  # 12
    [conv(256, 3, 2, 1), *residual(256, 2)],  # 6
    [conv(512, 3, 2, 1), *residual(512, 1)],  # 3
    [conv(512, 3, 1, 0), conv(512, 1, 1, 0)],  # 1
]
FACE_DECODER = [  # each is concatenated with the encoder features of its size
    [conv(512, 1, 1, 0)],  # 1
    [up(512, 3, 1, 0, 0), *residual(512, 1)],  # 3
    [up(512, 3, 2, 1, 1), *residual(512, 2)],  # 6
    [up(384, 3, 2, 1, 1), *residual(384, 2)],  # 12
    [up(256, 3, 2, 1, 1), *residual(256, 2)],  # 24
    [up(128, 3, 2, 1, 1), *residual(128, 2)],  # 48
    [up(64, 3, 2, 1, 1), *residual(64, 2)],  # 96
]
OUTPUT = [conv(32, 3, 1, 1)]


class Wav2Lip(nn.Module):
    """U-Net over faces with the audio embedding at its bottleneck.

    `width` scales the hidden channels, `image_size` (96, 192, 288, 384) the faces; the scheme is in
    `lipsync_core.models.blocks`. The defaults are the public network (36.3 M parameters).
    """

    def __init__(self, width: float = 1.0, image_size: int = 96) -> None:
        super().__init__()
        check_width(width)
        self.width, self.image_size = width, image_size
        steps = steps_to_grid(image_size)
        downscale = [[conv(STEM, *step), *residual(STEM)] for step in steps]
        upscale = [[up(64, *step, 3 - step.stride), *residual(64)] for step in reversed(steps)]

        face_stages = functools.partial(stages, width=width, least=MIN_CHANNELS)
        self.face_encoder_blocks = face_stages(FACE_ENCODER, 6)
        self.audio_encoder = chain(audio_layout(last_residuals=1), 1, width)
        self.face_decoder_blocks = _decoder(FACE_DECODER, FACE_ENCODER[::-1], 512, width)
        stem, last, hidden = (scaled(n, width, MIN_CHANNELS) for n in (STEM, 64, 32))
        self.output_block = nn.Sequential(
            *chain(OUTPUT, last + stem, width, MIN_CHANNELS), nn.Conv2d(hidden, 3, 1), nn.Sigmoid()
        )
        self.face_downscale_blocks = face_stages(downscale, stem)
        self.face_upscale_blocks = nn.ModuleList(
            chain(rows, last + stem, width, MIN_CHANNELS) for rows in upscale
        )

    def forward(self, mel: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """Generate faces in sync with the audio.

        mel: (B, 1, 80, 16), or (B, T, 1, 80, 16) with one window per frame.
        faces: (B, 6, S, S) or (B, 6, T, S, S), BGR in [0, 1]: channels 0-2 the frame with its lower
            half 0, channels 3-5 the reference frame.
        Returns (B, 3, S, S) or (B, 3, T, S, S), BGR in [0, 1].
        """
        check_shape("mel", mel, 1, 80, 16)
        check_shape("faces", faces, self.image_size, self.image_size)
        if faces.ndim == 5:
            batch = len(faces)
            generated = self._generate(mel.transpose(0, 1).flatten(0, 1), fold_time(faces))
            return unfold_time(generated, batch)
        return self._generate(mel, faces)

    def _generate(self, mel: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """(N, 1, 80, 16) and (N, 6, S, S) -> (N, 3, S, S)."""
        return self.decode(mel, self.encode_faces(faces))

    def encode_faces(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """Features of the faces (N, 6, S, S): one tensor (N, C, h, w) a stage, S x S to 1 x 1."""
        stages = []
        stem, *deeper = self.face_encoder_blocks
        for block in [stem, *self.face_downscale_blocks, *deeper]:
            faces = block(faces)
            stages.append(faces)
        return stages

    def decode(
        self, mel: torch.Tensor, stages: Sequence[torch.Tensor], first_row: int = 0
    ) -> torch.Tensor:
        """Images of mel windows (N, 1, 80, 16) and what `encode_faces` gives.

        first_row: rows above it are not computed. Returns (N, 3, S - first_row, S): the same rows
        as those of the whole images.
        """
        features = self.audio_encoder(mel)
        decoder = [*self.face_decoder_blocks, *self.face_upscale_blocks]
        above = 0  # rows of `features` that are left out
        for block, skip, first in zip(
            decoder, reversed(stages), _first_rows(decoder, first_row), strict=True
        ):
            features = block(features)[:, :, first - above * _stride(block) :]
            features = torch.cat((features, skip[:, :, first:]), dim=1)
            above = first
        return self.output_block(features)[:, :, first_row - above :]


def _first_rows(decoder: Sequence[nn.Sequential], first_row: int) -> list[int]:
    """First row of each stage's output that the rows of the image from `first_row` on depend on."""
    rows = []
    first = max(0, first_row - 1)  # the output block sees a row beyond
    for block in reversed(decoder):
        rows.append(first)
        step, *residuals = (layer.conv_block[0] for layer in block)
        # Without the rows above, these rows of the (transposed) convolution would be wrong.
        wrong = step.kernel_size[0] - step.stride[0] - step.padding[0] if first else 0
        first = max(0, (first - len(residuals) - wrong) // step.stride[0])
    return rows[::-1]


def _stride(block: nn.Sequential) -> int:
    return block[0].conv_block[0].stride[0]


def _decoder(
    decoder: list[list[Layer]], skips: list[list[Layer]], in_channels: int, width: float
) -> nn.ModuleList:
    """Decoder stages; each takes the output of the one before, concatenated with its skip."""
    in_channels = scaled(in_channels, width, MIN_CHANNELS)
    blocks = nn.ModuleList()
    for rows, skip in zip(decoder, skips, strict=True):
        blocks.append(chain(rows, in_channels, width, MIN_CHANNELS))
        in_channels = sum(scaled(row[-1].channels, width, MIN_CHANNELS) for row in (rows, skip))
    return blocks
