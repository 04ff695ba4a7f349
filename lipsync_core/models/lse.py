"""SyncNet of "Out of time" (Chung and Zisserman, 2016), the network of LSE-D and LSE-C.

The same keys as `syncnet_v2.model`. The scores are in `lipsync_core.evaluation.lse`.
"""

from __future__ import annotations

import torch
from torch import nn

# (output channels, kernel, stride, padding) and ("pool", kernel, stride, padding)
AUDIO_LAYOUT = [
    (64, 3, 1, 1),
    ("pool", 1, 1, 0),
    (192, 3, 1, 1),
    ("pool", 3, (1, 2), 0),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
    ("pool", 3, 2, 0),
    (512, (5, 4), 1, 0),
]
LIP_LAYOUT = [
    (96, (5, 7, 7), (1, 2, 2), 0),
    ("pool", (1, 3, 3), (1, 2, 2), 0),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
    ("pool", (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    (256, (1, 3, 3), 1, (0, 1, 1)),
    (256, (1, 3, 3), 1, (0, 1, 1)),
    (256, (1, 3, 3), 1, (0, 1, 1)),
    ("pool", (1, 3, 3), (1, 2, 2), 0),
    (512, (1, 6, 6), 1, 0),
]
FEATURES = 1024


class LseSyncNet(nn.Module):
    """Features of lips and audio with LSE-D as Euclidean distance. A fixed network, for eval mode.

    Without `width` and `image_size`: scores of another size would not be comparable.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _convolutions(AUDIO_LAYOUT, 1, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _convolutions(LIP_LAYOUT, 3, nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)

    def encode_audio(self, mfcc: torch.Tensor) -> torch.Tensor:
        """MFCC windows (B, 1, 13, 20) -> features (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def encode_faces(self, faces: torch.Tensor) -> torch.Tensor:
        """Face crops (B, 3, T, 224, 224), BGR 0..255, T >= 5 -> features (B * (T - 4), 1024).

        5 consecutive frames are one window. Only the first layer connects frames, so a long track
        gives the features of all its windows without repeating each frame five times.
        """
        windows = self.netcnnlip(faces).movedim(2, 1).flatten(0, 1).flatten(1)
        return self.netfclip(windows)

    def forward(self, mfcc: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """MFCC (B, 1, 13, 20) and faces (B, 3, 5, 224, 224) -> audio (B, 1024), face (B, 1024)."""
        return self.encode_audio(mfcc), self.encode_faces(faces)


def _convolutions(
    layout: list[tuple],
    in_channels: int,
    conv: type[nn.Module],
    norm: type[nn.Module],
    pool: type[nn.Module],
) -> nn.Sequential:
    """Convolution, batch norm and ReLU per row, or a pooling; numbered as in the public model."""
    modules: list[nn.Module] = []
    for channels, kernel, stride, padding in layout:
        if channels == "pool":
            modules.append(pool(kernel, stride, padding))
            continue
        modules += [conv(in_channels, channels, kernel, stride, padding), norm(channels)]
        modules.append(nn.ReLU(inplace=True))
        in_channels = channels
    return nn.Sequential(*modules)


def _head() -> nn.Sequential:
    """(B, 512) -> (B, 1024)."""
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True), nn.Linear(512, FEATURES)
    )
