"""The visual quality discriminator: real or generated? Classifies the lower halves of frames."""

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
    """Convolutions down to one probability per frame.

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

        Only the lower halves are used. A batch of single frames (B, 3, S, S) gives (B, 1).
        """
        check_shape("faces", faces, self.image_size, self.image_size)
        features = lower_half(fold_time(faces) if faces.ndim == 5 else faces)
        stem, *deeper = self.face_encoder_blocks
        for block in [stem, *self.face_downscale_blocks, *deeper]:
            features = block(features)
        return self.binary_pred(features).flatten(1)


INIT_LOGIT_STD = 0.3  # standard deviation of the initial logits: no classification is certain


@torch.no_grad()
def data_dependent_init(
    discriminator: QualityDiscriminator, faces: torch.Tensor
) -> QualityDiscriminator:
    """Data-dependent initialization of the discriminator (Salimans and Kingma, 2016); returns it.

    torch's default shrinks the signal in every layer: after 13 layers without normalization the
    output is the same for all inputs, and training needs thousands of steps to change that. Here
    the output of each layer has mean 0 and variance 1 over a batch.

    faces: real and generated faces, (B, 3, T, S, S) in [0, 1].
    """

    def normalize(layer: nn.Conv2d, _: object, out: torch.Tensor) -> torch.Tensor:
        mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)) + 1e-4
        layer.weight.div_(deviation[:, None, None, None])
        layer.bias.sub_(mean).div_(deviation)
        return (out - mean[:, None, None]) / deviation[:, None, None]

    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=0.01, nonlinearity="leaky_relu")
        nn.init.zeros_(layer.bias)
    hooks = [layer.register_forward_hook(normalize) for layer in layers]
    discriminator(faces)
    for hook in hooks:
        hook.remove()
    for last in discriminator.binary_pred[0].parameters():
        last.mul_(INIT_LOGIT_STD)
    return discriminator
