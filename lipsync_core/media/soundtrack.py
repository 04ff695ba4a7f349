"""Audio tracks at their own rate and channels, to be written into a video.

`audio` reads audio for the networks (16 kHz, mono). Both align the samples to the clock of the
file, see `audio_alignment`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from lipsync_core.media import audio_alignment
from lipsync_core.media.pcm import decode_pcm
from lipsync_core.runtime.files import PathLike

# The channel layouts that AAC encodes without an option; others are mixed to the nearest of them.
LAYOUTS = "mono|stereo|5.1|7.1"
BITRATE_PER_CHANNEL = 64_000  # bits a second of the audio that is written; of two at least


@dataclass(frozen=True)
class Soundtrack:
    """pcm: an unnamed file of int16 samples, channels interleaved, from time zero on.

    rate: samples a second and channel. channels: 1, 2, 6 or 8.
    """

    pcm: IO[bytes]
    rate: int
    channels: int

    def cut(self, seconds: float) -> None:
        """Drop the samples from this time on."""
        size = 2 * self.channels * round(seconds * self.rate)
        if os.fstat(self.pcm.fileno()).st_size > size:
            os.ftruncate(self.pcm.fileno(), size)

    @property
    def bitrate(self) -> int:
        """Bits a second to encode it with."""
        return BITRATE_PER_CHANNEL * max(2, self.channels)


@contextlib.contextmanager
def soundtrack(path: PathLike) -> Iterator[Soundtrack]:
    """The first audio track of `path`, for the time of the block.

    Memory does not grow with length: the samples are in the folder for temporary files, 0.7 GB an
    hour of 48 kHz stereo. Raises ClipError: no_audio, unreadable, timed_out, too_long; LipsyncError
    when that folder is full.
    """
    with contextlib.ExitStack() as stack:
        pcm = stack.enter_context(tempfile.TemporaryFile())
        packets = decode_pcm(path, pcm, ("-af", f"aformat=channel_layouts={LAYOUTS}"))
        corrections = audio_alignment.checked_corrections(path, packets)
        if any(step.silence or step.skip or step.take != step.give for step in corrections):
            raw, pcm = pcm, stack.enter_context(tempfile.TemporaryFile())
            for block in audio_alignment.apply(raw, corrections, packets.channels):
                pcm.write(block.data)
            pcm.flush()
            raw.close()
        pcm.seek(0)
        yield Soundtrack(pcm, packets.rate, packets.channels)
