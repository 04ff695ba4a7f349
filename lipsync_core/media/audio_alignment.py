"""Align decoded audio to the clock of its file, according to the packets' time stamps.

Players follow the time stamps. A decoder that only concatenates packets drifts away from the video
where packets are lost, doubled, or come at a rate that differs a little from the stated one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.pcm import Packets
from lipsync_core.runtime.files import PathLike

SAMPLE_RATE = 16_000  # samples a second of the constants below
MIN_SHIFT_SAMPLES = 32  # 2 ms: smaller deviations are rounding of the container, and left alone
MAX_STRETCHED_SAMPLES = 240  # 15 ms: larger deviations are gaps (filled with silence) or overlaps
MAX_STRETCH_DIVISOR = 64  # deviations between the two stretch a packet by at most 1/64
MAX_SECONDS = 24 * 3600  # more is a damaged time stamp
MAX_SILENCE_SECONDS = 600  # between two packets; more is a damaged time stamp
MEDIAN_PACKETS = 9  # window of the median filter that removes single wrong time stamps
BLOCK_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Correction:
    """A step of the plan, in samples: insert `silence`, drop `skip`, then resample `take` samples
    to `give`."""

    silence: int = 0
    skip: int = 0
    take: int = 0
    give: int = 0


def checked_corrections(path: PathLike, packets: Packets) -> list[Correction]:
    """`plan_corrections` for `path`. Raises ClipError: too_long, unreadable (time stamps jump)."""
    if packets.stamps.max() > MAX_SECONDS * packets.rate:
        raise ClipError(Reason.TOO_LONG, f"{path}: audio over {MAX_SECONDS // 3600} h")
    corrections = list(plan_corrections(packets.stamps, packets.lengths, packets.rate))
    silence = max(step.silence for step in corrections) / packets.rate
    if silence > MAX_SILENCE_SECONDS:
        raise ClipError(
            Reason.UNREADABLE,
            f"{path}: its time stamps leave {silence:.0f} s without audio; repair the file",
        )
    return corrections


def plan_corrections(
    stamps: np.ndarray, lengths: np.ndarray, rate: int = SAMPLE_RATE
) -> Iterator[Correction]:
    """Plan how packets are placed on the clock, from time zero.

    Parameters
    ----------
    stamps, lengths: int64 (n,), n > 0: start of each packet on the clock and its length, both in
        samples.
    rate: samples a second.

    Steps without corrections are merged. After each step the position is right within
    `MIN_SHIFT_SAMPLES`, or is being corrected by stretching.
    """
    shortest, longest = (
        round(limit * rate / SAMPLE_RATE) for limit in (MIN_SHIFT_SAMPLES, MAX_STRETCHED_SAMPLES)
    )
    begins = np.cumsum(lengths) - lengths
    deviations = stamps - begins
    if np.ptp(deviations):
        from scipy.ndimage import median_filter  # imports slower than most clips are read

        deviations = median_filter(deviations, MEDIAN_PACKETS, mode="nearest")
    wanted = begins + deviations
    place = plain = 0
    for begin, length in zip(wanted.tolist(), lengths.tolist(), strict=True):
        shift = begin - place
        soft = min(max(shift, -(length // MAX_STRETCH_DIVISOR)), length // MAX_STRETCH_DIVISOR)
        if abs(shift) > longest or (not place and shift):
            yield Correction(take=plain, give=plain)
            skip = min(max(-shift, 0), length)
            plain = length - skip
            yield Correction(silence=max(shift, 0), skip=skip)
            place += max(shift, 0) + plain
        elif abs(shift) > shortest and soft:
            yield Correction(take=plain, give=plain)
            plain = 0
            yield Correction(take=length, give=length + soft)
            place += length + soft
        else:
            plain += length
            place += length
    yield Correction(take=plain, give=plain)


def apply(
    pcm: IO[bytes], corrections: Iterable[Correction], channels: int = 1
) -> Iterator[np.ndarray]:
    """Yield blocks int16 (n * channels,) of the aligned audio, from time zero.

    pcm: file of the packets' int16 samples, channels interleaved. Steps without corrections are
    copied bit for bit.
    """
    pcm.seek(0)
    for step in corrections:
        for start in range(0, step.silence, BLOCK_SAMPLES):
            yield np.zeros(min(BLOCK_SAMPLES, step.silence - start) * channels, "<i2")
        pcm.seek(2 * channels * step.skip, 1)
        if step.take == step.give:
            for start in range(0, step.take, BLOCK_SAMPLES):
                size = 2 * channels * min(BLOCK_SAMPLES, step.take - start)
                yield np.frombuffer(pcm.read(size), "<i2")
        else:
            samples = np.frombuffer(pcm.read(2 * channels * step.take), "<i2")
            where = np.linspace(0, step.take - 1, step.give)
            stretched = [
                np.interp(where, np.arange(step.take), channel)
                for channel in samples.reshape(-1, channels).T
            ]
            yield np.round(np.stack(stretched, axis=1)).astype("<i2").ravel()
