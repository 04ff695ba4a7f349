"""Patch discriminator: which patches of the lower half of a face are real (Isola et al., 2017).

It sees the lower half at its full size and classifies patches of about half its height, so that
skin, lips and teeth count one by one and not the face as a whole.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from lipsync_core.models.blocks import check_shape, check_width, fold_time, lower_half, scaled

STEM = 64
MIN_CHANNELS = 24  # of the first layer
SLOPE = 0.2  # of the leaky ReLU


class PatchDiscriminator(nn.Module):
    """Convolutions without normalization down to a map of logits.

    `width` scales the channels; each doubling of `image_size` over 96 adds a layer of stride 2.
    """

    def __init__(self, width: float = 1.0, image_size: int = 96) -> None:
        super().__init__()
        check_width(width)
        self.width, self.image_size = width, image_size
        first = scaled(STEM, width, MIN_CHANNELS)
        strided = 3 + int(math.log2(image_size / 96))
        channels = [first, *(min(4, 2 ** (step + 1)) * first for step in range(strided))]
        self.layers = nn.ModuleList([nn.Conv2d(3, first, 3, 1, 1)])
        for below, above in itertools.pairwise(channels):
            self.layers.append(nn.Conv2d(below, above, 4, 2, 1))
        self.logits = nn.Conv2d(channels[-1], 1, 3, 1, 1)

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of patches, above 0 for real ones, and the features of each layer.

        faces: whole faces (B, 3, T, S, S), BGR in [0, 1]. Returns (T * B, 1, h, w), all of t = 0
        first, and tensors (T * B, C, H, W).
        """
        check_shape("faces", faces, self.image_size, self.image_size)
        return self.classify(lower_half(fold_time(faces)))

    def classify(self, halves: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same of lower halves (N, 3, S / 2, S)."""
        current, features = 2 * halves - 1, []
        for layer in self.layers:
            current = F.leaky_relu(layer(current), SLOPE)
            features.append(current)
        return self.logits(current), features
