"""Speakers under several names, told by their voice and face prints.

Two names are one person when both prints agree. A distance is judged relative to how near the
nearest other speakers are (adaptive score normalization, Matejka et al., Interspeech 2017), so that
studio corpora, whose speakers are alike, need closer prints; and it must not exceed what clips of
one speaker have in this corpus. Voices are compared by matrix products, faces only of the nearest
candidates: the cost of faces grows with the number of speakers, not of pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lipsync_core.preparation.prints import Print

log = logging.getLogger(__name__)
COHORT = 8  # nearest other speakers, by whom a distance is judged
CANDIDATES = 40  # a speaker's nearest by voice, and by mean face, whose crops are compared
CLIPS_COMPARED = 4  # of each speaker
# Largest mean distance of a cohort that counts: in a small corpus the others may all be far.
# Measured on 80 speakers of public corpora (153 clips), see docs/log.md.
MAX_COHORT_VOICE, MAX_COHORT_FACE = 30.0, 0.12
MAX_VOICE, MAX_FACE = 1.0, 0.7  # relative to the cohort
# With learned voice embeddings; the faces, whose prints are weaker, only exclude pairs. Chosen on
# half of the speakers, measured on the other half: benchmarks/aliases.py.
MAX_COHORT_EMBEDDED, MAX_EMBEDDED_VOICE, MAX_EMBEDDED_FACE = 0.4, 0.85, 0.3
SPREAD_QUANTILE, SPREAD_FACTOR, MIN_SPREAD_PAIRS = 0.95, 1.5, 8  # of distances within speakers
BLOCK = 512  # rows of a matrix of distances at a time


@dataclass(frozen=True)
class Alias:
    """Two names of one person; voice, face: their distances relative to their cohorts."""

    one: str
    other: str
    voice: float
    face: float


def find_aliases(
    prints: Mapping[str, Sequence[Print]], max_voice: float | None = None
) -> list[Alias]:
    """The pairs of speakers that are one person, by name.

    prints: speaker -> prints of some of their clips (about `CLIPS_COMPARED`), at least one each.
    max_voice: largest distance of the voices relative to their cohorts; by default as measured.
    """
    names = sorted(prints)
    if len(names) < 2:
        return []
    speakers = [merged(prints[name]) for name in names]
    embedded = all(each.voice is not None for each in speakers)
    voices, near_voice, cohort_voice = _nearest_voices(speakers, embedded)
    candidates = _candidates(near_voice, _nearest_faces(speakers))
    faces = np.array([face_distance(speakers[i], speakers[j]) for i, j in candidates])
    cohort_face = _cohorts(len(names), candidates, faces)
    limit = _spread(prints)
    most_voice, most_face = (MAX_EMBEDDED_VOICE, np.inf) if embedded else (MAX_VOICE, MAX_FACE)
    limit = MAX_EMBEDDED_FACE if embedded else limit
    most_voice = most_voice if max_voice is None else max_voice
    found = []
    for (i, j), face in zip(candidates, faces, strict=True):
        voice = voice_distance(voices, i, j) / min(cohort_voice[i], cohort_voice[j])
        nearness = face / min(cohort_face[i], cohort_face[j])
        if voice <= most_voice and nearness <= most_face and face <= limit:
            found.append(
                Alias(names[i], names[j], round(float(voice), 3), round(float(nearness), 3))
            )
    return found


def merged(prints: Sequence[Print]) -> Print:
    """One print of all clips of a speaker."""
    frames = np.array([each.frames for each in prints], float)
    share = frames / frames.sum()
    mean = sum(part * each.mean for part, each in zip(share, prints, strict=True))
    spread = sum(
        part * (each.covariance + np.outer(each.mean - mean, each.mean - mean))
        for part, each in zip(share, prints, strict=True)
    )
    crops = np.concatenate([each.faces for each in prints[:CLIPS_COMPARED]])
    voices = [each.voice for each in prints if each.voice is not None]
    voice = None
    if len(voices) == len(prints):
        total = np.sum(voices, axis=0)
        voice = total / max(float(np.linalg.norm(total)), 1e-6)
    return Print(mean, spread, int(frames.sum()), crops.astype(np.float32), voice)


@dataclass(frozen=True)
class Voices:
    """Factors of the distances of all voices: row i of `left` times row j of `right`, float32."""

    left: np.ndarray
    right: np.ndarray


def voice_factors(speakers: Sequence[Print]) -> Voices:
    """The symmetric Kullback-Leibler divergence of Gaussians as a product of matrices.

    trace(A B) is a dot product, and (m - n)' A (m - n) expands to three.
    """
    means = np.stack([each.mean for each in speakers])
    means = means - means.mean(axis=0)  # smaller terms, which cancel with less error
    spreads = np.stack([each.covariance for each in speakers])
    inverse = np.linalg.inv(spreads)
    count, size = means.shape
    square = means[:, :, None] * means[:, None]
    own = np.einsum("nij,ni,nj->n", inverse, means, means)
    pulled = np.einsum("nij,nj->ni", inverse, means)
    ones = np.ones((count, 1))
    flat = {"inverse": inverse.reshape(count, -1), "spread": (spreads + square).reshape(count, -1)}
    left = [flat["inverse"], flat["spread"], pulled, means, own[:, None] - 2 * size, ones]
    right = [flat["spread"], flat["inverse"], -2 * means, -2 * pulled, ones, own[:, None]]
    return Voices(np.hstack(left) / 2, np.hstack(right))


def embedding_factors(speakers: Sequence[Print]) -> Voices:
    """1 - cosine of learned embeddings, as a product of matrices."""
    rows = np.stack([each.voice for each in speakers if each.voice is not None])
    ones = np.ones((len(rows), 1))
    return Voices(np.hstack([-rows, ones]), np.hstack([rows, ones]))


def voice_distance(voices: Voices, one: int, other: int) -> float:
    """The distance of two speakers' voices, 0 for equal ones."""
    return float(max(0.0, voices.left[one] @ voices.right[other]))


