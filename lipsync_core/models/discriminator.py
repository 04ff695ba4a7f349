"""The visual quality discriminator: does this mouth look real? Sees single lower halves.

Knows the network only. Its losses are in `lipsync_core.training`.
"""

from __future__ import annotations

import torch
from torch import nn

from lipsync_core.models.blocks import (
    check_shape,
    check_width,
    fold_time,
    lower_half,
    plain,
    scaled,
    stages,
    steps_to_grid,
)

STEM = 32
LAYOUT = [
    [plain(STEM, 7, 1, 3)],
    [plain(64, 5, (1, 2), 2), plain(64, 5, 1, 2)],
    [plain(128, 5, 2, 2), plain(128, 5, 1, 2)],
    [plain(256, 5, 2, 2), plain(256, 5, 1, 2)],
    [plain(512, 3, 2, 1), plain(512, 3, 1, 1)],
    [plain(512, 3, 2, 1), plain(512, 3, 1, 1)],
    [plain(512, 3, 1, 0), plain(512, 1, 1, 0)],
]


class QualityDiscriminator(nn.Module):
    """Convolutions down to one probability a frame.

    `width` scales the hidden channels, `image_size` (96, 192, 288, 384) the faces; the scheme is in
    `lipsync_core.models.blocks`. The defaults are the public network (14.1 M parameters).
    """

    def __init__(self, width: float = 1.0, image_size: int = 96) -> None:
        super().__init__()
        check_width(width)
        self.width, self.image_size = width, image_size
        self.face_encoder_blocks = stages(LAYOUT, 3, width)
        self.binary_pred = nn.Sequential(nn.Conv2d(scaled(512, width), 1, 1), nn.Sigmoid())
        downscale = [[plain(STEM, *step)] for step in steps_to_grid(image_size)]
        self.face_downscale_blocks = stages(downscale, scaled(STEM, width), width)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Whole faces (B, 3, T, S, S), BGR in [0, 1] -> P(real) (T * B, 1), all of t = 0 first.

        Only the lower halves are looked at. A batch of single frames (B, 3, S, S) gives (B, 1).
        """
        check_shape("faces", faces, self.image_size, self.image_size)
        features = lower_half(fold_time(faces) if faces.ndim == 5 else faces)
        stem, *deeper = self.face_encoder_blocks
        for block in [stem, *self.face_downscale_blocks, *deeper]:
            features = block(features)
        return self.binary_pred(features).flatten(1)
