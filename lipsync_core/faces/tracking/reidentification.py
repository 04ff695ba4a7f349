"""Whose face it is before and after a crossing, a cut or a long absence: told by its looks.

`association` ends the tracks of two faces that could not be told apart for a moment, and all tracks
at a cut. Here the pictures of the tracks are compared; where they leave a doubt, the tracks stay
apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.crops import CropSpec, iter_crops
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.association import MAX_LOST_FRAMES
from lipsync_core.runtime.files import PathLike

CROPS_PER_END = 8  # crops at an end of a track
CROP_SIDE_PX = 24  # pixels to which they are scaled
LONG_SIDE_PX = 480  # frames are read scaled down to this
IMPOSSIBLE_COST = 1e6  # distance of what cannot be the same person
MAX_DISTANCE_RATIO = 0.7  # of one person's crops, relative to the nearest other one
# Greatest distance (mean difference of 255) at which tracks of two shots show the same person. On
# 128 real clips of 80 speakers that of two people is 19.9 at least, in 8,000 pairs; that of a
# clip's parts, half a second apart, is below 18 for 95 %.
MAX_DISTANCE = 18.0
CROP_MARGIN = 0.2  # around the face, with hair and collar; without: 15 between two people
MIN_TRACK_FRAMES = 5  # boxes; shorter tracks have too few looks
MAX_TRACKS = 256  # tracks compared, the longest ones: all pairs of more take minutes


def merge_tracks(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int] = ()
) -> list[Track]:
    """The tracks, those of one person made one; by first frame.

    cuts: first frames of shots. Joined are those before and after a crossing, and those that look
    alike in different shots, or in one after an absence.

    Reads the video only where tracks ended in doubt, at a cut, or begin after others have ended.
    Raises ClipError when it cannot be read.
    """
    return _merge_across_shots(video_path, _merge_across_crossings(video_path, tracks, cuts), cuts)


def _merge_across_crossings(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]
) -> list[Track]:
    """The tracks, those of one person before and after a crossing made one; by first frame."""
    pairs = [
        (end, begin)
        for end, before in enumerate(tracks)
        for begin, after in enumerate(tracks)
        if before.ambiguous_end and after.ambiguous_start and _follows(before, after, cuts)
    ]
    if not pairs:
        return list(tracks)
    following = dict(_assign_by_appearance(tracks, pairs, _Appearance(video_path, tracks, pairs)))
    joined = []
    for number in set(range(len(tracks))) - set(following.values()):
        chain = [number]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        joined.append(_concatenate([tracks[link] for link in chain]))
    return sorted(joined, key=_first_frame)


def _merge_across_shots(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]
) -> list[Track]:
    """The tracks, those of one person in several shots made one; by first frame.

    The most alike first; people who are seen together are never made one.
    """
    longest = sorted(range(len(tracks)), key=lambda number: -len(tracks[number]))[:MAX_TRACKS]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(sorted(longest), 2)
        if min(len(tracks[one]), len(tracks[other])) >= MIN_TRACK_FRAMES
        and _separated(tracks[one], tracks[other], cuts)
    ]
    if not pairs:
        return list(tracks)
    numbers = sorted(set(itertools.chain(*pairs)))
    ends = [_end_samples(tracks[number]) for number in numbers]
    looks = dict(
        zip(numbers, _sample_crops(video_path, ends, CropSpec(margin=CROP_MARGIN)), strict=True)
    )
    groups = {number: [number] for number in range(len(tracks))}
    for distance, one, other in sorted((_distance(looks[a], looks[b]), a, b) for a, b in pairs):
        first, second = groups[one], groups[other]
        if distance > MAX_DISTANCE:
            break
        if first is second or _co_occur([tracks[at] for at in (*first, *second)]):
            continue
        first += second
        groups |= dict.fromkeys(second, first)
    merged = {id(group): group for group in groups.values()}.values()
    joined = [
        _concatenate(sorted((tracks[at] for at in group), key=_first_frame)) for group in merged
    ]
    return sorted(joined, key=_first_frame)


def _first_frame(track: Track) -> int:
    return int(track.frames[0])


def _separated(one: Track, other: Track, cuts: Sequence[int]) -> bool:
    """Is the other seen only after the one, in another shot or after an absence?"""
    end, begin = int(one.frames[-1]), int(other.frames[0])
    return begin - end > MAX_LOST_FRAMES or any(end < cut <= begin for cut in cuts)


def _co_occur(tracks: Sequence[Track]) -> bool:
    """Are two of the tracks seen at the same time?"""
    spans = sorted((int(track.frames[0]), int(track.frames[-1])) for track in tracks)
    return any(begin <= end for (_, end), (begin, _) in itertools.pairwise(spans))


def _end_samples(track: Track) -> Track:
    """SAMPLE boxes near either end of a track."""
    rows = np.union1d(
        *(
            np.searchsorted(track.frames, _nearest_boxes(track, f).frames)
            for f in track.frames[[0, -1]]
        )
    )
    return Track(track.frames[rows], track.boxes[rows])


def _sample_crops(
    video_path: PathLike, samples: Sequence[Track], style: CropSpec | None = None
) -> list[np.ndarray]:
    """The faces of each of the samples, scaled to SIDE x SIDE: float32 (n, SIDE * SIDE * 3)."""
    crops: list[list[np.ndarray]] = [[] for _ in samples]
    for place, _, crop in iter_crops(video_path, samples, style, long_side=LONG_SIDE_PX):
        small = cv2.resize(crop, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=cv2.INTER_AREA)
        crops[place].append(small.astype(np.float32))
    return [
        np.array(own, np.float32).reshape(len(own), CROP_SIDE_PX * CROP_SIDE_PX * 3)
        for own in crops
    ]


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of the two pictures most alike, of (n, d) and (m, d); inf without any."""
    differences = [np.abs(other - picture).mean(axis=1).min(initial=np.inf) for picture in one]
    return float(min(differences, default=np.inf))


