"""Re-identify faces after a crossing, a cut or a long absence by comparing their crops.

`association` ends the tracks of two faces that it cannot tell apart, and all tracks at a cut. This
module joins the tracks of one person; where the crops are not clearly alike, tracks stay separate.
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

CROPS_PER_END = 8  # crops compared at either end of a track
CROP_SIDE_PX = 24  # pixels to which they are scaled
LONG_SIDE_PX = 480  # frames are decoded scaled down to this
IMPOSSIBLE_COST = 1e6  # distance of tracks that cannot show one person
MAX_DISTANCE_RATIO = 0.7  # of one person's crops, relative to the nearest other person's
# Mean difference of crops (of 255) up to which tracks of two shots show one person. On 128 real
# clips of 80 speakers, that of two people is at least 19.9 in 8,000 pairs; that of the parts of one
# clip, half a second apart, is below 18 for 95 %.
MAX_DISTANCE = 18.0
CROP_MARGIN = 0.2  # includes hair and collar; without it two people are as close as 15
MIN_TRACK_FRAMES = 5  # boxes; shorter tracks have too few crops
MAX_TRACKS = 256  # the longest ones are compared: all pairs of more take minutes


def merge_tracks(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int] = ()
) -> list[Track]:
    """The tracks in order of first frame, with the tracks of one person merged.

    cuts: first frames of shots. Merged are tracks before and after a crossing, and tracks that look
    alike in different shots or, in one shot, after an absence.

    Decodes the video only where tracks ended at a crossing or a cut, or begin after others ended.
    Raises ClipError when it cannot be read.
    """
    return _merge_across_shots(video_path, _merge_across_crossings(video_path, tracks, cuts), cuts)


def _merge_across_crossings(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]
) -> list[Track]:
    """The tracks by first frame, with those of one person before and after a crossing merged."""
    pairs = [
        (end, begin)
        for end, before in enumerate(tracks)
        for begin, after in enumerate(tracks)
        if before.ambiguous_end and after.ambiguous_start and _follows(before, after, cuts)
    ]
    if not pairs:
        return list(tracks)
    following = dict(_assign_by_appearance(tracks, pairs, _Appearance(video_path, tracks, pairs)))
    chains = []
    for number in set(range(len(tracks))) - set(following.values()):
        chain = [number]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append(chain)
    return joined(tracks, chains)


def _merge_across_shots(
    video_path: PathLike, tracks: Sequence[Track], cuts: Sequence[int]
) -> list[Track]:
    """The tracks by first frame, with those of one person in several shots merged.

    The most similar pairs are merged first; tracks that overlap in time never are.
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
    samples = _sample_crops(video_path, ends, CropSpec(margin=CROP_MARGIN))
    crops = dict(zip(numbers, samples, strict=True))
    groups = {number: [number] for number in range(len(tracks))}
    for distance, one, other in sorted((_distance(crops[a], crops[b]), a, b) for a, b in pairs):
        first, second = groups[one], groups[other]
        if distance > MAX_DISTANCE:
            break
        if first is second or _co_occur([tracks[at] for at in (*first, *second)]):
            continue
        first += second
        groups |= dict.fromkeys(second, first)
    return joined(tracks, [*{id(group): group for group in groups.values()}.values()])


def joined(tracks: Sequence[Track], groups: Sequence[Sequence[int]]) -> list[Track]:
    """The tracks of each group of their numbers as one track, by first frame."""
    people = [
        _concatenate(sorted((tracks[at] for at in group), key=_first_frame)) for group in groups
    ]
    return sorted(people, key=_first_frame)


def _first_frame(track: Track) -> int:
    return int(track.frames[0])


def _separated(one: Track, other: Track, cuts: Sequence[int]) -> bool:
    """True when `other` begins after `one` ended, in another shot or after an absence."""
    end, begin = int(one.frames[-1]), int(other.frames[0])
    return begin - end > MAX_LOST_FRAMES or any(end < cut <= begin for cut in cuts)


def _co_occur(tracks: Sequence[Track]) -> bool:
    """True when two of the tracks overlap in time."""
    spans = sorted((int(track.frames[0]), int(track.frames[-1])) for track in tracks)
    return any(begin <= end for (_, end), (begin, _) in itertools.pairwise(spans))


def _end_samples(track: Track) -> Track:
    """CROPS_PER_END boxes near either end of a track."""
    near = [_nearest_boxes(track, frame).frames for frame in track.frames[[0, -1]]]
    rows = np.searchsorted(track.frames, np.union1d(*near))
    return Track(track.frames[rows], track.boxes[rows])


