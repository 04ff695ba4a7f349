"""Claim: tones, noise, music and babble are dropped as no_speech, talking people are kept.

Sounds of 3 and 10 s from `sounds`; babble of 6 to 12 voices, of the clips (or of eSpeak without
any). Every clip is also tried with noise, traffic and music added, through a telephone, in a hall
and over babble. Last, processor seconds a minute of audio of each setting of `audio.dnsmos`, of
clips of 3 s and of one long file, without loading the models.

    python benchmarks/speech.py [--clips DIR] [--seeds 10] [--every 4]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import sounds
from lipsync_core.config import CheckConfig
from lipsync_core.corpus.clips import discover
from lipsync_core.demo.plan import Voice
from lipsync_core.demo.sentences import ENGLISH
from lipsync_core.demo.speech import say
from lipsync_core.errors import ClipError
from lipsync_core.media.audio import load_wav, write_wav
from lipsync_core.preparation.checks import check
from lipsync_core.preparation.speech import SpeechMeter

VOICES = (
    *("en-us+f2", "en-gb-x-rp+f4", "en-us+m3", "en-029+f3", "en-us+m7", "en-gb-scotland+m2"),
    *("en-us-nyc+f5", "en+m1", "en-us+Annie", "en-us+belinda", "en-gb-x-gbclan+m4", "de", "es"),
)
LENGTHS = (3.0, 10.0)  # seconds
DEGRADED_SECONDS = 12  # of a clip


def spoken_voices() -> list[np.ndarray]:
    """Sentences by voices of eSpeak."""
    texts = (ENGLISH[number] for number in range(len(VOICES)))
    return [say(text, Voice(name)).wav for text, name in zip(texts, VOICES, strict=True)]


class Bench:
    """Counts what is dropped in each group."""

    def __init__(self, folder: Path) -> None:
        self.wav = folder / "sound.wav"
        self.meter = SpeechMeter("off")
        self.config = CheckConfig(max_silence=1)

    def measure(self, wave: np.ndarray) -> dict:
        """The measures of a sound."""
        write_wav(self.wav, [(np.clip(wave, -1, 1) * 32767).astype("<i2")])
        return self.meter.measure(self.wav)

    def dropped(self, wave: np.ndarray) -> str:
        """The reason for which a sound is dropped, and its kind; "" when it is kept."""
        found = self.measure(wave)
        try:
            check({"frames": 99, **found}, self.config)
        except ClipError as error:
            return f"{error.reason} ({found['audio_kind']})"
        return ""

    def row(self, label: str, waves: Iterator[np.ndarray] | list[np.ndarray]) -> None:
        """Print how many of the sounds are dropped, and as what."""
        found = [self.dropped(wave) for wave in waves]
        why = ", ".join(f"{number} {reason}" for reason, number in Counter(found).items() if reason)
        print(f"{label:18s} {len(found):5d} {sum(map(bool, found)):8d}  {why}", flush=True)


def no_speech(bench: Bench, voices: list[np.ndarray], seeds: int) -> None:
    """Sounds that must be dropped."""
    for name, sound in (sounds.TONES_AND_NOISE | sounds.MUSIC).items():
        bench.row(name, [sound(length, seed) for length in LENGTHS for seed in range(seeds)])
    for count in (6, 8, 10, 12):
        if count <= len(voices):
            made = (sounds.babble(voices, length, seed, count) for length in LENGTHS
                    for seed in range(seeds))  # fmt: skip
            bench.row(f"babble of {count}", made)


def degraded(bench: Bench, clips: list[np.ndarray]) -> None:
    """Speech in noise, over the telephone, in a hall and over babble: should be kept."""
    added = {name: (sounds.TONES_AND_NOISE | sounds.MUSIC)[name]
             for name in ("white_noise", "pink_noise", "traffic", "band", "piano")}  # fmt: skip
    for name, sound in added.items():
        for ratio in (10, 5, 0):
            mixed = (
                sounds.mix(clip, sound(len(clip) / sounds.RATE + 1, seed), ratio)
                for seed, clip in enumerate(clips)
            )
            bench.row(f"{name} {ratio} dB", mixed)
    bench.row("telephone", map(sounds.telephone, clips))
    bench.row("hall", (sounds.hall(clip, seed) for seed, clip in enumerate(clips)))
    for ratio in (10, 5):
        mixed = (
            sounds.mix(clip, sounds.babble([*clips[:seed], *clips[seed + 1 :]], 13, seed), ratio)
            for seed, clip in enumerate(clips)
        )
        bench.row(f"babble {ratio} dB", mixed if len(clips) > 8 else [])


def cost(folder: Path, voices: list[np.ndarray]) -> None:
    """Processor seconds a minute of audio."""
    joined = np.concatenate(voices * (1 + int(180 * sounds.RATE / sum(map(len, voices)))))
    pcm = (joined[: 180 * sounds.RATE] * 32767).astype("<i2")
    short = [folder / f"{number}.wav" for number in range(60)]
    for number, path in enumerate(short):
        write_wav(path, [pcm[number * 3 * sounds.RATE : (number + 1) * 3 * sounds.RATE]])
    write_wav(folder / "long.wav", [pcm])
    print(f"\n{'processor seconds a minute':28s} {'60 clips of 3 s':>16s} {'180 s':>8s}")
    for mode in ("off", "sample", "all"):
        meter = SpeechMeter(mode)
        meter.quality(short[0])  # loads the models
        figures = []
        for paths in (short, [folder / "long.wav"]):
            start = time.process_time()
            for path in paths:
                meter.measure(path, path.name)
            figures.append((time.process_time() - start) / 3)
        print(f"audio.dnsmos: {mode:14s} {figures[0]:16.2f} {figures[1]:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, help="a data root of talking people")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--every", type=int, default=4, help="degrade every n-th clip")
    options = parser.parse_args()
    waves = spoken_voices()
    labels = list(VOICES)
    if options.clips:
        found = discover(options.clips, 1)
        labels = [clip.id for clip in found]
        waves = [load_wav(clip.source(options.clips)) for clip in found]
    voiced = [wave[: 16 * sounds.RATE] for wave in waves if np.mean(np.abs(wave) > 0.02) > 0.1]
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        print(f"{'sounds':18s} {'count':>5s} {'dropped':>8s}")
        no_speech(bench, voiced, options.seeds)
        print("-- to be kept")
        bench.row("clips", waves)
        for label, wave in zip(labels, waves, strict=True):
            if bench.dropped(wave):
                print("  dropped:", label, bench.measure(wave))
        degraded(bench, [w[: DEGRADED_SECONDS * sounds.RATE] for w in waves[:: options.every]])
        cost(Path(name), voiced)


if __name__ == "__main__":
    main()
