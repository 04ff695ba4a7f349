"""The track of one face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """One face over time.

    frames: int32 (m,), rising. boxes: float32 (m, 4), full-size pixels.
    landmarks: float32 (m, 10), x, y of five points; None from a detector without landmarks.
    hidden: frames without a box in which another face covers this one, or may do so.
    ambiguous_start, ambiguous_end: it met another face there, was covered by it or could no longer
        be told from it, so that another track may show the same person before, or after; see
        `reidentification`.
    cuts: first frames of all shots of the video but the first: a track of several shots goes on
        after them, but nothing that is measured over several frames may reach across.
    """

    frames: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray | None = None
    occluded: frozenset[int] = frozenset()
    ambiguous_start: bool = False
    ambiguous_end: bool = False
    cuts: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def num_frames(self) -> int:
        """Frames from its first to its last one, without the shots in which it is not seen."""
        first, last = int(self.frames[0]), int(self.frames[-1])
        edges = [first, *(cut for cut in self.cuts if first < cut <= last), last + 1]
        counts, _ = np.histogram(self.frames, edges)
        return int(np.diff(edges)[counts > 0].sum())

    def runs(self) -> list[np.ndarray]:
        """Its rows, parted where a frame is missing and at cuts: int (k,) each."""
        shot = np.searchsorted(self.cuts, self.frames, "right")
        breaks = np.flatnonzero((np.diff(self.frames) > 1) | (np.diff(shot) > 0)) + 1
        return np.split(np.arange(len(self)), breaks)
