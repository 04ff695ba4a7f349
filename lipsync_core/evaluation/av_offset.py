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


def window_distances(
    faces: torch.Tensor,
    audio: torch.Tensor,
    rows: np.ndarray | None = None,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.pairwise_distance,
) -> np.ndarray:
    """Distance of each face window to the audio at each of `SHIFTS`: float32 (N, 31).

    faces: (N, D) and audio: (M, D), embeddings of windows. rows: int64 (N, 31), the row of `audio`
    for each face window and shift, -1 where there is none, which gives nan. By default `audio` has
    N + 30 rows, and face window i is in sync with row i + 15.
    """
    if rows is None:
        rows = np.arange(len(faces))[:, None] + SHIFTS + MAX_SHIFT
    found = np.full((len(faces), len(SHIFTS)), np.nan, np.float32)
    for index, column in enumerate(torch.from_numpy(rows).T):
        present = column >= 0
        if present.any():
            at, of = present.to(faces.device), column[present].to(audio.device)
            found[present.numpy(), index] = distance(faces[at], audio[of]).cpu().numpy()
    return found


def mean_distances(distances: np.ndarray) -> np.ndarray:
    """Mean over windows: float32 (N, 31) -> (31,); nan where less than half of them have audio."""
    present = ~np.isnan(distances)
    sums = np.nansum(distances, axis=0, dtype=np.float64)
    enough = 2 * present.sum(axis=0) >= len(distances)
    return np.where(enough, sums / np.maximum(present.sum(axis=0), 1), np.nan).astype(np.float32)


def summarize(distances: np.ndarray) -> AvOffset:
    """Offset and confidence from the distances of windows, float32 (N, 31), nan for none.

    A shift counts if at least half of the windows have audio; of equal mean distances the smaller
    offset wins.
    """
    means = mean_distances(distances)
    best = int(best_shift(means))
    return AvOffset(
        offset=int(-SHIFTS[best]),
        distance=float(means[best]),
        confidence=float(np.nanmedian(means) - means[best]),
        distances=means,
    )


def best_shift(means: np.ndarray) -> np.ndarray:
    """Index into `SHIFTS` of the smallest value, float (..., 31) -> int64 (...); nan never wins."""
    nearest = np.argsort(np.abs(SHIFTS), kind="stable")
    return nearest[np.where(np.isnan(means), np.inf, means)[..., nearest].argmin(axis=-1)]


def av_offset(
    faces: torch.Tensor,
    audio: torch.Tensor,
    rows: np.ndarray | None = None,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.pairwise_distance,
) -> AvOffset:
    """Offset and confidence of embeddings, see `window_distances` and `summarize`."""
    return summarize(window_distances(faces, audio, rows, distance))
