"""Audio-visual offset: distances of face and audio embeddings over relative shifts.

Source: Chung and Zisserman, "Out of time" (2016). Used by LSE-D/LSE-C, by active speaker detection
and by the search for clips that are out of sync.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

MAX_SHIFT = 15  # frames, in both directions
SHIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)


class AvOffset(NamedTuple):
    """Offset of a face track in frames of 40 ms, and how clear it is.

    offset: -15..15, the shift with the smallest mean distance; 0 is in sync, above 0 the video is
        late. A constant offset does not change the other two values.
    distance: smallest mean distance; lower is better (LSE-D, about 6.5 on real speech).
    confidence: median minus smallest mean distance; higher is better (LSE-C, about 8).
    distances: float32 (31,), mean distance with the audio shifted by -15..15 frames, nan where too
        few windows have audio; the offset is 15 minus the index of the smallest.
    """

    offset: int
    distance: float
    confidence: float
    distances: np.ndarray


def cosine_distance(faces: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
    """1 - cosine of unit embeddings: (N, D), (N, D) -> (N,)."""
    return 1 - (faces * audio).sum(dim=1)


def av_offset(
    faces: torch.Tensor,
    audio: torch.Tensor,
    rows: np.ndarray | None = None,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.pairwise_distance,
) -> AvOffset:
    """Offset and confidence of embeddings of face windows (N, D) and audio windows (M, D).

    rows: int64 (N, 31), the row of `audio` for each face window and shift, -1 where there is none.
    By default `audio` has N + 30 rows, and face window i is in sync with row i + 15.
    A shift counts if at least half of the face windows have audio; of equal distances the smaller
    offset wins.
    """
    if rows is None:
        rows = np.arange(len(faces))[:, None] + SHIFTS + MAX_SHIFT
    means = torch.full((len(SHIFTS),), torch.nan)
    for index, column in enumerate(torch.from_numpy(rows).T):
        present = column >= 0
        if 2 * present.sum() >= len(faces):
            at = present.to(faces.device)
            means[index] = distance(faces[at], audio[column[present].to(audio.device)]).mean()
    nearest = np.argsort(np.abs(SHIFTS), kind="stable")
    best = nearest[means.nan_to_num(torch.inf).numpy()[nearest].argmin()]
    return AvOffset(
        offset=int(-SHIFTS[best]),
        distance=float(means[best]),
        confidence=float(means.nanmedian() - means[best]),
        distances=means.numpy(),
    )
