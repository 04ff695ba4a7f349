"""Mel spectrograms for the public models; re-exports `load_wav`.

The features are those of Wav2Lip (Prajwal et al., 2020), as its weights were trained: reflection
padding, Slaney mel bands, values clipped to [-4, 4].
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import tempfile
import threading
from collections.abc import Callable, Iterator

import numpy as np

from lipsync_core.errors import ClipError, DamagedFile, Reason
from lipsync_core.media.audio import BLOCK_SAMPLES, SAMPLE_RATE, decoded_blocks, open_wav, to_float
from lipsync_core.media.audio import load_wav as load_wav  # a public name of this module
from lipsync_core.media.video import FPS
from lipsync_core.runtime.files import PathLike, atomic_path

HOP = 200  # samples between mel columns: 80 columns a second
MEL_RATE = SAMPLE_RATE // HOP
MEL_BANDS = 80
MEL_WINDOW = 16  # columns of one window: 200 ms, five frames at 25 fps
STFT_WINDOW = 800  # samples of one STFT window
PREEMPHASIS = 0.97
FLOOR_DB, REFERENCE_DB, MAX_ABS = -100.0, 20.0, 4.0
# NumPy parses a header by `ast`, which in CPython 3.11 is not safe to use in several threads at
# once: a garbage collection within it can raise SystemError (recursion depth mismatch).
HEADER_LOCK = threading.Lock()


@functools.cache
def _mel_basis() -> np.ndarray:
    import librosa  # imports slowly; most of this module does not need it

    basis = librosa.filters.mel(
        sr=SAMPLE_RATE,
        n_fft=STFT_WINDOW,
        n_mels=MEL_BANDS,
        fmin=55,
        fmax=7600,
        htk=False,
        norm="slaney",
    )
    return basis.astype(np.float32)


def melspectrogram(wav: np.ndarray) -> np.ndarray:
    """Mel spectrogram, float32 (80, T) in [-4, 4], of a float32 (N,) wave at 16 kHz.

    T = 1 + N // 200. Equal within 1e-3 to the features of the public weights: pre-emphasis 0.97,
    STFT 800/200 with a Hann window, centered with *reflection* padding (librosa's default since
    0.9, zeros, changes the columns at both ends), 80 Slaney bands over 55-7600 Hz, dB, scaled.
    Computed in blocks of 20 s, which bounds the memory and does not change the values.

    Raises ValueError when the wave is too short to reflect (N <= 400).
    """
    wav = np.asarray(wav, dtype=np.float32)
    if wav.ndim != 1 or len(wav) <= STFT_WINDOW // 2:
        raise ValueError(f"wave of shape {wav.shape}: wanted (N,) with N > {STFT_WINDOW // 2}")
    blocks = _mel_blocks(lambda first, last: wav[first:last], len(wav))
    return np.concatenate([block.T for block in blocks], axis=1)


def write_mel(wav_path: PathLike, target: PathLike) -> int:
    """Write the mel spectrogram of an extracted wav as a .npy file, float32 (T, 80); return T.

    Reads and writes in blocks: memory does not grow with length. Raises ClipError (too_short),
    DamagedFile.
    """
    with open_wav(wav_path) as stream:

        def read(first: int, last: int) -> np.ndarray:
            stream.setpos(first)
            return to_float(np.frombuffer(stream.readframes(last - first), "<i2"))

        count = stream.getnframes()
        if count <= STFT_WINDOW:
            raise ClipError(Reason.TOO_SHORT, f"{count} samples of audio")
        columns = 1 + count // HOP
        header = {"descr": "<f4", "fortran_order": False, "shape": (columns, MEL_BANDS)}
        with atomic_path(target) as temporary, open(temporary, "wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            for block in _mel_blocks(read, count):
                out.write(np.ascontiguousarray(block, "<f4").data)
    return columns


def file_features(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Mel spectrogram of the audio of any file, float32 (T, 80), and its samples, int16 (N,).

    The samples are at 16 kHz. Both are processed in blocks, and are memory maps of unnamed
    temporary files (0.2 GB an hour): memory does not grow with length, if `unload` is called.
    Raises as `load_wav`, and ClipError: too_short.
    """
    with tempfile.TemporaryFile() as samples, tempfile.TemporaryFile() as out:
        for block in decoded_blocks(path):
            samples.write(block.data)
        samples.flush()
        count = samples.tell() // 2
        if count <= STFT_WINDOW:
            seconds = f"{count / SAMPLE_RATE:.2f} s of audio"
            raise ClipError(Reason.TOO_SHORT, f"{path}: {seconds} are too short; give 0.1 s")
        pcm = np.memmap(samples, "<i2", "r", shape=(count,))
        for columns in _mel_blocks(lambda first, last: to_float(pcm[first:last]), count):
            out.write(np.ascontiguousarray(columns, "<f4").data)
        out.flush()
        mel = np.memmap(out, "<f4", "r", shape=(1 + count // HOP, MEL_BANDS))
    return mel, pcm


def unload(mapped: np.ndarray) -> None:
    """Take a memory map's pages that were read out of memory; they are read again when used."""
    if isinstance(mapped.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.base.madvise(mmap.MADV_DONTNEED)


def mel_length(path: PathLike) -> int:
    """Columns T of a stored mel spectrogram, float32 (T, 80), from the file's header alone.

    `numpy.load` maps the file, which takes five times as long.
    Raises DamagedFile when the file is missing, truncated or holds anything else.
    """
    return len(_stored_mel(path, header_only=True))


def read_mel(path: PathLike) -> np.ndarray:
    """A stored mel spectrogram, float32 (T, 80). Raises DamagedFile when it is anything else."""
    mel = _stored_mel(path)
    if not (np.abs(mel) <= MAX_ABS).all():  # also catches NaN
        raise DamagedFile(path, f"values beyond [-{MAX_ABS:g}, {MAX_ABS:g}]")
    return mel


def _stored_mel(path: PathLike, header_only: bool = False) -> np.ndarray:
    """The array of a file, after its shape and length are checked; zeros with `header_only`."""
    try:
        with open(path, "rb") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("not written by numpy.save")
            with HEADER_LOCK:
                shape, _, kind = np.lib.format.read_array_header_1_0(stream)
            size = os.fstat(stream.fileno()).st_size
            missing = math.prod(shape) * kind.itemsize + stream.tell() - size
            if missing > 0:
                raise ValueError(f"the last {missing} bytes are missing")
            if len(shape) != 2 or shape[1] != MEL_BANDS or kind.kind != "f":
                wanted = f"(T, {MEL_BANDS}) of floats"
                raise ValueError(f"shape {shape} of {kind}, wanted {wanted}")
            if header_only:
                return np.broadcast_to(np.zeros(1, kind), shape)
            return np.fromfile(stream, kind, math.prod(shape)).reshape(shape)
    except (OSError, ValueError) as error:
        raise DamagedFile(path, str(error)) from error


def _mel_blocks(read: Callable[[int, int], np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Mel columns float32 (t, 80) of a wave of `count` samples; `read(first, last)` gives them."""
    for start in range(0, count + 1, BLOCK_SAMPLES):
        # A column reads half a window on each side; those at the edges of a block are dropped.
        first, last = max(0, start - STFT_WINDOW), min(start + BLOCK_SAMPLES + STFT_WINDOW, count)
        columns = _mel_columns(read(first, last))
        skipped = (start - first) // HOP
        yield columns[:, skipped : skipped + BLOCK_SAMPLES // HOP].T


def _mel_columns(wav: np.ndarray) -> np.ndarray:
    import librosa

    emphasized = np.append(wav[:1], wav[1:] - PREEMPHASIS * wav[:-1])
    spectrum = librosa.stft(
        emphasized, n_fft=STFT_WINDOW, hop_length=HOP, win_length=STFT_WINDOW, pad_mode="reflect"
    )
    level = 20.0 * np.log10(np.maximum(1e-5, _mel_basis() @ np.abs(spectrum))) - REFERENCE_DB
    scaled = 2 * MAX_ABS * (level - FLOOR_DB) / -FLOOR_DB - MAX_ABS
    return np.clip(scaled, -MAX_ABS, MAX_ABS).astype(np.float32)


def mel_window(mel: np.ndarray, frame: int, fps: float = FPS) -> np.ndarray:
    """The 200 ms of audio from video frame `frame` on: float32 (80, 16); see `mel_windows`."""
    return mel_windows(mel, np.array([frame]), fps)[0]


def mel_windows(mel: np.ndarray, frames: np.ndarray, fps: float = FPS) -> np.ndarray:
    """The 200 ms of audio from the start of each of the video's `frames` (n,): float32 (n, 80, 16).

    `mel` is (T, 80), as stored. Columns past either end repeat the last (first) one, so that the
    last frames of a clip have a window too.
    """
    return mel_windows_from(mel, (MEL_RATE * np.asarray(frames) / fps).astype(np.int64))


def mel_windows_from(mel: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The windows that begin at these columns, int64 (n,), of `mel` (T, 80); see `mel_windows`."""
    rows = np.clip(starts[:, None] + np.arange(MEL_WINDOW), 0, len(mel) - 1)
    return np.ascontiguousarray(mel[rows].transpose(0, 2, 1))
