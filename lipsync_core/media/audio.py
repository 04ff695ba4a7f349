"""Audio of users' files as 16 kHz mono PCM, aligned to the clock of the file."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from lipsync_core.errors import DamagedFile
from lipsync_core.media import audio_alignment
from lipsync_core.media.pcm import Packets, decode_pcm
from lipsync_core.runtime.files import PathLike, atomic_path

SAMPLE_RATE = 16_000
WAV_HEADER_BYTES = 44
BLOCK_SAMPLES = 20 * SAMPLE_RATE  # processed at a time: the STFT of an hour is 1 GB


def load_wav(path: PathLike) -> np.ndarray:
    """The audio of any file as float32 (N,) in [-1, 1], mono, 16 kHz, from the file's time zero.

    Raises ClipError: no_audio when the file has no audio, unreadable when it cannot be decoded,
    timed_out, too_long.
    """
    return to_float(np.concatenate([np.zeros(0, "<i2"), *decoded_blocks(path)]))


def extract_audio(path: PathLike, wav_path: PathLike) -> float:
    """Write the audio of `path` as 16-bit mono 16 kHz PCM; return its length in seconds.

    The audio keeps the clock of the file: it begins at time zero (where the earlier of audio and
    video begins) and follows its time stamps, see `audio_alignment`. Memory does not grow with
    length. Raises as `load_wav`.
    """
    return write_wav(wav_path, decoded_blocks(path))


def write_aligned_wav(
    wav_path: PathLike, path: PathLike, pcm: IO[bytes], packets: Packets
) -> float:
    """`extract_audio` of samples that are decoded already, see `pcm.pcm_output`.

    path: the file they come from, for errors.
    """
    return write_wav(wav_path, _aligned_blocks(path, pcm, packets))


def write_wav(wav_path: PathLike, blocks: Iterable[np.ndarray]) -> float:
    """Write int16 (n,) blocks of 16 kHz mono as a WAV file, atomically; returns its seconds."""
    count = 0
    with atomic_path(wav_path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for block in blocks:
            out.writeframes(block.tobytes())
            count += len(block)
    return count / SAMPLE_RATE


def wav_blocks(wav_path: PathLike, block: int = BLOCK_SAMPLES) -> Iterator[np.ndarray]:
    """The samples of a file of `extract_audio`: float32 (n,), n <= `block`, in order."""
    with open_wav(wav_path) as stream:
        while data := stream.readframes(block):
            yield to_float(np.frombuffer(data, "<i2"))


def read_pcm(wav_path: PathLike) -> np.ndarray:
    """All samples of a file of `extract_audio`: int16 (N,). Raises as `open_wav`."""
    with open_wav(wav_path) as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), "<i2")


def shift_samples(samples: np.ndarray, shift: int) -> np.ndarray:
    """(N,) -> (N + shift,): zeros before the samples, or, below 0, without the first ones."""
    if shift < 0:
        return samples[-shift:]
    return np.concatenate([np.zeros(shift, samples.dtype), samples])


def open_wav(wav_path: PathLike) -> wave.Wave_read:
    """Open a file of `extract_audio`. Raises DamagedFile when it is missing or another."""
    try:
        stream = wave.open(str(wav_path), "rb")  # noqa: SIM115  (closed by the caller)
        size, found = Path(wav_path).stat().st_size, stream.getparams()
    except (OSError, EOFError, wave.Error) as error:
        raise DamagedFile(wav_path, f"not a whole wav file ({error})") from error
    if found[:3] != (1, 2, SAMPLE_RATE) or size != WAV_HEADER_BYTES + 2 * found.nframes:
        stream.close()
        raise DamagedFile(wav_path, f"not a whole wav file of 16 kHz mono ({size} bytes)")
    return stream


def to_float(pcm: np.ndarray) -> np.ndarray:
    """int16 samples as float32 in [-1, 1)."""
    return pcm.astype(np.float32) / 32768.0


def decoded_blocks(path: PathLike) -> Iterator[np.ndarray]:
    """Blocks of int16 samples, mono, 16 kHz, aligned to the file's clock."""
    with tempfile.TemporaryFile() as pcm:
        yield from _aligned_blocks(path, pcm, decode_pcm(path, pcm))


def _aligned_blocks(path: PathLike, pcm: IO[bytes], packets: Packets) -> Iterator[np.ndarray]:
    corrections = audio_alignment.checked_corrections(path, packets)
    yield from audio_alignment.apply(pcm, corrections)
