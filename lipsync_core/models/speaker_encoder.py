"""Speaker encoder: an LSTM that maps 1.6 s of speech to a voice embedding.

Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, in the sizes of
the public weights of Resemblyzer (Apache-2.0): the names of the tensors are theirs.
"""

from __future__ import annotations

import torch
from torch import nn

MEL_BANDS, SIZE, LAYERS = 40, 256, 3


class SpeakerEncoder(nn.Module):
    """Mel spectrograms -> embeddings of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MEL_BANDS, SIZE, LAYERS, batch_first=True)
        self.linear = nn.Linear(SIZE, SIZE)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """float32 (N, T, 40) power mel spectrograms -> (N, 256), none of them negative."""
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
