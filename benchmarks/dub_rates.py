"""Claim: a dubbed video keeps its source's frame rate, the length of the audio, and sync.

Sources flash, and the audio beeps 0.1 s later: in the middle of the 0.2 s of audio that a generator
gets for the frame of the flash. A stand-in for the generator lights the mouth from there on, and
the table shows the time between mouth and beep in the result. A wrong rate, or windows counted in
frames of another rate, would show.

    python -m benchmarks.dub_rates [--seconds 60]
    python -m benchmarks.dub_rates --face man.mp4 --audio speech.wav --checkpoint wav2lip.pth

With a real clip: it is converted to each rate and dubbed by a real generator; frames and lengths
are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from unittest import mock

import av
import numpy as np
from scipy.io import wavfile
from scipy.signal import correlate

from benchmarks import flash_and_beep
from lipsync_core.dubbing import dub
from lipsync_core.dubbing.generators import Generator
from lipsync_core.media.audio import SAMPLE_RATE, load_wav
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.timestamps import read_timeline

RATES = {
    "24": Fraction(24),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "60": Fraction(60),
    "variable": None,
}
MIDDLE = 8  # columns of a window of 16
DELAY = 0.1  # seconds to the middle of a window
BOX = (16, 64, 8, 56)  # top, bottom, left, right; over it the flash is seen


class BeepLight:
    """An engine: lights the mouth when the beep is in the middle of the window, or before it."""

    name, image_size, batch_size = "beep light", 96, 16

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(B, 80, 16) and (B, 6, S, S) -> (B, S, S, 3), all ones or all zeros."""
        power = (10 ** (1.25 * (mels + 4)) - 1).sum(axis=1)
        place = (power * np.arange(power.shape[1])).sum(1) / np.maximum(power.sum(1), 1e-6)
        lit = (power.max(1) > 1000) & (place < MIDDLE + 1)
        shape = (len(faces), *faces.shape[2:], 3)
        return np.broadcast_to(lit.astype(np.float32)[:, None, None, None], shape)


@dataclass(frozen=True)
class Outcome:
    """rate: of the result. seconds: of its picture, audio: of the sound that went in.

    errors: mouth minus beep in ms, one an event; events: how many there should be.
    """

    rate: Fraction
    frames: int
    seconds: float
    audio: float
    errors: np.ndarray
    events: int


def dub_film(rate: Fraction | None, seconds: float, work: Path, suffix: str = ".mp4") -> Outcome:
    """Dub a film of flashes at `rate` (None: varying) with the beeps; measure what came out."""
    shown = flash_and_beep.film(rate, seconds)
    face = flash_and_beep.write(work / f"film{suffix}", shown)
    beeps = shown.times[shown.events] + DELAY
    audio = work / "beeps.wav"
    samples = flash_and_beep.beeps_at(beeps, seconds)
    wavfile.write(audio, flash_and_beep.SOURCE_RATE, samples)
    out = work / "dubbed.mp4"
    with mock.patch.object(dub, "load_generator", lambda *_, **__: Generator(BeepLight())):
        dub.dub(face, audio, face, out, box=BOX, device="cpu", blend="hard")
    times, lit = _mouths(out)
    begins = times[np.flatnonzero(lit[1:] & ~lit[:-1]) + 1]
    sound = load_wav(out)
    likeness = correlate(sound.astype(np.float64), flash_and_beep.beep(SAMPLE_RATE), "same")
    found = []
    for begin in begins:
        first = max(0, round((begin - 0.3) * SAMPLE_RATE))
        place = first + likeness[first : round((begin + 0.5) * SAMPLE_RATE)].argmax()
        found.append(1000 * (begin + DELAY - place / SAMPLE_RATE))
    return Outcome(
        *_shape(out), len(samples) / flash_and_beep.SOURCE_RATE, np.array(found), len(beeps)
    )


def _mouths(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """When each frame is shown, and whether its mouth is lit."""
    with av.open(str(path)) as container:
        frames = [
            (frame.time, frame.to_ndarray(format="gray")[48:56, 24:40].mean() > 128)
            for frame in container.decode(video=0)
        ]
    times, lit = zip(*frames, strict=True)
    return np.array(times), np.array(lit)


def times(path: Path) -> np.ndarray:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return np.array([frame.time for frame in container.decode(video=0)])


def _shape(path: Path) -> tuple[Fraction, int, float]:
    """Frame rate, frames and seconds of the picture."""
    with av.open(str(path)) as container:
        picture = container.streams.video[0]
        return picture.average_rate, picture.frames, float(picture.duration * picture.time_base)


def flashes(seconds: float) -> bool:
    """Print the table of the stand-in; True when all bounds hold."""
    print(
        f"{'source':9} {'result':>11} {'frames':>7} {'length ms':>10} {'worst ms':>9} {'half':>6}"
    )
    good = True
    for name, rate in RATES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = dub_film(rate, seconds, Path(folder))
        half = 500 / found.rate
        length = 1000 * (found.seconds - found.audio)
        worst = np.abs(found.errors).max()
        print(
            f"{name:9} {found.rate!s:>11} {found.frames:7} {length:10.2f} {worst:9.2f} "
            f"{float(half):6.2f}",
            flush=True,
        )
        good &= len(found.errors) == found.events and abs(length) <= half + 0.1
        good &= worst <= half if rate else worst <= 2 * half  # no picture begins with a beep
        good &= rate in (None, found.rate)
    return good


def clip(face: Path, audio: Path, checkpoint: Path, out: Path) -> bool:
    """Bring a real clip to each rate and dub it; print and check rates and lengths."""
    print("source         result  frames  length ms   half  no face")
    good = True
    seconds = len(load_wav(audio)) / SAMPLE_RATE
    out.mkdir(parents=True, exist_ok=True)
    for name, rate in {"itself": read_timeline(face).rate, **RATES}.items():
        if rate is None:
            continue
        source, dubbed = face, out / f"dubbed_{name}.mp4"
        if name != "itself":
            source = out / f"source_{name}.mp4"
            command = [ffmpeg_exe(), "-v", "error", "-y", "-i", str(face.absolute()), "-an"]
            subprocess.run([*command, "-vf", f"fps={rate}", "-crf", "16", str(source)], check=True)
        stats = dub.dub(source, audio, checkpoint, dubbed)
        found, frames, length = _shape(dubbed)
        half = 500 / rate
        error = 1000 * (length - seconds)
        print(
            f"{name:9} {found!s:>11} {frames:7} {error:10.2f} {float(half):6.2f} "
            f"{stats.faceless_frames:8}",
            flush=True,
        )
        good &= found == rate and abs(error) <= half
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--face", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=Path("dub_rates"))
    options = parser.parse_args()
    if options.face:
        good = clip(options.face, options.audio, options.checkpoint, options.out)
    else:
        good = flashes(options.seconds)
    print("rates, lengths and mouths:", "met" if good else "MISSED")


if __name__ == "__main__":
    main()
