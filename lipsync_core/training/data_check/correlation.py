"""Audio-visual correlation at every offset: a cheap measure of sync without a network.

Ridge regression predicts the audio from the appearance and motion of the mouth, at offsets of up to
`MAX_SHIFT` frames, and is tested on clips that it was not fitted to. If audio and video match, the
correlation has one clear peak, at the offset of the corpus. Audio that is paired with other frames
gives the correlation by chance. NumPy in, numbers out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from lipsync_core.audio import MEL_BANDS, MEL_RATE
from lipsync_core.media.video import FPS

MAX_SHIFT = 15  # frames, in both directions
BANDS = 5  # of the audio level
SIDE = 96  # pixels, size of the crops
MOUTH = (slice(SIDE // 2, SIDE), slice(20, 76))  # rows, columns of a crop
UPPER = (slice(10, 45), slice(20, 76))
FOLDS = 4  # of the cross-validation
RIDGE = 30.0
NUM_MISMATCHES = 64  # wrong pairings for the correlation by chance
HIGHPASS_FRAMES = 2 * FPS + 1  # slower changes are light, pose and loudness of the recording
DETECTION_SIGMAS = 4.0  # standard deviations above chance
TYPICAL_CORRELATION = 0.15  # ordinary videos reach at least this
MAX_SECOND_PEAK = 0.75  # of the peak; a higher second peak makes the offset uncertain
PEAK_WIDTH = 4  # frames; correlations further away from the peak are a second peak


@dataclass(frozen=True)
class Features:
    """Features of n consecutive frames of one clip.

    mouth: float32 (n, F); audio: float32 (n, 5). motion: mean change of the mouth between frames in
    gray levels (0..255). level: standard deviation of the audio level, in units of the mel
    spectrogram (12.5 dB).
    """

    mouth: np.ndarray
    audio: np.ndarray
    motion: float
    level: float


@dataclass(frozen=True)
class Correlation:
    """Correlations at the offsets -15 .. 15 frames (above 0 the video is late).

    offset, peak: of the highest correlation. threshold: correlation that chance does not reach.
    found: the peak is above it. certain: and no other offset fits nearly as well. enough: there are
    enough frames to find a typical correlation.
    """

    correlations: tuple[float, ...]
    offset: int
    peak: float
    threshold: float
    found: bool
    certain: bool
    enough: bool


def features(faces: np.ndarray, mel: np.ndarray, first: int) -> Features:
    """Features of the consecutive frames `first` .. `first` + n - 1.

    faces: uint8 (n, S, S, 3), n >= 2, whole crops; mel: float32 (T, 80), of the whole clip.
    """
    gray = np.stack([_gray_face(face) for face in faces])
    mouth, upper = gray[:, *MOUTH], gray[:, *UPPER]
    change = _changes(mouth)
    head = _changes(upper).mean((1, 2))[:, None]
    shape = _highpass(_pooled(mouth, (7, 6)))
    moving = _highpass(np.log1p(np.hstack([_pooled(change, (3, 3)), head])))
    audio = _levels(mel, first, len(gray))
    return Features(
        np.hstack([shape / (shape.std() + 1.0), moving]).astype(np.float32),
        _highpass(audio).astype(np.float32),
        float(change.mean()),
        float(audio.mean(1).std()),
    )


def _gray_face(face: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    if gray.shape == (SIDE, SIDE):
        return gray
    return cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _pooled(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (n, H, W) averaged over a grid of (columns, rows): (n, columns * rows)."""
    pooled = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(pooled).reshape(len(images), -1)


def _changes(images: np.ndarray) -> np.ndarray:
    """Mean absolute difference to the previous and the next image: (n, H, W) -> (n, H, W)."""
    steps = np.abs(np.diff(images, axis=0))
    return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def _highpass(series: np.ndarray) -> np.ndarray:
    """Remove changes that take longer than two seconds: (n, F) -> (n, F)."""
    mean = uniform_filter1d(series.astype(np.float64), HIGHPASS_FRAMES, axis=0, mode="nearest")
    return series - mean


