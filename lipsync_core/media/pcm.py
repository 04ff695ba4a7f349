"""Decode the audio track of a user's file to 16-bit PCM, with the time stamps of its packets."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.timestamps import CLOCK_OUTPUT
from lipsync_core.runtime.files import PathLike

SAMPLE_BYTES = 2
MONO_16_KHZ = ("-af", "aresample=16000", "-ac", "1", "-ar", "16000")


@dataclass(frozen=True)
class Packets:
    """Decoded packets. stamps, lengths: int64 (n,), both in samples; n may be 0.

    rate: samples a second and channel. channels: of interleaved int16 samples. size: bytes in all.
    """

    stamps: np.ndarray
    lengths: np.ndarray
    rate: int
    channels: int
    size: int


def pcm_output(packets: str, pcm: IO[bytes], conversion: Iterable[str] = MONO_16_KHZ) -> list[str]:
    """ffmpeg's arguments that decode the audio, with this conversion, into the file `pcm`.

    The time stamps of its packets go to the output `packets` ("pipe:<n>"), see `parse_packets`.
    """
    # One encoder, two muxers: the samples go to the file, their time stamps to the other output.
    slaves = f"[f=framecrc]{packets}|[f=s16le]pipe:{pcm.fileno()}"
    return ["-map", "0:a:0", *conversion, "-c:a", "pcm_s16le", "-f", "tee", slaves]


def parse_packets(
    lines: Iterable[str], extend_deadline: Callable[[float], None] | None = None
) -> Packets:
    """Packets from the lines that ffmpeg writes to the output `packets` of `pcm_output`.

    extend_deadline: called with the seconds of each packet.
    """
    stamps, sizes = array("q"), array("q")
    rate = duration = 0
    for line in lines:
        if line.startswith("#sample_rate 0: "):
            rate = int(line.partition(":")[2])
        elif line.startswith("0,"):
            _, _, stamp, length, data, *_ = line.split(",")
            stamps.append(int(stamp))
            sizes.append(int(data))
            duration += int(length)
            if extend_deadline is not None:
                extend_deadline(int(length) / rate)
    size = sum(sizes)
    channels = round(size / (SAMPLE_BYTES * duration)) if duration else 1
    lengths = np.array(sizes, np.int64) // (SAMPLE_BYTES * channels)
    return Packets(np.array(stamps, np.int64), lengths, rate, channels, size)


def decode_pcm(path: PathLike, pcm: IO[bytes], conversion: Iterable[str] = MONO_16_KHZ) -> Packets:
    """Decode the first audio track of `path` into the file `pcm`.

    Raises ClipError: no_audio, unreadable, timed_out; LipsyncError when the disk is full.
    """
    outputs = [*pcm_output("pipe:1", pcm, conversion), *CLOCK_OUTPUT]
    with Decoder(path, outputs, pass_fds=[pcm.fileno()]) as decoder:
        packets = parse_packets(decoder.lines(), decoder.extend_deadline)
        decoder.finish()
        if not len(packets.stamps) and "matches no streams" in decoder.stderr_tail():
            raise ClipError(Reason.NO_AUDIO, f"{decoder.source}: it has no audio track")
        if not len(packets.stamps):
            raise decoder.failure("no audio could be decoded")
    if pcm.seek(0, 2) != packets.size:
        raise LipsyncError(
            f"{tempfile.gettempdir()}: no room for the {packets.size >> 20} MB of audio of {path}; "
            "set TMPDIR to a folder with more"
        )
    return packets
