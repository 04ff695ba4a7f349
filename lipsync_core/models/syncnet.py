"""SyncNet: embeddings of five frames and of audio, close if they are in sync.

The public "SyncNet color", the sync expert of Wav2Lip (Prajwal et al., 2020).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from lipsync_core.models.blocks import (
    Layer,
    chain,
    check_shape,
    check_width,
    conv,
    residual,
    scaled,
    stages,
    steps_to_grid,
)

STEM = 32
FACE_LAYOUT = [
    conv(STEM, 7, 1, 3),
    *[conv(64, 5, (1, 2), 1), *residual(64, 2)],
    *[conv(128, 3, 2, 1), *residual(128, 3)],
    *[conv(256, 3, 2, 1), *residual(256, 2)],
    *[conv(512, 3, 2, 1), *residual(512, 2)],
    *[conv(512, 3, 2, 1), conv(512, 3, 1, 0), conv(512, 1, 1, 0)],
]
FEATURE_LAYERS = (0, 1, 3, 6)  # of `FACE_LAYOUT`: images of S, S / 2 and S / 4 pixels


def audio_layout(last_residuals: int) -> list[Layer]:
    """Rows from a mel window (1, 80, 16) to (512, 1, 1); the generator has one residual fewer."""
    return [
        *[conv(32, 3, 1, 1), *residual(32, 2)],
        *[conv(64, 3, (3, 1), 1), *residual(64, 2)],
        *[conv(128, 3, 3, 1), *residual(128, 2)],
        *[conv(256, 3, (3, 2), 1), *residual(256, last_residuals)],
        *[conv(512, 3, 1, 0), conv(512, 1, 1, 0)],
    ]


class SyncNet(nn.Module):
    """Audio and face encoder into one embedding space.

    `width` scales the hidden channels, `image_size` (96, 192, 288, 384) the faces; the scheme is in
    `lipsync_core.models.blocks`. The defaults are the public network (16.4 M parameters).

    Embeddings have D = scaled(512, width) numbers >= 0 (outputs of a ReLU) and length 1, so their
    cosine is in [0, 1].
    """

    def __init__(self, width: float = 1.0, image_size: int = 96) -> None:
        super().__init__()
        check_width(width)
        self.width, self.image_size = width, image_size
        self.face_encoder = chain(FACE_LAYOUT, 15, width)
        self.audio_encoder = chain(audio_layout(last_residuals=2), 1, width)
        downscale = [[conv(STEM, *step)] for step in steps_to_grid(image_size)]
        self.face_downscale_blocks = stages(downscale, scaled(STEM, width), width)

    def encode_audio(self, mel: torch.Tensor) -> torch.Tensor:
        """Mel windows (B, 1, 80, 16) -> unit embeddings (B, D)."""
        check_shape("mel", mel, 1, 80, 16)
        return F.normalize(self.audio_encoder(mel).flatten(1), dim=1)

    def encode_faces(self, faces: torch.Tensor) -> torch.Tensor:
        """Lower halves of 5 frames (B, 15, S / 2, S), BGR in [0, 1] -> unit embeddings (B, D).

        The channels are frame-major: b, g, r of the first frame, then of the second.
        """
        check_shape("faces", faces, 15, self.image_size // 2, self.image_size)
        features = self.face_encoder[0](faces)
        for block in self.face_downscale_blocks:
            features = block(features)
        return F.normalize(self.face_encoder[1:](features).flatten(1), dim=1)

    def face_features(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """Features of the first layers, (B, C, H, W) each, of what `encode_faces` takes."""
        check_shape("faces", faces, 15, self.image_size // 2, self.image_size)
        features = [self.face_encoder[0](faces)]
        current = features[0]
        for block in self.face_downscale_blocks:
            current = block(current)
        for index in range(1, FEATURE_LAYERS[-1] + 1):
            current = self.face_encoder[index](current)
            if index in FEATURE_LAYERS:
                features.append(current)
        return features

    def forward(self, mel: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mel (B, 1, 80, 16) and faces (B, 15, S / 2, S) -> audio (B, D), face (B, D)."""
        return self.encode_audio(mel), self.encode_faces(faces)