def _levels(mel: np.ndarray, first: int, count: int) -> np.ndarray:
    """Audio level of each frame in five bands: (T, 80) -> (count, 5)."""
    bands = np.asarray(mel, np.float64).reshape(len(mel), BANDS, MEL_BANDS // BANDS).mean(2)
    total = np.concatenate([np.zeros((1, BANDS)), bands.cumsum(0)])
    edges = np.arange(first, first + count + 1) * MEL_RATE / FPS
    edges = np.clip(edges.round().astype(int), 0, len(mel))
    begin = np.minimum(edges[:-1], len(mel) - 1)
    end = np.maximum(edges[1:], begin + 1)
    return (total[end] - total[begin]) / (end - begin)[:, None]


def av_correlation(runs: Iterable[Features]) -> Correlation:
    """Correlation of mouths and audio in runs of frames, ideally of many clips and speakers."""
    runs = list(runs)
    mouth = _standardized(np.concatenate([run.mouth for run in runs]))
    audio = _standardized(np.concatenate([run.audio for run in runs]))
    lengths = np.array([len(run.mouth) for run in runs])
    fold = np.repeat(np.arange(len(runs)) % FOLDS, lengths)
    if len(runs) < FOLDS:
        fold = np.concatenate([np.arange(n) * FOLDS // n for n in lengths])
    begin = np.repeat(np.cumsum(lengths) - lengths, lengths)
    end = begin + np.repeat(lengths, lengths)
    frame = np.arange(len(mouth))
    # A late video shows earlier audio. Audio outside of the clip is 0 and not counted.
    sources = [frame - offset for offset in range(-MAX_SHIFT, MAX_SHIFT + 1)]
    inside = [(source >= begin) & (source < end) for source in sources]
    rng = np.random.default_rng(0)
    rolls = rng.integers(len(audio) // 8, len(audio) - len(audio) // 8, NUM_MISMATCHES)
    sources += [frame - roll for roll in rolls]
    inside += [np.ones(len(audio), bool)] * NUM_MISMATCHES
    targets = [
        np.where(mask[:, None], audio[source % len(audio)], 0)
        for source, mask in zip(sources, inside, strict=True)
    ]
    predicted = np.split(_cross_validated(mouth, np.hstack(targets), fold), len(targets), axis=1)
    found = np.array(list(map(_correlation, predicted, targets, inside)))
    return _summarize(found[: 2 * MAX_SHIFT + 1], found[2 * MAX_SHIFT + 1 :])


def _cross_validated(mouth: np.ndarray, audio: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Ridge regression of audio (N, A) on mouths (N, F); each fold is predicted by the others."""
    predicted = np.empty(audio.shape)
    for index in range(FOLDS):
        test, x = fold == index, mouth[fold != index].astype(np.float64)
        gram = x.T @ x + RIDGE * np.eye(x.shape[1])
        predicted[test] = mouth[test] @ np.linalg.solve(gram, x.T @ audio[~test])
    return predicted


def _correlation(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation of the columns of (N, 5) where `mask`, mean over the columns."""
    x, y = (values[mask] - values[mask].mean(0) for values in (predicted, target))
    norm = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return float(np.mean((x * y).sum(0) / np.maximum(norm, 1e-12)))


def _summarize(correlations: np.ndarray, chance: np.ndarray) -> Correlation:
    best = int(correlations.argmax())
    peak = float(correlations[best])
    far = np.abs(np.arange(len(correlations)) - best) > PEAK_WIDTH
    threshold = float(chance.mean() + DETECTION_SIGMAS * chance.std())
    return Correlation(
        tuple(round(float(value), 4) for value in correlations),
        best - MAX_SHIFT,
        peak,
        threshold,
        found=peak > threshold,
        certain=bool(peak > threshold and correlations[far].max() < MAX_SECOND_PEAK * peak),
        enough=threshold < TYPICAL_CORRELATION,
    )


def _standardized(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / (values.std(0) + 1e-6)
