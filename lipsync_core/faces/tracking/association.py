"""Which boxes are one and the same face: linking over time, within shots, through crossings.

Works on the boxes alone; no pictures. A track ends rather than passes to another face;
`reidentification` then tells from the pictures who goes on where.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.boxes import overlap
from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.shots import shots

LINK = 0.3  # lowest overlap of a box with where a face was expected
MEMORY = 50  # frames after which a lost face is taken for gone (2 s)
RECENT = 2  # a face seen this many frames ago is preferred to one lost for longer
PACE = 8  # boxes from which a face's velocity is taken
COAST = 25  # frames for which a lost face is expected to go on moving
TOGETHER = 5  # frames in which two tracks were seen side by side: they are two people
Pair = frozenset[int]  # of the numbers of two trails
HEAD = 0.25  # how far a head goes beyond the face on either side, in sizes of the face
CROSS = 0.1  # overlap of two heads from which one may cover the other's face
MARGIN = 0.2  # lead in overlap by which a box is one face's and not that of one it crosses


def link(detections: Detections) -> list[Track]:
    """All tracks of a clip, in order of their first frame. No track crosses a cut; see
    `reidentification`.

    Each frame's boxes are assigned to the places where the faces are expected (constant velocity)
    so that the sum of overlaps is largest (Hungarian method): faces seen just now first, then lost
    ones. A box that overlaps no such place begins a new track; a track that was not seen for
    MEMORY frames is closed.

    Where two people cross, only boxes that are clearly one's are taken: what a track lacks there
    is `hidden`, and must not be made up by interpolation. Where a box could have been either's,
    the tracks of both end, for who comes out of it on which side is not to be seen from boxes.
    """
    table = detections.faces
    frames = table["frame"].to_numpy(np.int64)
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
    landmarks = _landmarks(table)
    trails: list[_Trail] = []
    for shot in shots(detections.cuts, detections.frames):
        first, last = np.searchsorted(frames, (shot.start, shot.stop))
        trails += _link_shot(frames, boxes, int(first), int(last))
    tracks = [
        Track(
            frames[rows].astype(np.int32),
            boxes[rows],
            None if landmarks is None else landmarks[rows],
            frozenset(trail.hidden),
            begins_in_doubt=trail.after_a_crossing or number > 0,
            ends_in_doubt=trail.lost_in_a_crossing() or number < len(trail.parts) - 1,
            cuts=detections.cuts,
        )
        for trail in trails
        for number, rows in enumerate(trail.parts)
    ]
    return sorted(tracks, key=lambda track: int(track.frames[0]))


def _landmarks(table) -> np.ndarray | None:
    if "landmarks" not in table or not len(table):
        return None
    lists = table["landmarks"].tolist()
    if any(len(points) != 10 for points in lists):
        return None
    return np.array(lists, np.float32)


class _Trail:
    """A track in the making."""

    def __init__(self, number: int, after_a_crossing: bool) -> None:
        self.number = number
        self.after_a_crossing = after_a_crossing
        self.parts: list[list[int]] = []  # rows of the table; a new part where the face may differ
        self.hidden: list[int] = []
        self.doubtful = True
        self.seen = -1  # frame of the latest box
        self.box = np.zeros(4, np.float32)
        self._centres: deque[tuple[int, float, float]] = deque(maxlen=PACE)

    def add(self, row: int, frame: int, box: np.ndarray) -> None:
        if self.doubtful:
            self.parts.append([])
            self.doubtful = False
        self.parts[-1].append(row)
        self.box = box
        if frame - self.seen > PACE:
            self._centres.clear()  # an old velocity tells nothing
        self.seen = frame
        x1, y1, x2, y2 = box.tolist()
        self._centres.append((frame, (x1 + x2) / 2, (y1 + y2) / 2))

    def expected(self, frame: int) -> np.ndarray:
        """Where its box should be in `frame`: float32 (4,)."""
        (start, x0, y0), (end, x1, y1) = self._centres[0], self._centres[-1]
        if start == end:
            return self.box
        steps = min(frame - self.seen, COAST) / (end - start)
        dx, dy = (x1 - x0) * steps, (y1 - y0) * steps
        return self.box + np.array([dx, dy, dx, dy], np.float32)

    def lost_in_a_crossing(self) -> bool:
        return self.doubtful or (bool(self.hidden) and self.hidden[-1] > self.seen)


def _link_shot(frames: np.ndarray, boxes: np.ndarray, first: int, last: int) -> list[_Trail]:
    """Trails over the rows first .. last - 1 of the table."""
    trails: list[_Trail] = []
    live: list[_Trail] = []
    if first == last:
        return trails
    met: Counter[Pair] = Counter()  # frames in which two trails had a box each
    starts = np.flatnonzero(np.diff(frames[first:last], prepend=-1)) + first
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), last], strict=True):
        frame, now = int(frames[start]), boxes[start:end]
        live = [trail for trail in live if frame - trail.seen <= MEMORY]
        owner, withheld = _owners(live, met, frame, now)
        for place, box in enumerate(now):
            if place in withheld:
                continue
            if place not in owner:
                lost = any(trail.lost_in_a_crossing() for trail in live)
                owner[place] = _Trail(len(trails), lost)
                trails.append(owner[place])
                live.append(owner[place])
            owner[place].add(start + place, frame, box)
        seen = [trail.number for trail in owner.values()]
        met.update(map(frozenset, itertools.combinations(seen, 2)))
    return trails


def _owners(
    live: Sequence[_Trail], met: Counter[Pair], frame: int, now: np.ndarray
) -> tuple[dict[int, _Trail], set[int]]:
    """Which trail each of the boxes `now` (m, 4) goes on, and which boxes nobody must have."""
    owner: dict[int, _Trail] = {}
    withheld: set[int] = set()
    if not live:
        return owner, withheld
    if len(live) == len(now) == 1 and _share(live[0].expected(frame), now[0]) >= LINK:
        return {0: live[0]}, withheld  # nearly every frame: nothing to weigh
    places = np.stack([trail.expected(frame) for trail in live])
    gain = overlap(places, now)
    crossing = _crossings(live, met, places)
    for pair in crossing:
        contested = _tell_apart(gain, pair)
        withheld |= contested
        for at in pair if contested else ():
            live[at].doubtful = True
    waiting = set(range(len(live)))

    def assign(candidates: Iterable[int], gains: np.ndarray) -> None:
        rows = sorted(candidates)
        columns = [box for box in range(len(now)) if box not in owner and box not in withheld]
        part = gains[np.ix_(rows, columns)]
        for row, column in zip(*linear_sum_assignment(part, maximize=True), strict=True):
            if part[row, column] >= LINK:
                owner[columns[column]] = live[rows[row]]
                waiting.discard(rows[row])

    assign([at for at in waiting if frame - live[at].seen <= RECENT], gain)
    if waiting and len(owner) + len(withheld) < len(now):
        assign(waiting, gain)
    if waiting and len(owner) + len(withheld) < len(now):
        # A face that stopped; one lost in a crossing may be anywhere, and its old place another's.
        stayed = [at for at in waiting if not live[at].lost_in_a_crossing()]
        assign(stayed, overlap(np.stack([trail.box for trail in live]), now))
    for at in waiting.intersection(itertools.chain(*crossing)):
        live[at].hidden.append(frame)
    return owner, withheld


def _share(one: np.ndarray, other: np.ndarray) -> float:
    """`overlap` of two boxes."""
    left, top, right, bottom = one.tolist()
    x1, y1, x2, y2 = other.tolist()
    common = max(0.0, min(right, x2) - max(left, x1)) * max(0.0, min(bottom, y2) - max(top, y1))
    whole = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - common
    return common / whole if whole > 0 else 0.0


def _crossings(
    live: Sequence[_Trail], met: Counter[Pair], places: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of trails of two people, of whom one may cover the other's face."""
    if len(live) < 2 or not met:
        return []
    # A head is larger than the box of its face.
    sides = (places[:, 2:] - places[:, :2]) * HEAD
    heads = places + np.hstack((-sides, sides))
    pairs = np.argwhere(np.triu(overlap(heads, heads) >= CROSS, 1)).tolist()
    return [
        (one, other)
        for one, other in pairs
        if met[frozenset((live[one].number, live[other].number))] >= TOGETHER
    ]


def _tell_apart(gain: np.ndarray, pair: tuple[int, int]) -> set[int]:
    """The boxes that could be either's of two crossing trails.

    Sets `gain` to 0 where a box is clearly the other's.
    """
    one, other = pair
    boxes = np.flatnonzero(np.maximum(gain[one], gain[other]) >= LINK)
    if len(boxes) == 1:
        lead = gain[one, boxes] - gain[other, boxes]
        if abs(lead[0]) < MARGIN:
            return set(boxes.tolist())
        gain[other if lead[0] > 0 else one, boxes] = 0
    elif len(boxes) > 1:
        _, columns = linear_sum_assignment(gain[np.ix_([one, other], boxes)], maximize=True)
        mine, theirs = boxes[columns].tolist()
        lead = gain[one, mine] + gain[other, theirs] - gain[one, theirs] - gain[other, mine]
        if lead < MARGIN:
            return {mine, theirs}
        gain[one, theirs] = gain[other, mine] = 0
    return set()
