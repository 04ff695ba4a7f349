"""Do mouths move with the sound, and with what offset? A cheap measure that needs no network.

Sound is predicted from the mouth's picture and motion by ridge regression, at every offset of up to
`MAX_SHIFT` frames, and each prediction is judged on clips that it was not fitted to. Where lips and
sound belong together the correlation has one clear peak, at the offset of the corpus. Sounds paired
with other clips' faces tell how large a correlation chance gives. Numpy in, numbers out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from lipsync_core.audio import MEL_BANDS, MEL_RATE
from lipsync_core.media.video import FPS

MAX_SHIFT = 15  # frames of offset looked at, either way
BANDS = 5  # the sound is its level in so many bands
SIDE = 96  # pixels: the size at which pictures are looked at
MOUTH = (slice(SIDE // 2, SIDE), slice(20, 76))  # rows, columns of a face crop
UPPER = (slice(10, 45), slice(20, 76))
PARTS = 4  # the regression is fitted to three parts and judged on the fourth
RIDGE = 30.0
NUM_MISMATCHES = 64  # wrong pairings that tell what chance gives
HIGHPASS_FRAMES = (
    2 * FPS + 1
)  # frames: slower changes are light, pose and loudness of the recording
DETECTION_SIGMAS = 4.0  # standard deviations above chance from which a link counts as found
TYPICAL_CORRELATION = 0.15  # correlation that lips and sound of ordinary videos reach at least
MAX_SECOND_PEAK = 0.75  # of the peak: a second peak as high as this makes the offset uncertain
PEAK_WIDTH = 4  # frames from the peak, beyond which another one is a second peak


@dataclass(frozen=True)
class Features:
    """What is looked at of a run of n frames of one clip.

    mouth: float32 (n, F); sound: float32 (n, 5). motion: mean change of the mouth from frame to
    frame in grey levels (0..255). level: standard deviation of the sound's level, in units of the
    mel spectrogram (12.5 dB).
    """

    mouth: np.ndarray
    sound: np.ndarray
    motion: float
    level: float


@dataclass(frozen=True)
class Correlation:
    """correlations: for the offsets -15 .. 15 frames (above 0 the picture comes late).

    offset, peak: where it is highest, and how high. chance: mean and standard deviation for wrong
    pairings. found: the peak is no chance. certain: and no other offset fits nearly as well.
    enough: an ordinary link would have been found in so many frames.
    """

    correlations: tuple[float, ...]
    offset: int
    peak: float
    chance: tuple[float, float]
    found: bool
    certain: bool
    enough: bool


def features(faces: np.ndarray, mel: np.ndarray, first: int) -> Features:
    """Of consecutive frames `first` .. `first` + n - 1.

    faces: uint8 (n, S, S, 3), n >= 2, whole crops; mel: float32 (T, 80), of the whole clip.
    """
    grey = np.stack([_grey_face(face) for face in faces])
    mouth, upper = grey[:, *MOUTH], grey[:, *UPPER]
    shape = np.stack([cv2.resize(m, (7, 6), interpolation=cv2.INTER_AREA) for m in mouth])
    change = _changes(mouth)
    where = np.stack([cv2.resize(m, (3, 3), interpolation=cv2.INTER_AREA) for m in change])
    head = _changes(upper).mean((1, 2))[:, None]
    shape = _highpass(shape.reshape(len(grey), -1))
    moving = _highpass(np.log1p(np.hstack([where.reshape(len(grey), -1), head])))
    sound = _levels(mel, first, len(grey))
    return Features(
        np.hstack([shape / (shape.std() + 1.0), moving]).astype(np.float32),
        _highpass(sound).astype(np.float32),
        float(change.mean()),
        float(sound.mean(1).std()),
    )


def _grey_face(face: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    if grey.shape == (SIDE, SIDE):
        return grey
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _changes(pictures: np.ndarray) -> np.ndarray:
    """Mean absolute change from the frame before and to the frame after: (n, H, W) -> (n, H, W)."""
    steps = np.abs(np.diff(pictures, axis=0))
    return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def _highpass(series: np.ndarray) -> np.ndarray:
    """Without the changes that take more than two seconds: (n, F) -> (n, F)."""
    return series - uniform_filter1d(
        series.astype(np.float64), HIGHPASS_FRAMES, axis=0, mode="nearest"
    )


def _levels(mel: np.ndarray, first: int, count: int) -> np.ndarray:
    """Level of the sound of each frame in five bands: (T, 80) -> (count, 5)."""
    bands = np.asarray(mel, np.float64).reshape(len(mel), BANDS, MEL_BANDS // BANDS).mean(2)
    total = np.concatenate([np.zeros((1, BANDS)), bands.cumsum(0)])
    edges = np.arange(first, first + count + 1) * MEL_RATE / FPS
    edges = np.clip(edges.round().astype(int), 0, len(mel))
    begin = np.minimum(edges[:-1], len(mel) - 1)
    end = np.maximum(edges[1:], begin + 1)
    return (total[end] - total[begin]) / (end - begin)[:, None]


def av_correlation(runs: Iterable[Features], seed: int = 0) -> Correlation:
    """The link between mouths and sound in runs of frames, best of many clips and speakers."""
    runs = list(runs)
    mouth = _standard(np.concatenate([run.mouth for run in runs]))
    sound = _standard(np.concatenate([run.sound for run in runs]))
    lengths = np.array([len(run.mouth) for run in runs])
    part = np.repeat(np.arange(len(runs)) % PARTS, lengths)
    if len(runs) < PARTS:
        part = np.concatenate([np.arange(n) * PARTS // n for n in lengths])
    begin = np.repeat(np.cumsum(lengths) - lengths, lengths)
    end = begin + np.repeat(lengths, lengths)
    judge = _Judge(mouth, part)
    place = np.arange(len(mouth))
    found = []
    for offset in range(-MAX_SHIFT, MAX_SHIFT + 1):
        heard = place - offset  # a late picture shows what was heard before
        inside = (heard >= begin) & (heard < end)
        found.append(judge(np.where(inside[:, None], sound[heard % len(sound)], 0), inside))
    rng = np.random.default_rng(seed)
    rolls = rng.integers(len(sound) // 8, len(sound) - len(sound) // 8, NUM_MISMATCHES)
    everywhere = np.ones(len(sound), bool)
    chance = [judge(np.roll(sound, roll, axis=0), everywhere) for roll in rolls]
    return _summarize(np.array(found), float(np.mean(chance)), float(np.std(chance)))


def _summarize(correlations: np.ndarray, mean: float, deviation: float) -> Correlation:
    best = int(correlations.argmax())
    peak = float(correlations[best])
    far = np.abs(np.arange(len(correlations)) - best) > PEAK_WIDTH
    sure = peak > mean + DETECTION_SIGMAS * deviation
    return Correlation(
        tuple(round(float(value), 4) for value in correlations),
        best - MAX_SHIFT,
        peak,
        (mean, deviation),
        found=sure,
        certain=bool(sure and correlations[far].max() < MAX_SECOND_PEAK * peak),
        enough=mean + DETECTION_SIGMAS * deviation < TYPICAL_CORRELATION,
    )


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / (values.std(0) + 1e-6)


class _Judge:
    """Correlation of sounds with what mouths predict of them, each part by the other parts."""

    def __init__(self, mouth: np.ndarray, part: np.ndarray) -> None:
        self.mouth, self.part = mouth.astype(np.float64), part
        ridge = RIDGE * np.eye(mouth.shape[1])
        grams = [self.mouth[part == p].T @ self.mouth[part == p] for p in range(PARTS)]
        self.inverses = [np.linalg.inv(sum(grams) - gram + ridge) for gram in grams]

    def __call__(self, sound: np.ndarray, inside: np.ndarray) -> float:
        """Mean over the bands; `sound` is (N, 5), 0 where `inside` is False."""
        own = [self.mouth[self.part == p].T @ sound[self.part == p] for p in range(PARTS)]
        said = np.empty_like(sound, dtype=np.float64)
        for p, inverse in enumerate(self.inverses):
            here = self.part == p
            said[here] = self.mouth[here] @ (inverse @ (sum(own) - own[p]))
        said, true = said[inside], sound[inside].astype(np.float64)
        said, true = said - said.mean(0), true - true.mean(0)
        spread = np.sqrt((said**2).sum(0) * (true**2).sum(0))
        return float(np.mean((said * true).sum(0) / np.maximum(spread, 1e-12)))
