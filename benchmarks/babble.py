"""Claim: the discriminant of `preparation.babble` tells many voices from one.

Fits it by logistic regression on one half of the speakers and counts mistakes on the other, both
ways, then prints the weights of a fit on all. Babble: 6 to 16 voices, 3 and 10 s. One voice: the
clips, alone, with noise and music at 10, 5 and 0 dB, by telephone, in a hall, and over babble.

    python benchmarks/babble.py --clips DIR [--every 2] [--babbles 20]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import sounds
from lipsync_core.corpus.clips import discover
from lipsync_core.media.audio import load_wav
from lipsync_core.media.speech import ONSET, SpeechDetector
from lipsync_core.preparation import babble

SECONDS = 12  # of a clip
NOISES = ("white_noise", "pink_noise", "traffic", "band", "piano")
BABBLE_WEIGHT = 3  # there are fewer of them


def made(waves: list[np.ndarray], every: int, babbles: int) -> Iterator[tuple[str, np.ndarray]]:
    """Labelled sounds of these voices."""
    voices = [wave for wave in waves if np.mean(np.abs(wave) > 0.02) > 0.1]
    for wave in waves:
        yield "clips", wave
    for seed, wave in enumerate(waves[::every]):
        for name in NOISES:
            noise = (sounds.TONES_AND_NOISE | sounds.MUSIC)[name](len(wave) / 16000 + 1, seed)
            for ratio in (10, 5, 0):
                yield f"{name} {ratio} dB", sounds.mix(wave, noise, ratio)
        yield "telephone", sounds.telephone(wave)
        yield "hall", sounds.hall(wave, seed)
        crowd = sounds.babble([voice for voice in voices if voice is not wave], 13, seed)
        yield "over babble 10 dB", sounds.mix(wave, crowd, 10)
    for seed in range(babbles):
        for seconds in (3.0, 10.0):
            for count in (6, 8, 10, 12, 16):
                yield f"BABBLE of {count}", sounds.babble(voices, seconds, seed, count)


def table(detector: SpeechDetector, labelled: Iterator[tuple[str, np.ndarray]]) -> tuple:
    """Labels (n,) and features (n, 7) of the sounds with speech."""
    labels, rows = [], []
    for label, wave in labelled:
        probabilities = detector.probabilities([wave])
        if (probabilities >= ONSET).any():
            labels.append(label)
            rows.append(babble.features(probabilities, babble.frame_statistics(wave)))
    return np.array(labels), np.array(rows)


def fit(labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (7,) and constant."""
    weight = {True: BABBLE_WEIGHT, False: 1}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, class_weight=weight))
    model.fit(rows, np.char.startswith(labels, "BABBLE"))
    scale, line = model[0], model[1]
    weights = line.coef_[0] / scale.scale_
    return weights, float(line.intercept_[0] - weights @ scale.mean_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="a data root of talking people")
    parser.add_argument("--every", type=int, default=2, help="degrade every n-th clip")
    parser.add_argument("--babbles", type=int, default=20, help="of each length and count")
    options = parser.parse_args()
    found = discover(options.clips, 1)
    speakers = sorted({clip.speaker for clip in found})
    halves: list[list[np.ndarray]] = [[], []]
    for clip in found:
        wave = load_wav(clip.source(options.clips))[: SECONDS * 16000]
        halves[speakers.index(clip.speaker) % 2].append(wave)
    detector = SpeechDetector()
    tables = [table(detector, made(half, options.every, options.babbles)) for half in halves]
    scores = []
    for (labels, rows), (other_labels, other_rows) in (tables, tables[::-1]):
        weights, constant = fit(labels, rows)
        scores.append((other_labels, other_rows @ weights + constant))
    names, values = (np.concatenate(each) for each in zip(*scores, strict=True))
    print(
        f"{'people not fitted to':22s} {'count':>6s} {'babble':>7s} {'lowest':>7s} {'highest':>8s}"
    )
    for name in dict.fromkeys(names.tolist()):
        own = values[names == name]
        print(f"{name:22s} {len(own):6d} {(own > 0).sum():7d} {own.min():7.1f} {own.max():8.1f}")
    labels, rows = (np.concatenate(each) for each in zip(*tables, strict=True))
    weights, constant = fit(labels, rows)
    print("WEIGHTS =", weights.round(2).tolist(), " BIAS =", round(constant, 2))
    print("stored: ", babble.WEIGHTS.tolist(), babble.BIAS)


if __name__ == "__main__":
    main()
