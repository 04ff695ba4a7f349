"""Sound: reading, 16 kHz extraction, and the mel spectrogram of the public models.

Source of the features: the audio front end of Wav2Lip (Prajwal et al., 2020), as its weights were
trained: reflection padding, Slaney mel bands, values clipped to [-4, 4].
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
import wave
from pathlib import Path

import ffmpeg
import librosa
import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.files import atomic_path
from lipsync_core.video import FPS, PathLike, ffmpeg_exe

SAMPLE_RATE = 16_000
HOP = 200  # samples between mel columns: 80 columns a second
MEL_RATE = SAMPLE_RATE // HOP
MEL_BANDS = 80
MEL_WINDOW = 16  # columns of one window: 200 ms, five frames at 25 fps
WINDOW = 800  # samples of one STFT window
PREEMPHASIS = 0.97
FLOOR_DB, REFERENCE_DB, LIMIT = -100.0, 20.0, 4.0


def load_wav(path: PathLike) -> np.ndarray:
    """The sound of any file as float32 (N,) in [-1, 1], mono, 16 kHz, from the file's time zero.

    Raises ClipError: no_audio when the file has no sound, unreadable when it cannot be decoded.
    """
    return _decode_pcm(path).astype(np.float32) / 32768.0


def extract_audio(path: PathLike, wav_path: PathLike) -> float:
    """Write the sound of `path` as 16-bit mono 16 kHz PCM; return its length in seconds.

    Raises as `load_wav`.
    """
    pcm = _decode_pcm(path)
    with atomic_path(wav_path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        out.writeframes(pcm.astype("<i2").tobytes())
    return len(pcm) / SAMPLE_RATE


def _decode_pcm(path: PathLike) -> np.ndarray:
    source = Path(path).absolute()
    if not source.is_file():
        raise ClipError(Reason.UNREADABLE, f"{source}: no such file")
    # first_pts=0 pads (or trims) a stream that starts later (or earlier) than the picture.
    command = (
        ffmpeg.input(str(source))
        .audio.filter("aresample", SAMPLE_RATE, **{"async": 1, "first_pts": 0})
        .output("pipe:", format="s16le", ac=1, ar=SAMPLE_RATE)
        .global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        .compile(cmd=ffmpeg_exe())
    )
    with tempfile.TemporaryFile() as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=False)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if "matches no streams" in said:
        raise ClipError(Reason.NO_AUDIO, f"{source}: it has no sound track")
    if not done.stdout:
        last = said.splitlines()[-1] if said else "no sound could be decoded"
        raise ClipError(Reason.UNREADABLE, f"{source}: {last}")
    return np.frombuffer(done.stdout[: len(done.stdout) // 2 * 2], dtype="<i2")


@functools.cache
def _mel_basis() -> np.ndarray:
    basis = librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MEL_BANDS, fmin=55, fmax=7600, htk=False, norm="slaney"
    )
    return basis.astype(np.float32)


def melspectrogram(wav: np.ndarray) -> np.ndarray:
    """Mel spectrogram, float32 (80, T) in [-4, 4], of a float32 (N,) wave at 16 kHz.

    T = 1 + N // 200. Equal within 1e-3 to the features of the public weights: pre-emphasis 0.97,
    STFT 800/200 with a Hann window, centred with *reflection* padding (librosa's default since
    0.9, zeros, changes the columns at both ends), 80 Slaney bands over 55-7600 Hz, dB, scaled.

    Raises ValueError when the wave is too short to reflect (N <= 400).
    """
    wav = np.asarray(wav, dtype=np.float32)
    if wav.ndim != 1 or len(wav) <= WINDOW // 2:
        raise ValueError(f"wave of shape {wav.shape}: wanted (N,) with N > {WINDOW // 2}")
    emphasised = np.append(wav[:1], wav[1:] - PREEMPHASIS * wav[:-1])
    spectrum = librosa.stft(
        emphasised, n_fft=WINDOW, hop_length=HOP, win_length=WINDOW, pad_mode="reflect"
    )
    level = 20.0 * np.log10(np.maximum(1e-5, _mel_basis() @ np.abs(spectrum))) - REFERENCE_DB
    scaled = 2 * LIMIT * (level - FLOOR_DB) / -FLOOR_DB - LIMIT
    return np.clip(scaled, -LIMIT, LIMIT).astype(np.float32)


def mel_window(mel: np.ndarray, frame: int, fps: float = FPS) -> np.ndarray:
    """The 200 ms of sound that begin with video frame `frame`: float32 (80, 16).

    `mel` is (T, 80), as stored. Columns past either end repeat the last (first) one, so that the
    last frames of a clip have a window too.
    """
    start = int(MEL_RATE * frame / fps)
    rows = np.clip(np.arange(start, start + MEL_WINDOW), 0, len(mel) - 1)
    return np.ascontiguousarray(mel[rows].T)
