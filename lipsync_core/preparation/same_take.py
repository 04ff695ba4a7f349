"""Comparison of two prepared clips by their samples and face crops: are they the same take?

The same take under another encoding, gain, frame rate, trim or mirrored has correlated audio and
similar crops at equal times. Other audio on the same video, or another person with the same audio,
is another take.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.audio import SAMPLE_RATE, load_wav
from lipsync_core.media.timestamps import FPS

BAND_HZ = (200.0, 3400.0)  # without hum, and kept by every codec
MAX_LAG_ERROR = 0.06  # seconds between the suggested lag and the actual one
MAX_SECONDS = 30.0  # of the overlap are compared
MIN_OVERLAP = 0.5  # seconds; less is no evidence
# 423 copies of 27 real clips (four codecs, gains, trims, a mirror): 0.90 or more. The 2,626 pairs
# that fingerprints wrongly suggest among one man's 1,000 sentences: 0.52 or less.
MIN_CORRELATION = 0.7
CROP_SIZE, MARGIN = 48, 6  # pixels: crops are compared at this size, shifted by up to the margin
MAX_CROPS, MIN_CROPS = 12, 4  # compared, spread over the overlap
# The same copies: 0.853 or more (a face of 40 pixels at half the size), 0.894 without that one. Two
# people, all pairs of the 77 speakers of the real clips: 0.824 or less.
MIN_SIMILARITY = 0.84


class Files(NamedTuple):
    """Where the prepared audio and face crops of a clip lie."""

    wav: Path
    crops: Path


class Match(NamedTuple):
    """How far two clips agree.

    correlation: the largest normalized cross-correlation of the audio, absolute, 0..1. lag: seconds
    by which the first clip has the common part later than the second. similarity: the median
    correlation of the face crops at equal times, -1..1. mirrored: one clip's frames are
    mirror images of the other's.
    """

    correlation: float
    lag: float
    similarity: float = -1.0
    mirrored: bool = False

    @property
    def same(self) -> bool:
        """Whether the clips are the same take."""
        return self.correlation >= MIN_CORRELATION and self.similarity >= MIN_SIMILARITY


def match(one: Files, other: Files, lags: Sequence[float]) -> Match:
    """Compare two clips at the most promising of the given lags (seconds, see `Match`).

    Without lags their samples are known to be equal, and only the crops are compared.
    Raises ClipError (unreadable) when a file is missing or damaged.
    """
    found = Match(1.0, 0.0)
    if lags:
        waves = load_wav(one.wav), load_wav(other.wav)
        found = max(match_audio(*waves, lag) for lag in lags)
    if found.correlation < MIN_CORRELATION:
        return found
    with closing(CropArchive(one.crops)) as first, closing(CropArchive(other.crops)) as second:
        similarity, mirrored = match_crops(first, second, found.lag)
    return Match(found.correlation, found.lag, similarity, mirrored)


def match_audio(one: np.ndarray, other: np.ndarray, lag: float) -> Match:
    """Correlate two waves, float32 (n,) at 16 kHz, where they overlap at about `lag` seconds.

    The correlation is 0 when the overlap is shorter than `MIN_OVERLAP`.
    """
    shift = round(lag * SAMPLE_RATE)
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    count = min(len(first), len(second), round(MAX_SECONDS * SAMPLE_RATE))
    if count < MIN_OVERLAP * SAMPLE_RATE:
        return Match(0.0, lag)
    reach = round(MAX_LAG_ERROR * SAMPLE_RATE)
    size = cv2.getOptimalDFTSize(count + reach)
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    band = (frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1])
    spectra = [np.fft.rfft(wave[:count], size) * band for wave in (first, second)]
    # Parseval: the other half of the spectrum, its mirror image, has the same energy.
    energies = [2 * float(np.sum(np.abs(spectrum) ** 2)) / size for spectrum in spectra]
    product = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    product = np.abs(np.concatenate([product[-reach:], product[: reach + 1]]))
    best = int(product.argmax())
    correlation = float(product[best]) / max((energies[0] * energies[1]) ** 0.5, 1e-9)
    return Match(correlation, (shift + best - reach) / SAMPLE_RATE)


def match_crops(one: CropArchive, other: CropArchive, lag: float) -> tuple[float, bool]:
    """Similarity of the crops of two clips at equal times, and whether one is mirrored.

    The frames may be off the audio by one, since frame rates are converted. The similarity is -1
    when they have fewer than `MIN_CROPS` frames in common.
    """
    offset = round(lag * FPS)
    common = np.intersect1d(one.frames, other.frames + offset)
    if len(common) < MIN_CROPS:
        return -1.0, False
    chosen = common[np.unique(np.linspace(0, len(common) - 1, MAX_CROPS).round().astype(int))]
    own = {frame: _gray(one, frame) for frame in chosen.tolist()}
    available = frozenset(other.frames.tolist())
    best = (-1.0, False)
    for step in (0, -1, 1):
        pairs = [(own[frame], frame - offset + step) for frame in own]
        pairs = [(crop, frame) for crop, frame in pairs if frame in available]
        if len(pairs) < MIN_CROPS:
            continue
        theirs = [_gray(other, frame) for _, frame in pairs]
        for mirrored in (False, True):
            values = [
                _similarity(crop, crop2[:, ::-1] if mirrored else crop2)
                for (crop, _), crop2 in zip(pairs, theirs, strict=True)
            ]
            best = max(best, (float(np.median(values)), mirrored))
    return best


def _similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Largest correlation of a crop's inner part with the other crop, uint8 (S, S) each."""
    inner = one[MARGIN:-MARGIN, MARGIN:-MARGIN]
    found = cv2.matchTemplate(np.ascontiguousarray(other), inner.copy(), cv2.TM_CCOEFF_NORMED)
    return float(found.max())


def _gray(archive: CropArchive, frame: int) -> np.ndarray:
    return cv2.cvtColor(archive.decode(frame, CROP_SIZE), cv2.COLOR_BGR2GRAY)
