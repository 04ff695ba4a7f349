"""Who comes out of a crossing where: the tracks that ended in doubt there, joined by their looks.

`linking` ends the tracks of two faces that could not be told apart for a moment. Here the pictures
just before and after such moments are compared; where they leave a doubt, the tracks stay apart.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.crops import crops_of
from lipsync_core.faces.linking import MEMORY, Track

SAMPLE = 8  # crops at an end of a track
SIDE = 24  # pixels to which they are scaled
LONG_SIDE = 480  # frames are read scaled down to this
NEVER = 1e6  # distance of what cannot be the same person
CLEAR = 0.7  # greatest distance of the same person's looks, relative to the nearest other one
PathLike = str | os.PathLike[str]


def rejoined(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int] = ()
) -> list[Track]:
    """The tracks, those of one person before and after a crossing made one; by first frame.

    cuts: first frames of shots, across which nothing is joined.

    Reads the video only where tracks ended in doubt. Raises ClipError when it cannot be read.
    """
    pairs = [
        (end, begin)
        for end, before in enumerate(tracks)
        for begin, after in enumerate(tracks)
        if before.ends_in_doubt and after.begins_in_doubt and _follows(before, after, cuts)
    ]
    if not pairs:
        return list(tracks)
    following = dict(_clear(tracks, pairs, _Looks(video_path, tracks, pairs)))
    joined = []
    for number in set(range(len(tracks))) - set(following.values()):
        chain = [number]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        joined.append(_chained([tracks[link] for link in chain]))
    return sorted(joined, key=lambda track: int(track.frames[0]))


class _Looks:
    """What the faces at the ends of tracks, and those beside them, look like."""

    def __init__(
        self, video_path: PathLike, tracks: Sequence[Track], pairs: Sequence[tuple[int, int]]
    ) -> None:
        self._tracks = tracks
        moments = {
            (number, int(tracks[at].frames[row]))
            for pair in pairs
            for at, row in zip(pair, (-1, 0), strict=True)
            for number in (at, *beside(tracks, at))
        }
        self._places = {key: place for place, key in enumerate(sorted(moments))}
        samples = [_near(tracks[number], frame) for number, frame in self._places]
        crops: list[list[np.ndarray]] = [[] for _ in samples]
        for place, _, crop in crops_of(video_path, samples, long_side=LONG_SIDE):
            small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            crops[place].append(small.astype(np.float32))
        self._crops = [np.array(own).reshape(len(own), -1) for own in crops]

    def distance(self, one: int, at: int, other: int, to: int) -> float:
        """Mean difference of two tracks' faces, around frame `at` of the one, `to` of the other.

        That of the two crops most alike: others may show half of somebody else.
        """
        first, second = (self._crops[self._places[key]] for key in ((one, at), (other, to)))
        differences = np.abs(first[:, None] - second[None]).mean(axis=2)
        return float(differences.min()) if differences.size else np.inf


def beside(tracks: Sequence[Track], number: int) -> list[int]:
    """The tracks that are seen at the same time as a track, and so are of other people."""
    first, last = tracks[number].frames[0], tracks[number].frames[-1]
    return [
        other
        for other, track in enumerate(tracks)
        if other != number and track.frames[0] <= last and first <= track.frames[-1]
    ]


def _near(track: Track, frame: int) -> Track:
    """Every other one of the boxes of a track that are nearest to a frame, SAMPLE in all."""
    nearest = np.argsort(np.abs(track.frames - frame), kind="stable")
    rows = np.sort(nearest[: 2 * SAMPLE : 2])
    return Track(track.frames[rows], track.boxes[rows])


def _follows(before: Track, after: Track, cuts: Sequence[int]) -> bool:
    end, begin = int(before.frames[-1]), int(after.frames[0])
    return 0 < begin - end <= 2 * MEMORY and not any(end < cut <= begin for cut in cuts)


def _clear(
    tracks: Sequence[Track], pairs: Sequence[tuple[int, int]], looks: _Looks
) -> list[tuple[int, int]]:
    """The pairs which look alike, clearly more so than either does to the people beside the other.

    Each track goes on in one other at most.
    """
    ends, begins = (sorted(set(side)) for side in zip(*pairs, strict=True))
    costs = np.full((len(ends), len(begins)), NEVER)
    for end, begin in pairs:
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        distance = min(looks.distance(end, at, begin, to), NEVER)
        costs[ends.index(end), begins.index(begin)] = distance
    chosen = []
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        end, begin = ends[row], begins[column]
        if costs[row, column] == NEVER:
            continue
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        rivals = [looks.distance(end, at, other, to) for other in beside(tracks, begin)]
        rivals += [looks.distance(other, at, begin, to) for other in beside(tracks, end)]
        if rivals and costs[row, column] < CLEAR * min(rivals):
            chosen.append((end, begin))
    return chosen


def _chained(parts: Sequence[Track]) -> Track:
    """One track of several; what lies between them stays a gap."""
    if len(parts) == 1:
        return parts[0]
    hidden = frozenset().union(*(part.hidden for part in parts))
    for before, after in itertools.pairwise(parts):
        hidden |= frozenset(range(int(before.frames[-1]) + 1, int(after.frames[0])))
    landmarks = [part.landmarks for part in parts]
    return Track(
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        None if any(points is None for points in landmarks) else np.concatenate(landmarks),
        hidden,
        begins_in_doubt=parts[0].begins_in_doubt,
        ends_in_doubt=parts[-1].ends_in_doubt,
    )
