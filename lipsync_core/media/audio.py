"""Audio of users' files as 16 kHz mono PCM, on the clock of the file."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, DamagedFile, Reason
from lipsync_core.media import audio_alignment
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.video import CLOCK_OUTPUT
from lipsync_core.runtime.files import PathLike, atomic_path

SAMPLE_RATE = 16_000
WAV_HEADER_BYTES = 44  # bytes
BLOCK_SAMPLES = 20 * SAMPLE_RATE  # samples worked on at a time: the STFT of an hour is 1 GB


def load_wav(path: PathLike) -> np.ndarray:
    """The sound of any file as float32 (N,) in [-1, 1], mono, 16 kHz, from the file's time zero.

    Raises ClipError: no_audio when the file has no sound, unreadable when it cannot be decoded,
    timed_out, too_long.
    """
    return _floats(np.concatenate([np.zeros(0, "<i2"), *_decode_pcm(path)]))


def extract_audio(path: PathLike, wav_path: PathLike) -> float:
    """Write the sound of `path` as 16-bit mono 16 kHz PCM; return its length in seconds.

    The sound keeps the clock of the file: it begins at time zero (where the earlier of sound and
    picture begins) and follows its time stamps, see `audio_alignment`. Memory does not grow with
    length. Raises as `load_wav`.
    """
    return _write_wav(wav_path, _decode_pcm(path))


def write_aligned_wav(
    wav_path: PathLike, path: PathLike, pcm: IO[bytes], stamps: np.ndarray, lengths: np.ndarray
) -> float:
    """`extract_audio` of sound that is decoded already, see `pcm_output` and `parse_pcm_packets`.

    path: the file that it comes from, for errors.
    """
    return _write_wav(wav_path, _aligned_blocks(path, pcm, stamps, lengths))


def _write_wav(wav_path: PathLike, blocks: Iterable[np.ndarray]) -> float:
    count = 0
    with atomic_path(wav_path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for block in blocks:
            out.writeframes(block.tobytes())
            count += len(block)
    return count / SAMPLE_RATE


def wav_blocks(wav_path: PathLike, block: int = BLOCK_SAMPLES) -> Iterator[np.ndarray]:
    """The samples of a file that `extract_audio` wrote: float32 (n,), n <= `block`, in order."""
    with _open_wav(wav_path) as stream:
        while data := stream.readframes(block):
            yield _floats(np.frombuffer(data, "<i2"))


def _open_wav(wav_path: PathLike) -> wave.Wave_read:
    """Open a file that `extract_audio` wrote. Raises DamagedFile when it is missing or another."""
    try:
        stream = wave.open(str(wav_path), "rb")  # noqa: SIM115  (closed by the caller)
        size, seen = Path(wav_path).stat().st_size, stream.getparams()
    except (OSError, EOFError, wave.Error) as error:
        raise DamagedFile(wav_path, f"not a whole wav file ({error})") from error
    if seen[:3] != (1, 2, SAMPLE_RATE) or size != WAV_HEADER_BYTES + 2 * seen.nframes:
        stream.close()
        raise DamagedFile(wav_path, f"not a whole wav file of 16 kHz mono ({size} bytes)")
    return stream


def _floats(pcm: np.ndarray) -> np.ndarray:
    return pcm.astype(np.float32) / 32768.0


def _decode_pcm(path: PathLike) -> Iterator[np.ndarray]:
    """Blocks of int16 samples, mono, 16 kHz, placed on the file's clock."""
    with tempfile.TemporaryFile() as pcm:
        stamps, lengths = _raw_pcm(path, pcm)
        yield from _aligned_blocks(path, pcm, stamps, lengths)


def _aligned_blocks(
    path: PathLike, pcm: IO[bytes], stamps: np.ndarray, lengths: np.ndarray
) -> Iterator[np.ndarray]:
    runs = audio_alignment.checked_corrections(path, stamps, lengths)
    pcm.seek(0)
    yield from audio_alignment.apply(pcm, runs)


def pcm_output(packets: str, pcm: IO[bytes]) -> list[str]:
    """ffmpeg's arguments that decode the sound, mono, 16 kHz, 16 bit, into the file `pcm`.

    The time stamps of its packets go to the output `packets` ("pipe:<n>"), see `parse_pcm_packets`.
    """
    # One encoder, two muxers: the bytes go to the file, their time stamps to the other output.
    slaves = f"[f=framecrc]{packets}|[f=s16le]pipe:{pcm.fileno()}"
    sound = ["-map", "0:a:0", "-af", f"aresample={SAMPLE_RATE}", "-ac", "1", "-ar", "16000"]
    return [*sound, "-c:a", "pcm_s16le", "-f", "tee", slaves]


def parse_pcm_packets(
    lines: Iterable[str], extend_deadline: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Time stamps and lengths of the packets, int64 (n,), both in samples at 16 kHz; n may be 0.

    extend_deadline: called with the seconds of each packet.
    """
    packets: list[tuple[int, int]] = []
    for line in lines:
        if line.startswith("0,"):
            _, _, stamp, _, size, *_ = line.split(",")
            packets.append((int(stamp), int(size) // 2))
            if extend_deadline is not None:
                extend_deadline(packets[-1][1] / SAMPLE_RATE)
    stamps, lengths = np.array(packets, np.int64).reshape(-1, 2).T
    return stamps, lengths


def _raw_pcm(path: PathLike, pcm: IO[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Decode into `pcm`; give the time stamps and lengths (both in samples) of its packets."""
    outputs = [*pcm_output("pipe:1", pcm), *CLOCK_OUTPUT]
    with Decoder(path, outputs, pass_fds=[pcm.fileno()]) as decoder:
        stamps, lengths = parse_pcm_packets(decoder.lines(), decoder.extend_deadline)
        decoder.finish()
        if not len(stamps) and "matches no streams" in decoder.stderr_tail():
            raise ClipError(Reason.NO_AUDIO, f"{decoder.source}: it has no audio track")
        if not len(stamps):
            raise decoder.failure("no sound could be decoded")
    return stamps, lengths
