"""Sound on the clock of its file: decoded packets are laid where their time stamps say.

Players follow the time stamps; a decoder that only joins its packets drifts away from the picture
where some are lost, doubled, or come at a rate that is not quite the one stated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.runtime.files import PathLike

SAMPLE_RATE = 16_000  # samples a second, of those that follow
MIN_SHIFT_SAMPLES = (
    32  # samples (2 ms): smaller deviations are rounding of the container, and left alone
)
MAX_STRETCHED_SAMPLES = (
    240  # samples (15 ms): larger ones are gaps or overlaps: filled with silence, or cut
)
MAX_STRETCH_DIVISOR = 64  # between them a packet is stretched or squeezed by at most 1/64
MAX_SECONDS = 24 * 3600  # seconds; more is no clip but a damaged time stamp
MAX_SILENCE_SECONDS = 600  # seconds between two packets of sound; more means damaged time stamps
MEDIAN_PACKETS = (
    9  # packets: the median of so many deviations counts, so that one odd stamp does nothing
)
BLOCK_SAMPLES = 1 << 20  # samples


@dataclass(frozen=True)
class Correction:
    """A step of the plan: `silence` samples of it, `skip` samples of the sound passed over, then
    `take` samples, made into `give`."""

    silence: int = 0
    skip: int = 0
    take: int = 0
    give: int = 0


def checked_corrections(
    path: PathLike, stamps: np.ndarray, lengths: np.ndarray, rate: int = SAMPLE_RATE
) -> list[Correction]:
    """`plan_corrections` for `path`. Raises ClipError: too_long, unreadable (stamps leap)."""
    if stamps.max() > MAX_SECONDS * rate:
        raise ClipError(Reason.TOO_LONG, f"{path}: sound over {MAX_SECONDS // 3600} h")
    runs = list(plan_corrections(stamps, lengths, rate))
    silence = max(run.silence for run in runs) / rate
    if silence > MAX_SILENCE_SECONDS:
        raise ClipError(
            Reason.UNREADABLE,
            f"{path}: its time stamps leave {silence:.0f} s without sound; repair the file",
        )
    return runs


def plan_corrections(
    stamps: np.ndarray, lengths: np.ndarray, rate: int = SAMPLE_RATE
) -> Iterator[Correction]:
    """How packets are laid on the clock, from its zero.

    Parameters
    ----------
    stamps, lengths: int64 (n,), n > 0: start of each packet on the clock and its length, both in
        samples.
    rate: samples a second.

    Runs without corrections are joined. After each the position is right within
    `MIN_SHIFT_SAMPLES`, or is being
    brought there by stretching.
    """
    least, most = (
        round(limit * rate / SAMPLE_RATE) for limit in (MIN_SHIFT_SAMPLES, MAX_STRETCHED_SAMPLES)
    )
    begins = np.cumsum(lengths) - lengths
    deviations = stamps - begins
    if np.ptp(deviations):
        from scipy.ndimage import median_filter  # loads slower than most clips are read

        deviations = median_filter(deviations, MEDIAN_PACKETS, mode="nearest")
    wanted = begins + deviations
    place = plain = 0
    for begin, length in zip(wanted.tolist(), lengths.tolist(), strict=True):
        shift = begin - place
        soft = min(max(shift, -(length // MAX_STRETCH_DIVISOR)), length // MAX_STRETCH_DIVISOR)
        if abs(shift) > most or (not place and shift):
            yield Correction(take=plain, give=plain)
            skip = min(max(-shift, 0), length)
            plain = length - skip
            yield Correction(silence=max(shift, 0), skip=skip)
            place += max(shift, 0) + plain
        elif abs(shift) > least and soft:
            yield Correction(take=plain, give=plain)
            plain = 0
            yield Correction(take=length, give=length + soft)
            place += length + soft
        else:
            plain += length
            place += length
    yield Correction(take=plain, give=plain)


def apply(pcm: IO[bytes], runs: Iterable[Correction], channels: int = 1) -> Iterator[np.ndarray]:
    """Yield blocks int16 (n * channels,) of sound that begins at time zero.

    pcm: the packets' samples, int16, one after the other, the channels interleaved. Runs without
    corrections come out bit for bit.
    """
    for run in runs:
        for start in range(0, run.silence, BLOCK_SAMPLES):
            yield np.zeros(min(BLOCK_SAMPLES, run.silence - start) * channels, "<i2")
        pcm.seek(2 * channels * run.skip, 1)
        if run.take == run.give:
            for start in range(0, run.take, BLOCK_SAMPLES):
                size = 2 * channels * min(BLOCK_SAMPLES, run.take - start)
                yield np.frombuffer(pcm.read(size), "<i2")
        else:
            samples = np.frombuffer(pcm.read(2 * channels * run.take), "<i2")
            where = np.linspace(0, run.take - 1, run.give)
            stretched = [
                np.interp(where, np.arange(run.take), channel)
                for channel in samples.reshape(-1, channels).T
            ]
            yield np.round(np.stack(stretched, axis=1)).astype("<i2").ravel()
