"""Duplicates: clips that are the same take under several names must not be in several splits.

Fingerprints suggest pairs (equal samples, or landmarks of the audio in common at one lag), so that
the cost does not grow with all pairs; the samples and the face crops confirm them. Other encodings,
gains, frame rates, trims and mirror images of a take are found. People of one video share its audio
and are never compared.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lipsync_core.audio import MEL_RATE
from lipsync_core.corpus.layouts.items import SPLITS, source_id
from lipsync_core.errors import ClipError
from lipsync_core.preparation.audio_fingerprint import CODE_BITS, landmarks
from lipsync_core.preparation.same_take import Files, Match, match
from lipsync_core.preparation.stages import AUDIO, FACES
from lipsync_core.runtime.tables import Row

log = logging.getLogger(__name__)

SPLIT_PRIORITY = tuple(reversed(SPLITS))  # the copy in the first of these stays
WORD_BYTES = 3  # landmarks that share three bytes of their codes, at any of 12 places, are compared
NEIGHBORS = 32  # each with the next so many in its bucket: a common jingle costs no all-pairs
# Bits of 96 that differ: one landmark suggests a pair, or two at one lag. With 8 all of 423 copies
# of real clips are suggested, with 6 all but one. Suggested wrongly at 8 and at 12: 0 and 2 of the
# 11,026 pairs of the real clips, 1,397 and 4,151 of the 499,500 pairs of one man's 1,000 sentences.
MAX_BITS_ALONE, MAX_BITS_TWICE = 10, 16
LAG_STEPS = 2  # columns by which equal lags may differ

Pair = tuple[str, str]


def find_duplicates(
    rows: Mapping[str, Row], split: Mapping[str, str], results: Path
) -> dict[str, str]:
    """Clip -> the clip that it repeats, for those that must be dropped.

    Parameters
    ----------
    rows: clip id -> measures (`audio_sha1`, `audio_fingerprint`) of kept clips; a clip without
        them is never compared.
    split: clip id -> "train", "val" or "test"; or several, joined by "+", of a clip that is
        split by time: then no other copy of it stays.
    results: the folder with the prepared audio and face crops. A pair whose files are missing or
        damaged is not confirmed; a warning says how many.

    Of exact copies (equal samples, the same frames, not mirrored) one stays, of other copies those
    in one split: test before validation before training, then the first by name.
    """
    exact, pairs = _confirmed(rows, results)
    twins = {clip: group for group in group_pairs(exact) for clip in group}
    originals: dict[str, str] = {}

    def rank(clip: str) -> tuple[int, str]:
        return min(map(SPLIT_PRIORITY.index, split[clip].split("+"))), clip

    for group in group_pairs([*exact, *pairs]):
        kept = min(group, key=rank)
        for clip in group:
            original = min(twins.get(clip, [clip]), key=rank)
            if original != clip:
                originals[clip] = original
            elif clip != kept and (split[clip] != split[kept] or "+" in split[clip]):
                originals[clip] = kept
    return originals


def _confirmed(rows: Mapping[str, Row], results: Path) -> tuple[list[Pair], list[Pair]]:
    """The pairs that are the same take: exact copies, and others."""
    unread: set[str] = set()

    def same(one: str, other: str, lags: Sequence[float]) -> Match | None:
        try:
            found = match(_files(results, one), _files(results, other), lags)
        except ClipError as error:
            unread.add(str(error))
            return None
        return found if found.same else None

    exact, others = [], []
    first: dict[str, list[str]] = defaultdict(list)  # audio_sha1 -> a clip of each video with it
    for clip in sorted(rows):
        sha = rows[clip].get("audio_sha1")
        if not sha:
            continue
        for twin in first[sha][-NEIGHBORS:]:
            found = same(twin, clip, ()) if source_id(twin) != source_id(clip) else None
            if found:
                (others if found.mirrored else exact).append((twin, clip))
                if not found.mirrored:
                    break
        else:
            first[sha].append(clip)
    fingerprints = {
        clip: landmarks(str(rows[clip].get("audio_fingerprint") or ""))
        for clip in sorted(clip for clips in first.values() for clip in clips)
    }
    suggested = suggested_pairs(fingerprints)
    for (one, other), lags in suggested.items():
        if rows[one]["audio_sha1"] != rows[other]["audio_sha1"] and same(one, other, lags):
            others.append((one, other))
    log.info("duplicates: %d pairs suggested, %d confirmed", len(suggested), len(others))
    if unread:
        example = min(unread)
        log.warning("duplicates: %d pairs not compared, first: %s", len(unread), example)
    return exact, others


def suggested_pairs(fingerprints: Mapping[str, np.ndarray]) -> dict[Pair, list[float]]:
    """Pairs of clips whose landmarks agree, with the lags (seconds) at which they do.

    fingerprints: clip id -> its landmarks (see `audio_fingerprint`).
    """
    names = list(fingerprints)
    if not names:
        return {}
    sources = {name: number for number, name in enumerate(dict.fromkeys(map(source_id, names)))}
    source = np.array([sources[source_id(name)] for name in names])
    owner = np.repeat(np.arange(len(names)), [len(fingerprints[name]) for name in names])
    marks = np.concatenate(list(fingerprints.values()))
    time = marks["time"].astype(np.int64)
    found = [np.zeros((0, 6), np.int64)]
    for one, other in _collisions(marks["code"]):
        ours, theirs = owner[one], owner[other]
        differ = np.unpackbits(marks["code"][one] ^ marks["code"][other], axis=1)
        differ = differ.sum(axis=1, dtype=np.int64)
        near = (source[ours] != source[theirs]) & (differ <= MAX_BITS_TWICE)
        rows = np.stack([ours, theirs, time[one] - time[other], one, other, differ], axis=1)[near]
        # The clip with the lower number comes first.
        swapped = rows[:, 0] > rows[:, 1]
        rows[swapped] = rows[swapped][:, [1, 0, 2, 4, 3, 5]] * [1, 1, -1, 1, 1, 1]
        found.append(rows)
    rows = np.unique(np.concatenate(found), axis=0)  # by pair, then by lag
    if not len(rows):
        return {}
    again = (np.diff(rows[:, :2], axis=0) == 0).all(axis=1)
    again &= np.diff(rows[:, 2]) <= LAG_STEPS
    again &= np.diff(rows[:, 3]) != 0  # another landmark, not the same one found by another word
    good = rows[:, 5] <= MAX_BITS_ALONE
    good[1:] |= again
    lags: dict[Pair, list[float]] = {}
    for one, other, lag, *_ in rows[good].tolist():
        known = lags.setdefault((names[one], names[other]), [])
        if not known or lag / MEL_RATE - known[-1] > LAG_STEPS / MEL_RATE:
            known.append(lag / MEL_RATE)
    return lags


def _collisions(codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of landmarks (indices, in batches) that share a word; codes: uint8 (n, CODE_BITS/8)."""
    for place in range(CODE_BITS // 8):
        octets = np.take(codes, range(place, place + WORD_BYTES), axis=1, mode="wrap")
        word = octets.astype(np.uint32) @ (1 << 8 * np.arange(WORD_BYTES, dtype=np.uint32))
        order = np.argsort(word, kind="stable")
        word = word[order]
        for step in range(1, NEIGHBORS + 1):
            equal = np.flatnonzero(word[step:] == word[:-step])
            if not len(equal):
                break
            yield order[equal], order[equal + step]


def group_pairs(pairs: Sequence[Pair]) -> list[list[str]]:
    """The connected groups of clips, sorted, of two or more."""
    if not pairs:
        return []
    names = sorted({name for pair in pairs for name in pair})
    number = {name: place for place, name in enumerate(names)}
    ends = np.array([[number[one], number[other]] for one, other in pairs])
    graph = coo_array((np.ones(len(ends)), ends.T), shape=(len(names), len(names)))
    _, label = connected_components(graph, directed=False)
    groups = defaultdict(list)
    for name, which in zip(names, label.tolist(), strict=True):
        groups[which].append(name)
    return list(groups.values())


def _files(results: Path, clip: str) -> Files:
    """The files of a clip: people of one video have crops of their own and share the audio."""
    return Files(AUDIO.path(results, source_id(clip)), FACES.path(results, clip))
