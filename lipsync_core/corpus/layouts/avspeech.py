"""AVSpeech-style lists: `ytid,start,end,x,y` rows, and videos named by YouTube id.

A video named `<ytid>.<ext>` is a whole one, and each of its rows a segment of it; one named
`<ytid>_<start>...` is a segment already. (x, y) is the center of the speaker's face, as fractions
of the frame's width and height.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lipsync_core.corpus.layouts.items import TRAINVAL, Item, stem
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.tables import read_lines

log = logging.getLogger(__name__)
MAX_ROUNDING_SECONDS = 0.02  # between the start in a file's name and in the list
NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Segment(NamedTuple):
    """A row of a list: start and end in seconds, the face's center, the split."""

    start: float
    end: float
    face_hint: str
    split: str

    @property
    def interval(self) -> str:
        return f"{self.start:.3f}-{self.end:.3f}"


def items(files: Mapping[str, str], data_root: Path) -> Iterator[Item]:
    """The rows that have a video. Raises LipsyncError when there is no list or a bad row."""
    segments = _read_lists(data_root)
    found = 0
    for path in files:
        name = stem(path.rpartition("/")[2])
        for video, segment, whole in _named(name, segments):
            found += 1
            clip = f"{video}/{_clip_name(segment, segments[video])}"
            interval = segment.interval if whole else ""
            face = segment.face_hint
            yield Item(clip, path, split=segment.split, segment=interval, face_hint=face)
    listed = sum(map(len, segments.values()))
    if found < listed:
        log.warning("%d of %d rows of the lists have no video", listed - found, listed)


def _named(name: str, segments: Mapping[str, list[Segment]]) -> Iterator[tuple[str, Segment, bool]]:
    """The segments that a file's name stands for: video, segment, whether the file is the whole."""
    if name in segments:
        yield from ((name, segment, True) for segment in segments[name])
        return
    head, _, tail = name.rpartition("_")
    for video, rest in ((name[:11], name[11:]), (head, tail)):  # ids of YouTube have 11 characters
        segment = _starting(segments.get(video, []), rest)
        if segment is not None:
            yield video, segment, False
            return


def _clip_name(segment: Segment, others: list[Segment]) -> str:
    alone = sum(other.interval == segment.interval for other in others) == 1
    return segment.interval if alone else f"{segment.interval}@{segment.face_hint}"


def _starting(segments: list[Segment], rest: str) -> Segment | None:
    """The segment that starts at the number which the rest of a file's name begins with."""
    number = NUMBER.search(rest)
    if number is None:
        return None
    start = float(number[0])
    best = min(segments, key=lambda segment: abs(segment.start - start), default=None)
    return best if best is not None and abs(best.start - start) <= MAX_ROUNDING_SECONDS else None


def _read_lists(data_root: Path) -> dict[str, list[Segment]]:
    segments: dict[str, dict[Segment, None]] = defaultdict(dict)
    lists = sorted(data_root.glob("*.csv"))
    if not lists:
        raise LipsyncError(
            f"layout avspeech: no list in {str(data_root)!r}; put avspeech_train.csv or any "
            "<name>.csv with rows ytid,start,end,x,y there"
        )
    for path in lists:
        name = path.stem.lower()
        split = "test" if "test" in name else "val" if "val" in name else TRAINVAL
        for number, row in enumerate(read_lines(path), start=1):
            try:
                video, start, end, x, y = (cell.strip() for cell in row[:5])
                segment = Segment(float(start), float(end), f"{float(x)},{float(y)}", split)
            except ValueError:
                if number == 1 or not row:
                    continue  # a header, an empty line
                raise LipsyncError(
                    f"{path}, line {number}: wanted ytid,start,end,x,y, got {','.join(row)!r}"
                ) from None
            segments[video][segment] = None
    return {video: list(rows) for video, rows in segments.items()}
