"""Clips that are one and the same under several names: found, and kept out of different splits.

Equal sound samples with alike pictures are a copy; alike sound and pictures of equal length are
the same take in another encoding or size. A take that was also cut elsewhere is not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# Of 128 bits that may differ. Four seconds of real speech: 0 to 8 differ after MP3 at 32 kbit/s and
# another volume, 51 or more between two pieces.
SOUND_BITS = 10
PICTURE_BITS = 12  # of 64
SECONDS = 0.1
ORDER = ("test", "val", "train")  # the copy in the first of these stays

Row = Mapping[str, Any]


def resolve(rows: Mapping[str, Row], split: Mapping[str, str]) -> dict[str, str]:
    """Clip -> the clip that it repeats, for those that must go.

    Parameters
    ----------
    rows: clip id -> measures (`sound_sha`, `sound_print`, `picture_print`, `seconds`) of kept
        clips; a clip without prints is no one's copy.
    split: clip id -> "train", "val" or "test".

    Of exact copies one stays, of alike takes those in one split: the test's before the
    validation's before the training's, then the first by name.
    """
    gone: dict[str, str] = {}
    for group in _groups(rows):
        group = sorted(group, key=lambda clip: (ORDER.index(split[clip]), clip))
        first: dict[str, str] = {}
        for clip in group:
            original = first.setdefault(rows[clip]["sound_sha"], clip)
            if original != clip:
                gone[clip] = original
            elif split[clip] != split[group[0]]:
                gone[clip] = group[0]
    return gone


def _groups(rows: Mapping[str, Row]) -> Iterator[Collection[str]]:
    """Groups of two or more clips that are alike, directly or through others."""
    leader: dict[str, str] = {}

    def lead(clip: str) -> str:
        while clip in leader:
            clip = leader[clip]
        return clip

    for one, other in _pairs(rows):
        first, second = sorted((lead(one), lead(other)))
        if first != second:
            leader[second] = first
    groups = defaultdict(list)
    for clip in rows:
        groups[lead(clip)].append(clip)
    yield from (group for group in groups.values() if len(group) > 1)


def _pairs(rows: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    """Alike pairs. Candidates share one of the sound print's eight words, or the samples."""
    prints = {
        clip: (int(row["sound_print"], 16), int(row["picture_print"], 16), float(row["seconds"]))
        for clip, row in rows.items()
        if row.get("sound_print") and row.get("picture_print")
    }
    buckets: dict[tuple[int, str], list[str]] = defaultdict(list)
    for clip in prints:
        row = rows[clip]
        words = [
            row["sound_print"][start : start + 4] for start in range(0, len(row["sound_print"]), 4)
        ]
        for place, word in enumerate([*words, row["sound_sha"]]):
            buckets[place, word].append(clip)
    for bucket in buckets.values():
        # Each with its predecessors of almost its length: few, however long the bucket.
        bucket.sort(key=lambda clip: (prints[clip][2], clip))
        start = 0
        for place, clip in enumerate(bucket):
            while prints[clip][2] - prints[bucket[start]][2] > SECONDS:
                start += 1
            for other in bucket[start:place]:
                if _alike(rows, prints, clip, other):
                    yield clip, other


def _alike(
    rows: Mapping[str, Row], prints: Mapping[str, tuple[int, int, float]], one: str, other: str
) -> bool:
    (sound, picture, _), (sound2, picture2, _) = prints[one], prints[other]
    same = rows[one]["sound_sha"] == rows[other]["sound_sha"]
    heard = same or (sound ^ sound2).bit_count() <= SOUND_BITS
    return heard and (picture ^ picture2).bit_count() <= PICTURE_BITS
