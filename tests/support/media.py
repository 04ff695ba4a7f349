"""Small videos made on the spot: a still portrait that sways, over a sentence."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.demo.photos import photo_path
from lipsync_core.demo.plan import Voice
from lipsync_core.demo.sentences import ENGLISH
from lipsync_core.demo.speech import LEAD_SECONDS, say
from lipsync_core.media.video import VideoWriter

SIDE = 160


@cache
def portrait() -> np.ndarray:
    """A public-domain face, uint8 (160, 160, 3) BGR."""
    picture = cv2.imread(str(photo_path("collins")))
    return cv2.resize(picture[20:260, 100:340], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@cache
def sentence(seed: int) -> np.ndarray:
    """A synthesized sentence without silence before it: float32 (n,) at 16 kHz, peak 0.6."""
    voice = Voice(("en-us+f2", "en-us+m3", "en+m1", "en-gb-x-rp+f4")[seed % 4])
    return say(ENGLISH[seed % len(ENGLISH)], voice).wav[int(LEAD_SECONDS * 16000) :]


def write_wav(path: Path, seconds: float, seed: int = 0, level: float = 0.3) -> Path:
    """A sentence, repeated where it is too short, 16 kHz mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.resize(sentence(seed), int(seconds * 16000)) * (level / 0.6)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_video(
    path: Path,
    seconds: float = 1.2,
    *,
    fps: int = 25,
    face: bool = True,
    sound: bool = True,
    seed: int = 0,
) -> Path:
    """An MP4 with or without a face, with or without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = portrait() if face else np.full((SIDE, SIDE, 3), 90, np.uint8)
    voice = write_wav(path.parent / f".{seed}.wav", seconds, seed) if sound else None
    with VideoWriter(path, (SIDE, SIDE), fps=fps, audio=voice, threads=1) as writer:
        for index in range(round(seconds * fps)):
            shift = np.float32([[1, 0, 3 * np.sin(index / 7 + seed)], [0, 1, 0]])
            writer.write(
                cv2.warpAffine(picture, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
            )
    if voice is not None:
        voice.unlink()
    return path
