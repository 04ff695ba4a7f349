"""Claim: audio and video are aligned to half a frame at every frame rate and start offset.

Writes videos in which a flash begins with a frame and a beep sounds at that frame's time, reads
them as preparation does (`extract_audio`, `read_frames`) and compares the times of flash and beep.
Half a frame, 20 ms, is the smallest error bound of a constant rate.

    python -m benchmarks.flash_and_beep [--minutes 10] [--suffix .mp4]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.io import wavfile
from scipy.signal import correlate

from lipsync_core.media.audio import SAMPLE_RATE, extract_audio
from lipsync_core.media.timestamps import FPS, read_timeline
from lipsync_core.media.video import read_frames

SIDE = 64
RATES = {
    "23.976": Fraction(24000, 1001),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "60": Fraction(60),
    "variable": None,
}
OFFSETS = {"none": (0.0, 0.0), "picture +0.333 s": (0.333, 0.0), "sound +0.217 s": (0.0, 0.217)}
FLASH = 0.2  # seconds
HALF_BEEP = 0.01  # seconds
SOURCE_RATE = 48_000
BOUND = 20.0  # ms


@dataclass(frozen=True)
class Film:
    """Pictures at `ticks` of `tick` seconds; flash and beep begin with the pictures `events`."""

    tick: Fraction
    ticks: np.ndarray
    events: np.ndarray

    @property
    def times(self) -> np.ndarray:
        return self.ticks * float(self.tick)


def film(rate: Fraction | None, seconds: float, offset: float = 0.0, seed: int = 0) -> Film:
    """Pictures at `rate` (None: 15 to 60 a second, changing at random), from `offset` seconds."""
    tick = Fraction(1, 90_000) if rate is None else Fraction(1, rate.numerator)
    if rate is None:
        steps = np.random.default_rng(seed).integers(90_000 // 60, 90_000 // 15, int(seconds * 60))
    else:
        steps = np.full(int(seconds * rate), rate.denominator)
    ticks = np.concatenate([[0], np.cumsum(steps)[:-1]])
    ticks = ticks[ticks * float(tick) < seconds] + round(offset / tick)
    # 1.1 s apart: every phase of the two rates comes round.
    starts = np.arange(0.8, seconds - 0.5, 1.1) + offset
    return Film(tick, ticks, np.searchsorted(ticks * float(tick), starts))


def write(path: Path, shown: Film, sound_offset: float = 0.0) -> Path:
    """Encode a film with its sound; H.264 and AAC (.mov: PCM; .ts: MP2)."""
    times = shown.times
    beeps = times[shown.events]
    wave = beeps_at(beeps - sound_offset, times[-1] + 0.1 - sound_offset)
    # MP4 states start offsets in ticks of the film; the usual 1 ms would be an error of the file.
    exact = {"movie_timescale": "720000"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=exact) as container:
        nominal = round(1 / np.median(np.diff(times)))
        options = {"preset": "ultrafast", "bf": "2"}
        picture = container.add_stream("libx264", nominal, options)
        picture.width = picture.height = SIDE
        picture.pix_fmt = "yuv420p"
        picture.time_base = picture.codec_context.time_base = shown.tick
        codec = {".mov": "pcm_s16le", ".ts": "mp2"}.get(path.suffix, "aac")
        sound = container.add_stream(codec, SOURCE_RATE)
        sound.layout = "mono"
        resampler = av.AudioResampler(sound.codec_context.format, "mono", SOURCE_RATE, 1024)
        position = 0

        def sound_until(second: float) -> None:
            nonlocal position
            while position < len(wave) and position / SOURCE_RATE + sound_offset < second:
                block = wave[None, position : position + 1024]
                frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
                frame.sample_rate, frame.time_base = SOURCE_RATE, Fraction(1, SOURCE_RATE)
                frame.pts = position + round(sound_offset * SOURCE_RATE)
                position += block.shape[1]
                for piece in resampler.resample(frame):
                    container.mux(sound.encode(piece))

        lit = np.zeros(len(times), bool)
        for event in shown.events:
            lit |= (times >= times[event]) & (times < times[event] + FLASH)
        for stamp, time, bright in zip(shown.ticks.tolist(), times, lit, strict=True):
            sound_until(time)
            frame = av.VideoFrame.from_ndarray(
                np.full((SIDE, SIDE, 3), 235 if bright else 20, np.uint8), "bgr24"
            )
            frame.pts, frame.time_base = stamp, shown.tick
            container.mux(picture.encode(frame))
        sound_until(times[-1] + 1)
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return path


def beep(rate: int) -> np.ndarray:
    time = np.arange(round(-HALF_BEEP * rate), round(HALF_BEEP * rate) + 1) / rate
    return np.cos(2 * np.pi * 1000 * time) * np.cos(np.pi * time / (2 * HALF_BEEP)) ** 2


def beeps_at(centers: Sequence[float], seconds: float) -> np.ndarray:
    wave = np.zeros(int(seconds * SOURCE_RATE))
    for center in centers:
        # Between two samples too: the beep is evaluated, not copied.
        first = int((center - HALF_BEEP) * SOURCE_RATE) + 1
        time = np.arange(first, first + int(2 * HALF_BEEP * SOURCE_RATE)) / SOURCE_RATE - center
        shape = np.cos(2 * np.pi * 1000 * time) * np.cos(np.pi * time / (2 * HALF_BEEP)) ** 2
        wave[first : first + len(shape)] = shape
    return (0.7 * 32767 * wave).astype(np.int16)


def errors(path: Path, work: Path) -> np.ndarray:
    """Flash minus beep in milliseconds, one number an event, from what preparation gives."""
    extract_audio(path, work / "sound.wav")
    rate, samples = wavfile.read(work / "sound.wav")
    assert rate == SAMPLE_RATE
    likeness = correlate(samples.astype(np.float64), beep(rate), "same")
    bright = np.array([frame.mean() > 128 for frame in read_frames(path)])
    flashes = (np.flatnonzero(bright[1:] & ~bright[:-1]) + 1) / FPS
    found = []
    for flash in flashes:
        first = max(0, round((flash - 0.4) * rate))
        place = first + likeness[first : round((flash + 0.4) * rate)].argmax()
        found.append(1000 * (flash - place / rate))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--suffix", default=".mp4", help=".mp4 .mkv .mov .ts")
    arguments = parser.parse_args()
    print(
        f"{'rate':9} {'offset':17} {'events':>6} {'worst ms':>9} {'mean ms':>8} "
        f"{'dropped':>8} {'repeated':>8}"
    )
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, rate in RATES.items():
            for label, (picture, sound) in OFFSETS.items():
                shown = film(rate, 60 * arguments.minutes, picture)
                path = write(work / f"film{arguments.suffix}", shown, sound)
                found = errors(path, work)
                assert len(found) == len(shown.events), "an event is missing"
                counts = read_timeline(path)
                worst = max(worst, np.abs(found).max())
                print(
                    f"{name:9} {label:17} {len(found):6} {np.abs(found).max():9.2f} "
                    f"{found.mean():8.2f} {counts.dropped:8} {counts.duplicated:8}",
                    flush=True,
                )
    verdict = "met" if round(worst, 1) <= BOUND else "MISSED"
    print(f"worst {worst:.2f} ms; bar {BOUND:.0f} ms: {verdict}")


if __name__ == "__main__":
    main()