def _sample_crops(
    video_path: PathLike, samples: Sequence[Track], spec: CropSpec | None = None
) -> list[np.ndarray]:
    """Crops of each of the samples, CROP_SIDE_PX a side: float32 (n, CROP_SIDE_PX**2 * 3)."""
    crops: list[list[np.ndarray]] = [[] for _ in samples]
    for place, _, crop in iter_crops(video_path, samples, spec, long_side=LONG_SIDE_PX):
        small = cv2.resize(crop, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=cv2.INTER_AREA)
        crops[place].append(small.astype(np.float32))
    return [np.array(own, np.float32).reshape(len(own), CROP_SIDE_PX**2 * 3) for own in crops]


def distances(
    picture: PathLike, face: Track, video: PathLike, tracks: Sequence[Track]
) -> list[float]:
    """How unlike the face in a picture is to each of the tracks in a video, of 255.

    The smallest mean difference of crops, as in `merge_tracks`: it depends on light and pose, so a
    frame of the video itself is the best picture. Raises ClipError when a file cannot be read.
    """
    spec = CropSpec(margin=CROP_MARGIN)
    [wanted] = _sample_crops(picture, [_end_samples(face)], spec)
    samples = _sample_crops(video, [_end_samples(track) for track in tracks], spec)
    return [_distance(wanted, own) for own in samples]


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Smallest mean difference of two crops, of (n, d) and (m, d); inf without any."""
    differences = [np.abs(other - crop).mean(axis=1).min(initial=np.inf) for crop in one]
    return float(min(differences, default=np.inf))


class _Appearance:
    """Crops of the faces at the ends of tracks, and of faces that co-occur with them."""

    def __init__(
        self, video_path: PathLike, tracks: Sequence[Track], pairs: Sequence[tuple[int, int]]
    ) -> None:
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
        """Distance of two tracks' faces, around frame `at` of the one and `to` of the other.

        That of the two most similar crops: others may show part of another face.
        """
        first, second = (self._crops[self._places[key]] for key in ((one, at), (other, to)))
        return _distance(first, second)


def co_occurring(tracks: Sequence[Track], number: int) -> list[int]:
    """The tracks that overlap a track in time, and so show other people."""
    first, last = tracks[number].frames[0], tracks[number].frames[-1]
    return [
        other
        for other, track in enumerate(tracks)
        if other != number and track.frames[0] <= last and first <= track.frames[-1]
    ]


def _nearest_boxes(track: Track, frame: int) -> Track:
    """Every other one of a track's boxes nearest to a frame, CROPS_PER_END in all."""
    nearest = np.argsort(np.abs(track.frames - frame), kind="stable")
    rows = np.sort(nearest[: 2 * CROPS_PER_END : 2])
    return Track(track.frames[rows], track.boxes[rows])


def _follows(before: Track, after: Track, cuts: Sequence[int]) -> bool:
    end, begin = int(before.frames[-1]), int(after.frames[0])
    return 0 < begin - end <= 2 * MAX_LOST_FRAMES and not any(end < cut <= begin for cut in cuts)


def _assign_by_appearance(
    tracks: Sequence[Track], pairs: Sequence[tuple[int, int]], appearance: _Appearance
) -> list[tuple[int, int]]:
    """Assign ends to beginnings of tracks; keep pairs clearly more alike than any rival.

    Rivals are the faces that co-occur with either track. Each track continues in at most one other.
    """
    ends, begins = (sorted(set(side)) for side in zip(*pairs, strict=True))
    costs = np.full((len(ends), len(begins)), IMPOSSIBLE_COST)
    for end, begin in pairs:
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        distance = min(appearance.distance(end, at, begin, to), IMPOSSIBLE_COST)
        costs[ends.index(end), begins.index(begin)] = distance
    chosen = []
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        end, begin = ends[row], begins[column]
        if costs[row, column] == IMPOSSIBLE_COST:
            continue
        at, to = int(tracks[end].frames[-1]), int(tracks[begin].frames[0])
        rivals = [appearance.distance(end, at, other, to) for other in co_occurring(tracks, begin)]
        rivals += [appearance.distance(other, at, begin, to) for other in co_occurring(tracks, end)]
        if rivals and costs[row, column] < MAX_DISTANCE_RATIO * min(rivals):
            chosen.append((end, begin))
    return chosen


def _concatenate(parts: Sequence[Track]) -> Track:
    """Concatenate tracks, in order; what lies between them stays a gap."""
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
