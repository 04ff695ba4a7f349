"""From boxes to the speaker's track: linking over time, choosing, filling gaps, smoothing.

Works on the boxes alone; no pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.signal import savgol_filter

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.boxes import area, overlap
from lipsync_core.faces.detection import Detections

MAX_GAP = 10
SMOOTH = 9
LINK = 0.3  # lowest overlap of two boxes of one face in neighbouring frames
MEMORY = 50  # frames after which a lost face is taken for gone (2 s)


@dataclass(frozen=True)
class Track:
    """One face over time: frames int32 (m,), rising; boxes float32 (m, 4), full-size pixels."""

    frames: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def main_track(
    detections: Detections, max_gap: int = MAX_GAP, smooth: int = SMOOTH, choice: str = "largest"
) -> Track:
    """The speaker's face, gaps filled and smoothed; an empty track when there is no face.

    Parameters
    ----------
    max_gap: runs of up to this many missing frames are filled by interpolation; longer ones stay.
    smooth: frames of the smoothing window; 0 or 1 leaves the boxes as they are.
    choice: "largest" takes the track with the largest sum of areas, "longest" the one found in the
        most frames; the earlier one when two are equal.
    """
    if choice not in ("largest", "longest"):
        raise LipsyncError(f"track: choice {choice!r} is not known; use largest or longest")
    tracks = link(detections)
    if not tracks:
        return Track(np.zeros(0, np.int32), np.zeros((0, 4), np.float32))
    weight = (lambda track: area(track.boxes).sum()) if choice == "largest" else len
    return smoothed(filled(max(tracks, key=weight), max_gap), smooth)


def link(detections: Detections) -> list[Track]:
    """All tracks of a clip, in order of their first frame.

    Each frame's boxes are assigned to the tracks' latest boxes so that the sum of overlaps is
    largest (Hungarian method). A box that overlaps no track begins a new one; a track that was
    not seen for MEMORY frames is closed.
    """
    table = detections.faces
    frames = table["frame"].to_numpy(np.int64)
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
    tracks: list[list[int]] = []  # rows of the table
    latest = np.zeros(0, np.int64)  # each track's last row
    if not len(frames):
        return []
    starts = np.flatnonzero(np.diff(frames, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(frames)], strict=True):
        recent = np.flatnonzero(frames[start] - frames[latest] <= MEMORY)
        overlaps = overlap(boxes[latest[recent]], boxes[start:end])
        pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        owner = {new: recent[old] for old, new in pairs if overlaps[old, new] >= LINK}
        for new in range(end - start):
            if new in owner:
                tracks[owner[new]].append(start + new)
            else:
                tracks.append([start + new])
        latest = np.array([rows[-1] for rows in tracks])
    return [Track(frames[rows].astype(np.int32), boxes[rows]) for rows in tracks]


def filled(track: Track, max_gap: int) -> Track:
    """The track with every gap of at most `max_gap` frames interpolated linearly."""
    if len(track) < 2:
        return track
    gaps = np.diff(track.frames) - 1
    frames = np.concatenate(
        [
            np.arange(first, first + gap + 1) if gap <= max_gap else [first]
            for first, gap in zip(track.frames, [*gaps, 0], strict=True)
        ]
    ).astype(np.int32)
    boxes = [np.interp(frames, track.frames, track.boxes[:, side]) for side in range(4)]
    return Track(frames, np.stack(boxes, axis=1).astype(np.float32))


def smoothed(track: Track, window: int) -> Track:
    """The track with jitter removed, and no lag: a line or parabola fitted around each frame.

    Savitzky-Golay of second order over `window` frames (made odd), separately for each unbroken
    run of frames: it follows steady and accelerated motion exactly, where a moving average trails
    or flattens it. Runs shorter than the window use the longest odd window they have room for.
    """
    if window <= 1:
        return track
    boxes = track.boxes.copy()
    breaks = np.flatnonzero(np.diff(track.frames) > 1) + 1
    for run in np.split(np.arange(len(track)), breaks):
        width = min(window, len(run))
        width -= 1 - width % 2  # odd
        if width >= 3:
            order = 2 if width >= 5 else 1
            boxes[run] = savgol_filter(boxes[run].astype(np.float64), width, order, axis=0)
    return Track(track.frames, boxes)
