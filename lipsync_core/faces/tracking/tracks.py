"""Select tracks, fill their short gaps and smooth their boxes without lag.

Works on boxes alone. `association` links boxes to tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.boxes import area
from lipsync_core.faces.track import Track
from lipsync_core.media.timestamps import FPS

MAX_GAP_FRAMES = 10
SMOOTHING_WINDOW = 9
SELECTIONS = ("largest", "longest")


def select_track(linked: Sequence[Track], choice: str = "largest") -> Track:
    """Select a track: "largest" is the one with the largest sum of areas, "longest" the one with
    the most boxes; the earlier one when two are equal.

    Raises LipsyncError for another choice.
    """
    if choice not in SELECTIONS:
        raise LipsyncError(f"track: choice {choice!r} is not known; use largest or longest")
    return max(linked, key=_size if choice == "largest" else len)


def nearest_track(linked: Sequence[Track], spot: str, width: int, height: int) -> Track:
    """The track that begins nearest to `spot`, "x,y" as fractions of `width` and `height`.

    For lists that give the speaker's position at the beginning of a clip: tracks that begin in the
    first second are preferred to later ones.
    """
    x, y = (float(part) for part in spot.split(","))
    early = [track for track in linked if track.frames[0] < FPS] or linked

    def distance(track: Track) -> float:
        box = track.boxes[0]
        return float(
            np.hypot((box[0] + box[2]) / 2 - x * width, (box[1] + box[3]) / 2 - y * height)
        )

    return min(early, key=distance)


def select_people(linked: Sequence[Track], min_frames: int) -> list[Track]:
    """The tracks of at least `min_frames` boxes: the largest first, then by their first frame.

    When all are shorter, the largest alone; empty when there is none.
    """
    main = max(linked, key=_size, default=None)
    ordered = sorted(linked, key=lambda track: track is not main)
    return [track for track in ordered if len(track) >= min_frames] or ordered[:1]


def fill_and_smooth(track: Track, max_gap: int, smooth: int) -> Track:
    """A track ready for cropping: `fill_gaps` (of up to `max_gap` frames), then `smooth_boxes`.

    smooth: frames of the smoothing window; 0 or 1 leaves the boxes as they are.
    """
    return smooth_boxes(fill_gaps(track, max_gap), smooth)


def _size(track: Track) -> float:
    return float(area(track.boxes).sum())


def fill_gaps(track: Track, max_gap: int) -> Track:
    """The track with every gap of at most `max_gap` frames interpolated linearly.

    A gap in which another face covers this one is not filled: its crops would show the other face.
    """
    if len(track) < 2:
        return track
    parts = []
    for first, after in zip(track.frames.tolist(), [*track.frames[1:].tolist(), 0], strict=True):
        fill = 0 < after - first - 1 <= max_gap
        fill = fill and track.occluded.isdisjoint(range(first + 1, after))
        parts.append(range(first, after) if fill else (first,))
    frames = np.concatenate(parts).astype(np.int32)

    def interpolated(values: np.ndarray) -> np.ndarray:
        columns = [np.interp(frames, track.frames, column) for column in values.T]
        return np.stack(columns, axis=1).astype(np.float32)

    landmarks = None if track.landmarks is None else interpolated(track.landmarks)
    return replace(track, frames=frames, boxes=interpolated(track.boxes), landmarks=landmarks)


def smooth_boxes(track: Track, window: int) -> Track:
    """The track smoothed without lag by a Savitzky-Golay filter of second order.

    The filter covers `window` frames (made odd) and runs separately over each unbroken run of
    frames of one shot. It preserves constant velocity and acceleration, which a moving average
    does not. Runs shorter than the window use the longest odd window that fits. Boxes and landmarks
    are filtered alike.
    """
    if window <= 1:
        return track
    from scipy.signal import savgol_filter  # imports slowly

    runs = track.runs()

    def filtered(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        for run in runs:
            width = min(window, len(run))
            width -= 1 - width % 2  # odd
            if width >= 3:
                order = 2 if width >= 5 else 1
                values[run] = savgol_filter(values[run].astype(np.float64), width, order, axis=0)
        return values

    landmarks = None if track.landmarks is None else filtered(track.landmarks)
    return replace(track, boxes=filtered(track.boxes), landmarks=landmarks)
