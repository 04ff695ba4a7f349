"""The sound of any file as samples at its own rate and channels, to go into a video.

`audio` reads sound for the networks (16 kHz, mono); this is what people hear. Both are placed on
the file's clock by the same rule, see `audio_alignment`.
"""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.media import audio_alignment
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.timestamps import CLOCK_OUTPUT
from lipsync_core.runtime.files import PathLike

# What AAC encodes without a question; other layouts are mixed to the nearest of them.
LAYOUTS = "mono|stereo|5.1|7.1"
BITRATE = 64_000  # bits a second and channel, of the sound that is written; at least twice this


@dataclass(frozen=True)
class Soundtrack:
    """pcm: an unnamed file of int16 samples, channels interleaved, from time zero on.

    rate: samples a second and channel. channels: 1, 2, 6 or 8.
    """

    pcm: IO[bytes]
    rate: int
    channels: int

    @property
    def bitrate(self) -> int:
        """Bits a second that keep it sounding as it does."""
        return BITRATE * max(2, self.channels)


@contextlib.contextmanager
def soundtrack(path: PathLike) -> Iterator[Soundtrack]:
    """The first sound track of `path`, for the time of the block.

    Memory does not grow with length: the samples are in the folder for temporary files, 0.7 GB an
    hour of 48 kHz stereo. Raises ClipError: no_audio, unreadable, timed_out, too_long; LipsyncError
    when that folder is full.
    """
    with contextlib.ExitStack() as stack:
        pcm = stack.enter_context(tempfile.TemporaryFile())
        packets = _decode(path, pcm)
        runs = audio_alignment.checked_corrections(
            path, packets.stamps, packets.lengths, packets.rate
        )
        if any(run.silence or run.skip or run.take != run.give for run in runs):
            raw, pcm = pcm, stack.enter_context(tempfile.TemporaryFile())
            raw.seek(0)
            for block in audio_alignment.apply(raw, runs, packets.channels):
                pcm.write(block.data)
            pcm.flush()
            raw.close()
        pcm.seek(0)
        yield Soundtrack(pcm, packets.rate, packets.channels)


@dataclass(frozen=True)
class _Packets:
    """stamps, lengths: int64 (n,), n > 0, in samples."""

    stamps: np.ndarray
    lengths: np.ndarray
    rate: int
    channels: int


def _decode(path: PathLike, pcm: IO[bytes]) -> _Packets:
    """Decode into `pcm`; give the packets of samples in it."""
    # One encoder, two muxers: the samples go to the file, their time stamps come through the pipe.
    slaves = f"[f=framecrc]pipe:1|[f=s16le]pipe:{pcm.fileno()}"
    sound = ["-map", "0:a:0", "-af", f"aformat=channel_layouts={LAYOUTS}", "-c:a", "pcm_s16le"]
    starts, spans = array("q"), array("q")
    rate = size = 0
    outputs = [*sound, "-f", "tee", slaves, *CLOCK_OUTPUT]
    with Decoder(path, outputs, pass_fds=[pcm.fileno()]) as decoder:
        for line in decoder.lines():
            if line.startswith("#sample_rate 0: "):
                rate = int(line.partition(":")[2])
            elif line.startswith("0,"):
                _, _, stamp, length, data, *_ = line.split(",")
                starts.append(int(stamp))
                spans.append(int(length))
                size += int(data)
                decoder.extend_deadline(int(length) / rate)
        decoder.finish()
        if not starts and "matches no streams" in decoder.stderr_tail():
            raise ClipError(Reason.NO_AUDIO, f"{decoder.source}: it has no audio track")
        if not starts:
            raise decoder.failure("no sound could be decoded")
    stamps, lengths = np.array(starts, np.int64), np.array(spans, np.int64)
    if pcm.seek(0, 2) != size:
        raise LipsyncError(
            f"{tempfile.gettempdir()}: no room for the {size >> 20} MB of sound of {path}; set "
            "TMPDIR to a folder with more"
        )
    return _Packets(stamps, lengths, rate, size // (2 * int(lengths.sum())))