class _Appearance:
    """What the faces at the ends of tracks, and those beside them, look like."""

    def __init__(
        self, video_path: PathLike, tracks: Sequence[Track], pairs: Sequence[tuple[int, int]]
    ) -> None:
        self._tracks = tracks
        moments = {
            (number, int(tracks[at].frames[row]))
            for pair in pairs
            for at, row in zip(pair, (-1, 0), strict=True)
            for number in (at, *co_occurring(tracks, at))
        }
        self._places = {key: place for place, key in enumerate(sorted(moments))}
        samples = [_nearest_boxes(tracks[number], frame) for number, frame in self._places]
        self._crops = _sample_crops(video_path, samples)

    def distance(self, one: int, at: int, other: int, to: int) -> float:
        """Mean difference of two tracks' faces, around frame `at` of the one, `to` of the other.

        That of the two crops most alike: others may show half of somebody else.
        """
        first, second = (self._crops[self._places[key]] for key in ((one, at), (other, to)))
        return _distance(first, second)


def co_occurring(tracks: Sequence[Track], number: int) -> list[int]:
    """The tracks that are seen at the same time as a track, and so are of other people."""
    first, last = tracks[number].frames[0], tracks[number].frames[-1]
    return [
        other
        for other, track in enumerate(tracks)
        if other != number and track.frames[0] <= last and first <= track.frames[-1]
    ]


def _nearest_boxes(track: Track, frame: int) -> Track:
    """Every other one of the boxes of a track that are nearest to a frame, SAMPLE in all."""
    nearest = np.argsort(np.abs(track.frames - frame), kind="stable")
    rows = np.sort(nearest[: 2 * CROPS_PER_END : 2])
    return Track(track.frames[rows], track.boxes[rows])


def _follows(before: Track, after: Track, cuts: Sequence[int]) -> bool:
    end, begin = int(before.frames[-1]), int(after.frames[0])
    return 0 < begin - end <= 2 * MAX_LOST_FRAMES and not any(end < cut <= begin for cut in cuts)


def _assign_by_appearance(
    tracks: Sequence[Track], pairs: Sequence[tuple[int, int]], looks: _Appearance
) -> list[tuple[int, int]]:
    """The pairs which look alike, clearly more so than either does to the people beside the other.

    Each track goes on in one other at most.
    """
    ends, begins = (sorted(set(side)) for side in zip(*pairs, strict=True))
    costs = np.full((len(ends), len(begins)), IMPOSSIBLE_COST)
    for end, begin in pairs:
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        distance = min(looks.distance(end, at, begin, to), IMPOSSIBLE_COST)
        costs[ends.index(end), begins.index(begin)] = distance
    chosen = []
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        end, begin = ends[row], begins[column]
        if costs[row, column] == IMPOSSIBLE_COST:
            continue
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        rivals = [looks.distance(end, at, other, to) for other in co_occurring(tracks, begin)]
        rivals += [looks.distance(other, at, begin, to) for other in co_occurring(tracks, end)]
        if rivals and costs[row, column] < MAX_DISTANCE_RATIO * min(rivals):
            chosen.append((end, begin))
    return chosen


def _concatenate(parts: Sequence[Track]) -> Track:
    """One track of several, in order; what lies between them stays a gap."""
    if len(parts) == 1:
        return parts[0]
    occluded = frozenset().union(*(part.occluded for part in parts))
    for before, after in itertools.pairwise(parts):
        occluded |= frozenset(range(int(before.frames[-1]) + 1, int(after.frames[0])))
    landmarks = [part.landmarks for part in parts]
    return Track(
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        None if any(points is None for points in landmarks) else np.concatenate(landmarks),
        occluded,
        ambiguous_start=parts[0].ambiguous_start,
        ambiguous_end=parts[-1].ambiguous_end,
        cuts=parts[0].cuts,
    )
