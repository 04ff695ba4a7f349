"""Prepared clips made on the spot: audio and face crops of takes, and copies of them."""

from __future__ import annotations

import hashlib
import subprocess
import wave
import zipfile
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.audio import melspectrogram
from lipsync_core.media.audio import load_wav
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation.audio_fingerprint import audio_fingerprint
from tests.support.media import portrait

RATE, FPS, SIDE = 16000, 25, 96


def speech(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Syllables of buzz with wandering pitch, resonances and pauses: float32 (n,) at 16 kHz."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * RATE:
        time = np.arange(int(rng.uniform(0.08, 0.3) * RATE)) / RATE
        pitch = rng.uniform(90, 220) * (1 + rng.uniform(-0.2, 0.2) * time)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = sum(
            np.exp(-(((k * pitch.mean() - peak) / 250) ** 2)) * np.sin(k * phase)
            for peak in rng.uniform(300, 3000, 3)
            for k in range(1, 25)
        )
        parts.append(np.hanning(len(time)) * tone / 6 * rng.uniform(0.3, 1))
        parts.append(np.zeros(int(rng.uniform(0, 0.08) * RATE)))
    wav = np.concatenate(parts)[: int(seconds * RATE)]
    return (0.3 * wav + 1e-4 * rng.standard_normal(len(wav))).clip(-1, 1).astype(np.float32)


def other_person() -> np.ndarray:
    """The portrait with another brow, mouth and cheeks: a face that is like it, uint8 BGR."""
    face = portrait().copy()
    blurred = cv2.GaussianBlur(face, (0, 0), 6)
    x, y = np.meshgrid(np.arange(face.shape[1]), np.arange(face.shape[0]))
    shift = 9 * np.sin(x / 11) + 9 * np.cos(y / 9)
    turned = cv2.remap(
        blurred,
        (x + shift).astype(np.float32),
        (y + shift).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return turned


def frames(face: np.ndarray, seed: int, seconds: float = 3.0) -> list[np.ndarray]:
    """A face that sways and whose mouth opens and closes: uint8 (SIDE, SIDE, 3) at 25 a second."""
    rng = np.random.default_rng(seed)
    sway, opening = (cv2.GaussianBlur(rng.standard_normal((1, 200)), (9, 1), 2) for _ in range(2))
    made = []
    for index in range(round(seconds * FPS)):
        picture = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        mouth = (SIDE // 2, 3 * SIDE // 4)
        height = max(1, int(6 + 10 * opening[0, index]))
        cv2.ellipse(picture, mouth, (12, height), 0, 0, 360, (20, 20, 60), -1)
        shift = np.float32([[1, 0, 4 * sway[0, index]], [0, 1, 2 * sway[0, index + 50]]])
        made.append(cv2.warpAffine(picture, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    return made


def through_mp3(wav: np.ndarray, folder: Path, kbps: int = 32) -> np.ndarray:
    """The wave after MP3 and back: float32 (n,)."""
    folder.mkdir(parents=True, exist_ok=True)
    source, coded, back = (folder / name for name in ("in.wav", "a.mp3", "out.wav"))
    _write_wav(source, wav)
    run = [ffmpeg_exe(), "-v", "error", "-y", "-i"]
    subprocess.run([*run, source, "-b:a", f"{kbps}k", coded], check=True)
    subprocess.run([*run, coded, "-ar", "16000", "-ac", "1", back], check=True)
    return load_wav(back)


def prepare(
    results: Path, clip: str, wav: np.ndarray, pictures: list[np.ndarray], quality: int = 90
) -> dict[str, str]:
    """Write what the stages leave of a clip; return its row's fingerprints."""
    source = clip.partition("+")[0]
    _write_wav(results / "audio" / f"{source}.wav", wav)
    archive = results / "faces" / f"{clip}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as out:
        for index, picture in enumerate(pictures):
            options = [cv2.IMWRITE_JPEG_QUALITY, quality]
            out.writestr(f"{index}.jpg", cv2.imencode(".jpg", picture, options)[1].tobytes())
    stored = load_wav(results / "audio" / f"{source}.wav")
    return {
        "audio_sha1": hashlib.sha1(stored.tobytes()).hexdigest()[:16],
        "audio_fingerprint": audio_fingerprint(melspectrogram(stored).T),
    }


def _write_wav(path: Path, wav: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((wav * 32767).round().astype("<i2").tobytes())
