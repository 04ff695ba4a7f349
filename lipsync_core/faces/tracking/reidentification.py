"""Whose face it is before and after a crossing, a cut or a long absence: told by its looks.

`association` ends the tracks of two faces that could not be told apart for a moment, and all tracks
at a cut. Here the pictures of the tracks are compared; where they leave a doubt, the tracks stay
apart.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.crops import Style, crops_of
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.association import MEMORY

SAMPLE = 8  # crops at an end of a track
SIDE = 24  # pixels to which they are scaled
LONG_SIDE = 480  # frames are read scaled down to this
NEVER = 1e6  # distance of what cannot be the same person
CLEAR = 0.7  # greatest distance of the same person's looks, relative to the nearest other one
# Greatest distance (mean difference of 255) at which tracks of two shots show the same person. On
# 128 real clips of 80 speakers that of two people is 19.9 at least, in 8,000 pairs; that of a
# clip's parts, half a second apart, is below 18 for 95 %.
ALIKE = 18.0
MARGIN = 0.2  # around the face, with hair and collar; without them two people come as near as 15
BRIEF = 5  # boxes; shorter tracks have too few looks
MOST = 256  # tracks compared, the longest ones: all pairs of more take minutes
PathLike = str | os.PathLike[str]


def rejoined(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int] = ()
) -> list[Track]:
    """The tracks, those of one person made one; by first frame.

    cuts: first frames of shots. Joined are those before and after a crossing, and those that look
    alike in different shots, or in one after an absence.

    Reads the video only where tracks ended in doubt, at a cut, or begin after others have ended.
    Raises ClipError when it cannot be read.
    """
    return _known_again(video_path, _uncrossed(video_path, tracks, cuts), cuts)


def _uncrossed(video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]) -> list[Track]:
    """The tracks, those of one person before and after a crossing made one; by first frame."""
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
    return sorted(joined, key=_first)


def _known_again(video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]) -> list[Track]:
    """The tracks, those of one person in several shots made one; by first frame.

    The most alike first; people who are seen together are never made one.
    """
    longest = sorted(range(len(tracks)), key=lambda number: -len(tracks[number]))[:MOST]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(sorted(longest), 2)
        if min(len(tracks[one]), len(tracks[other])) >= BRIEF
        and _apart(tracks[one], tracks[other], cuts)
    ]
    if not pairs:
        return list(tracks)
    numbers = sorted(set(itertools.chain(*pairs)))
    ends = [_ends(tracks[number]) for number in numbers]
    looks = dict(zip(numbers, _pictures(video_path, ends, Style(margin=MARGIN)), strict=True))
    groups = {number: [number] for number in range(len(tracks))}
    for distance, one, other in sorted((_distance(looks[a], looks[b]), a, b) for a, b in pairs):
        first, second = groups[one], groups[other]
        if distance > ALIKE:
            break
        if first is second or _together([tracks[at] for at in (*first, *second)]):
            continue
        first += second
        groups |= dict.fromkeys(second, first)
    merged = {id(group): group for group in groups.values()}.values()
    joined = [_chained(sorted((tracks[at] for at in group), key=_first)) for group in merged]
    return sorted(joined, key=_first)


def _first(track: Track) -> int:
    return int(track.frames[0])


def _apart(one: Track, other: Track, cuts: Sequence[int]) -> bool:
    """Is the other seen only after the one, in another shot or after an absence?"""
    end, begin = int(one.frames[-1]), int(other.frames[0])
    return begin - end > MEMORY or any(end < cut <= begin for cut in cuts)


def _together(tracks: Sequence[Track]) -> bool:
    """Are two of the tracks seen at the same time?"""
    spans = sorted((int(track.frames[0]), int(track.frames[-1])) for track in tracks)
    return any(begin <= end for (_, end), (begin, _) in itertools.pairwise(spans))


def _ends(track: Track) -> Track:
    """SAMPLE boxes near either end of a track."""
    rows = np.union1d(
        *(np.searchsorted(track.frames, _near(track, f).frames) for f in track.frames[[0, -1]])
    )
    return Track(track.frames[rows], track.boxes[rows])


def _pictures(
    video_path: PathLike, samples: Sequence[Track], style: Style | None = None
) -> list[np.ndarray]:
    """The faces of each of the samples, scaled to SIDE x SIDE: float32 (n, SIDE * SIDE * 3)."""
    crops: list[list[np.ndarray]] = [[] for _ in samples]
    for place, _, crop in crops_of(video_path, samples, style, long_side=LONG_SIDE):
        small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        crops[place].append(small.astype(np.float32))
    return [np.array(own, np.float32).reshape(len(own), SIDE * SIDE * 3) for own in crops]


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of the two pictures most alike, of (n, d) and (m, d); inf without any."""
    differences = [np.abs(other - picture).mean(axis=1).min(initial=np.inf) for picture in one]
    return float(min(differences, default=np.inf))


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
        self._crops = _pictures(video_path, samples)

    def distance(self, one: int, at: int, other: int, to: int) -> float:
        """Mean difference of two tracks' faces, around frame `at` of the one, `to` of the other.

        That of the two crops most alike: others may show half of somebody else.
        """
        first, second = (self._crops[self._places[key]] for key in ((one, at), (other, to)))
        return _distance(first, second)


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
    """One track of several, in order; what lies between them stays a gap."""
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
        cuts=parts[0].cuts,
    )
