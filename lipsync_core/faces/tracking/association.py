"""Associate boxes over time: link the boxes of each face to tracks, within shots.

Works on boxes alone. Where two faces cross and cannot be told apart, both tracks end;
`reidentification` then joins their parts by appearance.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from lipsync_core.faces.boxes import iou
from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.shots import HEAD_MARGIN, split_shots

MIN_IOU = 0.3  # of a box with the predicted box of its face
MAX_LOST_FRAMES = 50  # frames (2 s) without a box, after which a track is closed
MAX_RECENT_FRAMES = 2  # faces seen this many frames ago are assigned before those lost for longer
VELOCITY_FRAMES = 8  # boxes from which a face's velocity is estimated
MAX_EXTRAPOLATED_FRAMES = 25  # frames for which a lost face is extrapolated
MIN_COOCCURRING_FRAMES = 5  # frames with both tracks: they are two people
MIN_CROSSING_IOU = 0.1  # of two heads, from which one may cover the other's face
MIN_IOU_LEAD = 0.2  # by which a box belongs to one of two crossing faces and not to the other
Pair = frozenset[int]  # numbers of two tracklets


def link(detections: Detections) -> list[Track]:
    """All tracks of a clip, in order of their first frame. No track spans a cut.

    Each frame's boxes are assigned to the predicted boxes (constant velocity) with the largest sum
    of IoU (Hungarian algorithm): faces seen recently first, then lost ones. A box that overlaps no
    prediction begins a new track; a track without a box for MAX_LOST_FRAMES frames is closed.

    Where two people cross, only boxes that clearly belong to one of them are assigned. Frames that
    a track misses there are `occluded` and must not be interpolated. Where a box could belong to
    either, both tracks end, because boxes alone cannot tell the two apart afterwards.
    """
    table = detections.faces
    frames = table["frame"].to_numpy(np.int64)
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
    landmarks = _landmarks(table)
    tracklets: list[_Tracklet] = []
    for shot in split_shots(detections.cuts, detections.frames):
        first, last = np.searchsorted(frames, (shot.start, shot.stop))
        tracklets += _link_shot(frames, boxes, int(first), int(last))
    tracks = [
        Track(
            frames[rows].astype(np.int32),
            boxes[rows],
            None if landmarks is None else landmarks[rows],
            frozenset(tracklet.occluded),
            ambiguous_start=tracklet.after_crossing or number > 0,
            ambiguous_end=tracklet.lost_in_crossing() or number < len(tracklet.parts) - 1,
            cuts=detections.cuts,
        )
        for tracklet in tracklets
        for number, rows in enumerate(tracklet.parts)
    ]
    return sorted(tracks, key=lambda track: int(track.frames[0]))


def _landmarks(table) -> np.ndarray | None:
    if "landmarks" not in table or not len(table):
        return None
    lists = table["landmarks"].tolist()
    if any(len(points) != 10 for points in lists):
        return None
    return np.array(lists, np.float32)


class _Tracklet:
    """A track that is still being extended."""

    def __init__(self, number: int, after_crossing: bool) -> None:
        self.number = number
        self.after_crossing = after_crossing
        # Rows of the table; a new part begins where the identity is uncertain.
        self.parts: list[list[int]] = []
        self.occluded: list[int] = []
        self.ambiguous = True
        self.seen = -1  # frame of the latest box
        self.box = np.zeros(4, np.float32)
        self._centers: deque[tuple[int, float, float]] = deque(maxlen=VELOCITY_FRAMES)

    def add(self, row: int, frame: int, box: np.ndarray) -> None:
        if self.ambiguous:
            self.parts.append([])
            self.ambiguous = False
        self.parts[-1].append(row)
        self.box = box
        if frame - self.seen > VELOCITY_FRAMES:
            self._centers.clear()  # an old velocity is not valid
        self.seen = frame
        x1, y1, x2, y2 = box.tolist()
        self._centers.append((frame, (x1 + x2) / 2, (y1 + y2) / 2))

    def expected(self, frame: int) -> np.ndarray:
        """Its predicted box in `frame`: float32 (4,)."""
        (start, x0, y0), (end, x1, y1) = self._centers[0], self._centers[-1]
        if start == end:
            return self.box
        steps = min(frame - self.seen, MAX_EXTRAPOLATED_FRAMES) / (end - start)
        dx, dy = (x1 - x0) * steps, (y1 - y0) * steps
        return self.box + np.array([dx, dy, dx, dy], np.float32)

    def lost_in_crossing(self) -> bool:
        return self.ambiguous or (bool(self.occluded) and self.occluded[-1] > self.seen)


def _link_shot(frames: np.ndarray, boxes: np.ndarray, first: int, last: int) -> list[_Tracklet]:
    """Tracklets of the rows first .. last - 1 of the table."""
    tracklets: list[_Tracklet] = []
    live: list[_Tracklet] = []
    if first == last:
        return tracklets
    cooccurrences: Counter[Pair] = Counter()  # frames with a box of both tracklets
    starts = np.flatnonzero(np.diff(frames[first:last], prepend=-1)) + first
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), last], strict=True):
        frame, found = int(frames[start]), boxes[start:end]
        live = [tracklet for tracklet in live if frame - tracklet.seen <= MAX_LOST_FRAMES]
        owner, ambiguous = _assign_boxes(live, cooccurrences, frame, found)
        for place, box in enumerate(found):
            if place in ambiguous:
                continue
            if place not in owner:
                lost = any(tracklet.lost_in_crossing() for tracklet in live)
                owner[place] = _Tracklet(len(tracklets), lost)
                tracklets.append(owner[place])
                live.append(owner[place])
            owner[place].add(start + place, frame, box)
        seen = [tracklet.number for tracklet in owner.values()]
        cooccurrences.update(map(frozenset, itertools.combinations(seen, 2)))
    return tracklets


def _assign_boxes(
    live: Sequence[_Tracklet], cooccurrences: Counter[Pair], frame: int, found: np.ndarray
) -> tuple[dict[int, _Tracklet], set[int]]:
    """Assign the boxes `found` (m, 4) to tracklets; also return the ambiguous boxes."""
    owner: dict[int, _Tracklet] = {}
    ambiguous: set[int] = set()
    if not live:
        return owner, ambiguous
    if len(live) == len(found) == 1 and iou(live[0].expected(frame)[None], found)[0, 0] >= MIN_IOU:
        return {0: live[0]}, ambiguous  # the common case, without an assignment problem
    predicted = np.stack([tracklet.expected(frame) for tracklet in live])
    gain = iou(predicted, found)
    crossing = _crossing_pairs(live, cooccurrences, predicted)
    for pair in crossing:
        unclear = _ambiguous_boxes(gain, pair)
        ambiguous |= unclear
        for at in pair if unclear else ():
            live[at].ambiguous = True
    waiting = set(range(len(live)))

    def assign(candidates: Iterable[int], gains: np.ndarray) -> None:
        rows = sorted(candidates)
        columns = [box for box in range(len(found)) if box not in owner and box not in ambiguous]
        part = gains[np.ix_(rows, columns)]
        for row, column in zip(*linear_sum_assignment(part, maximize=True), strict=True):
            if part[row, column] >= MIN_IOU:
                owner[columns[column]] = live[rows[row]]
                waiting.discard(rows[row])

    assign([at for at in waiting if frame - live[at].seen <= MAX_RECENT_FRAMES], gain)
    if waiting and len(owner) + len(ambiguous) < len(found):
        assign(waiting, gain)
    if waiting and len(owner) + len(ambiguous) < len(found):
        # A face that stopped moving. One lost in a crossing may be anywhere by now.
        stationary = [at for at in waiting if not live[at].lost_in_crossing()]
        assign(stationary, iou(np.stack([tracklet.box for tracklet in live]), found))
    for at in waiting.intersection(itertools.chain(*crossing)):
        live[at].occluded.append(frame)
    return owner, ambiguous


def _crossing_pairs(
    live: Sequence[_Tracklet], cooccurrences: Counter[Pair], predicted: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of tracklets of two people, one of whom may cover the other's face."""
    if len(live) < 2 or not cooccurrences:
        return []
    # A head is larger than the box of its face.
    sides = (predicted[:, 2:] - predicted[:, :2]) * HEAD_MARGIN
    heads = predicted + np.hstack((-sides, sides))
    pairs = np.argwhere(np.triu(iou(heads, heads) >= MIN_CROSSING_IOU, 1)).tolist()
    return [
        (one, other)
        for one, other in pairs
        if cooccurrences[frozenset((live[one].number, live[other].number))]
        >= MIN_COOCCURRING_FRAMES
    ]


def _ambiguous_boxes(gain: np.ndarray, pair: tuple[int, int]) -> set[int]:
    """The boxes that could belong to either of two crossing tracklets.

    Sets `gain` to 0 where a box clearly belongs to the other tracklet.
    """
    one, other = pair
    boxes = np.flatnonzero(np.maximum(gain[one], gain[other]) >= MIN_IOU)
    if len(boxes) == 1:
        lead = gain[one, boxes] - gain[other, boxes]
        if abs(lead[0]) < MIN_IOU_LEAD:
            return set(boxes.tolist())
        gain[other if lead[0] > 0 else one, boxes] = 0
    elif len(boxes) > 1:
        _, columns = linear_sum_assignment(gain[np.ix_([one, other], boxes)], maximize=True)
        mine, theirs = boxes[columns].tolist()
        lead = gain[one, mine] + gain[other, theirs] - gain[one, theirs] - gain[other, mine]
        if lead < MIN_IOU_LEAD:
            return {mine, theirs}
        gain[one, theirs] = gain[other, mine] = 0
    return set()
