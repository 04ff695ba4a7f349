"""Copy the packets of an audio track that an MP4 takes as they are, without decoding them.

A track is copied when its codec is one that MP4 players know, its first sample sounds at the file's
time zero, its packets follow each other without a gap, and one of them ends where the sound has to
end. Any other is decoded, aligned and encoded again, see `soundtrack`.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.timestamps import CLOCK_OUTPUT
from lipsync_core.runtime.files import PathLike

CODECS = ("aac", "mp3", "ac3", "eac3", "alac")
MAX_DEVIATION = 0.002  # seconds: as `audio_alignment.MIN_SHIFT_SAMPLES`, rounding of the container
MIN_PACKETS = 2


@dataclass(frozen=True)
class Sound:
    """An unnamed MP4 file with one audio track: its descriptor, and a name to open it by."""

    descriptor: int

    @property
    def name(self) -> str:
        return f"/dev/fd/{self.descriptor}"


@dataclass(frozen=True)
class Track:
    """The packets of an audio track: codec, samples a second, and time stamps int64 (n,) in ticks
    of `tick` seconds; those of samples that are not heard (encoder delay) are negative. end: of the
    last packet, in ticks."""

    codec: str
    rate: int
    tick: Fraction
    stamps: np.ndarray
    end: int


@contextlib.contextmanager
def copied_sound(
    path: PathLike, seconds: float | None = None, tolerance: float = math.inf
) -> Iterator[Sound | None]:
    """The first audio track of `path` as an MP4 file, for the time of the block.

    seconds: where the sound has to end, unless it ends before; None for its own end. tolerance:
    seconds by which the last packet may end before or after that. Yields None when the track has to
    be decoded. Raises ClipError: unreadable, timed_out.
    """
    track = read_track(path)
    kept = kept_packets(track, seconds, tolerance) if is_copyable(track) else 0
    if not kept:
        yield None
        return
    # Unnamed: nothing is left behind, however this process ends.
    with tempfile.TemporaryFile() as copy:
        sound = Sound(copy.fileno())
        limit = [] if kept == len(track.stamps) else ["-t", f"{_cut(track, kept):.6f}"]
        output = ["-map", "0:a:0", "-c", "copy", *limit, "-map_metadata", "-1", "-f", "mp4"]
        with Decoder(path, [*output, "-y", sound.name], pass_fds=[copy.fileno()]) as decoder:
            status = decoder.finish()
        copied = status == 0 and copy.seek(0, 2) > 0
        yield sound if copied else None


def read_track(path: PathLike) -> Track:
    """The packets of the first audio track of `path`, none when it has no audio. Not decoded."""
    codec, rate, tick, stamps, end = "", 0, Fraction(1), array("q"), 0
    output = ["-map", "0:a:0?", "-c", "copy", "-f", "framecrc", "pipe:1", *CLOCK_OUTPUT]
    with Decoder(path, output) as decoder:
        for line in decoder.lines():
            if line.startswith("#codec_id 0: "):
                codec = line.partition(":")[2].strip()
            elif line.startswith("#sample_rate 0: "):
                rate = int(line.partition(":")[2])
            elif line.startswith("#tb 0: "):
                tick = Fraction(line.partition(":")[2].strip())
            elif line.startswith("0,"):
                _, _, stamp, length, *_ = line.split(",")
                stamps.append(int(stamp))
                end = int(stamp) + max(0, int(length))
                decoder.extend_deadline(min(1.0, float(max(0, int(length)) * tick)))
        decoder.finish()
    return Track(codec, rate, tick, np.array(stamps, np.int64), end)


def is_copyable(track: Track) -> bool:
    """True when the packets can be written to an MP4 as they are and sound at the same times."""
    count = len(track.stamps)
    if track.codec not in CODECS or not track.rate or count < MIN_PACKETS:
        return False
    times = track.stamps * float(track.tick)
    if times[0] > MAX_DEVIATION:
        return False
    # All packets of these codecs hold as many samples, but perhaps the last.
    samples = round(_packet_seconds(times) * track.rate)
    regular = times[0] + np.arange(count) * (samples / track.rate)
    return bool(samples > 0 and np.abs(times - regular).max() <= MAX_DEVIATION)


def _packet_seconds(times: np.ndarray) -> float:
    # The mean: single time stamps are rounded, in Matroska to 1 ms.
    return float(times[-1] - times[0]) / (len(times) - 1)


def kept_packets(track: Track, seconds: float | None, tolerance: float) -> int:
    """How many packets of a copyable track are kept; 0 when none ends where it has to.

    See `copied_sound`.
    """
    ends = np.append(track.stamps[1:], max(track.end, int(track.stamps[-1]))) * float(track.tick)
    if seconds is None or seconds >= ends[-1]:
        return len(ends)
    nearest = int(np.abs(ends - seconds).argmin())
    return nearest + 1 if abs(ends[nearest] - seconds) <= tolerance else 0


def _cut(track: Track, packets: int) -> float:
    """Time on the file's clock before which the first `packets` packets begin, and no other."""
    # Between two of them, so that rounding decides nothing.
    return float((int(track.stamps[packets - 1]) + int(track.stamps[packets])) * track.tick / 2)
