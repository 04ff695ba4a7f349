"""The track of one face over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """The boxes of one face in the frames of a video.

    frames: int32 (m,), rising. boxes: float32 (m, 4), full-size pixels.
    landmarks: float32 (m, 10), x, y of five points; None from a detector without landmarks.
    occluded: frames without a box in which another face covers this one, or may do so.
    ambiguous_start, ambiguous_end: the track begins or ends at a crossing with another face, so
        that another track may show the same person before or after; see `reidentification`.
    cuts: first frames of all shots of the video but the first. A track may span several shots;
        measures over several frames must not span a cut.
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
        """Frames from its first to its last one, without the shots that have none of its boxes."""
        first, last = int(self.frames[0]), int(self.frames[-1])
        edges = [first, *(cut for cut in self.cuts if first < cut <= last), last + 1]
        counts, _ = np.histogram(self.frames, edges)
        return int(np.diff(edges)[counts > 0].sum())

    def runs(self) -> list[np.ndarray]:
        """Its rows, split at missing frames and at cuts: int (k,) each."""
        shot = np.searchsorted(self.cuts, self.frames, "right")
        breaks = np.flatnonzero((np.diff(self.frames) > 1) | (np.diff(shot) > 0)) + 1
        return np.split(np.arange(len(self)), breaks)