def face_distance(one: Print, other: Print) -> float:
    """1 - the largest cosine between a crop of one and a crop of the other."""
    return float(1 - (one.faces @ other.faces.T).max())


def _nearest_voices(
    speakers: Sequence[Print], embedded: bool
) -> tuple[Voices, np.ndarray, np.ndarray]:
    """The voices; each speaker's nearest others (n, k); the mean distance of the cohorts (n,)."""
    voices = embedding_factors(speakers) if embedded else voice_factors(speakers)
    most = MAX_COHORT_EMBEDDED if embedded else MAX_COHORT_VOICE
    count = len(speakers)
    near, cohort = [], []
    for start in range(0, count, BLOCK):
        block = voices.left[start : start + BLOCK] @ voices.right.T
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        order = np.argsort(block, axis=1, kind="stable")[:, : min(CANDIDATES, count - 1)]
        nearest = np.take_along_axis(block, order, axis=1)[:, :COHORT]
        near.append(order)
        cohort.append([_cohort(row, most) for row in nearest])
    return voices, np.concatenate(near), np.concatenate(cohort)


def _nearest_faces(speakers: Sequence[Print]) -> np.ndarray:
    """Each speaker's nearest others by the mean of the crops, int64 (n, k)."""
    centers = np.stack([each.faces.mean(axis=0) for each in speakers])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    near = []
    for start in range(0, len(centers), BLOCK):
        block = -centers[start : start + BLOCK] @ centers.T
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        order = np.argsort(block, axis=1, kind="stable")
        near.append(order[:, : min(CANDIDATES, len(centers) - 1)])
    return np.concatenate(near)


def _candidates(*near: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (i < j) of speakers that are near each other in any table."""
    pairs = {
        (min(i, j), max(i, j))
        for table in near
        for i, row in enumerate(table.tolist())
        for j in row
    }
    return sorted(pairs)


def _cohorts(count: int, pairs: Sequence[tuple[int, int]], distances: np.ndarray) -> np.ndarray:
    """The mean distance of each speaker's cohort by face (n,)."""
    own: list[list[float]] = [[] for _ in range(count)]
    for (i, j), distance in zip(pairs, distances.tolist(), strict=True):
        own[i].append(distance)
        own[j].append(distance)
    return np.array([_cohort(np.sort(row)[:COHORT], MAX_COHORT_FACE) for row in own])


def _cohort(nearest: np.ndarray, most: float) -> float:
    """The mean distance of a cohort; what a small corpus lacks counts as `most`."""
    return max(1e-9, min(most, float(nearest.sum() + (COHORT - len(nearest)) * most) / COHORT))


def _spread(prints: Mapping[str, Sequence[Print]]) -> float:
    """The largest face distance that clips of one speaker have here; infinite where unknown."""
    within = [
        1 - float((one.faces.astype(np.float32) @ other.faces.astype(np.float32).T).max())
        for own in prints.values()
        for place, one in enumerate(own[:CLIPS_COMPARED])
        for other in own[place + 1 : CLIPS_COMPARED]
    ]
    if len(within) < MIN_SPREAD_PAIRS:
        return np.inf
    return SPREAD_FACTOR * float(np.quantile(within, SPREAD_QUANTILE))
