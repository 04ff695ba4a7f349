"""Timelines of videos: presentation times of the frames, and resampling to a constant frame rate.

Exact arithmetic on the time stamps of the packets; nothing is decoded.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.runtime.files import PathLike

FPS = 25  # the frame rate of every public model of this family
MAX_GAP_SECONDS = 60.0  # between two frames; more is a damaged time stamp
# The packets of video and audio, not decoded. The audio is read because the clock begins with the
# earlier of the two.
PACKET_OUTPUT = ("-map", "0:V:0", "-map", "0:a:0?", "-c", "copy", "-f", "framecrc", "pipe:1")
NO_TIMESTAMP = -(2**63)  # ffmpeg's AV_NOPTS_VALUE
# A null output of both streams, not decoded: the clock then begins with the earlier of the two,
# whichever is decoded. (In MPEG streams, streams that are not mapped do not count.)
CLOCK_OUTPUT = ("-map", "0:V:0?", "-map", "0:a:0?", "-c", "copy", "-f", "null", "pipe:1")
NTSC = Fraction(1000, 1001)
# Rates for videos of variable rate; they are further apart than the errors of time stamps.
COMMON_RATES = (12, 15, 24 * NTSC, 24, 25, 30 * NTSC, 30, 48, 50, 60 * NTSC, 60, 90, 100, 120)
# Frames a second of a result. Below 12, mouth movement is not smooth: such a source (a slide show)
# becomes 25.
MIN_RATE, MAX_RATE = 12, 120
RATE_TOLERANCE = 0.0004  # relative; 30 and 30000/1001 are 0.001 apart
MAX_GAP_DEVIATION = 0.1  # relative; gaps closer to the median gap than this count as equal
DISCARD_FLAG = 4  # packet flag: decoded, but removed by the edit list


@dataclass(frozen=True)
class Timeline:
    """The frames of a file on its own clock, and at a constant rate.

    fps: average rate of the source. rate: the constant rate that suits it, see `constant_rate`.
    seconds: from the clock's zero to the end of the last frame.
    source_frames: in the file. frames: at the constant rate. dropped: source frames that are not
    among them; duplicated: frames that repeat the one before (also those before the first).
    longest_gap: largest time between two source frames, or before the first, in seconds.
    """

    fps: Fraction
    rate: Fraction
    seconds: float
    source_frames: int
    frames: int
    dropped: int
    duplicated: int
    longest_gap: float


def resample_timeline(stamps: np.ndarray, tick: Fraction, duration: int = 0) -> Timeline:
    """Resample `stamps` to 25 fps by the rule of ffmpeg's `fps` filter, from time zero.

    Parameters
    ----------
    stamps: int64 (n,), presentation times in ticks, in any order, n > 0; the clock's zero is 0.
    tick: seconds of one tick.
    duration: of the last frame in ticks; 0 when the file does not state it.
    """
    stamps = np.sort(stamps)
    gaps = np.diff(stamps)
    steps = gaps[gaps > 0]
    last = duration or (
        int(np.quantile(steps, 0.5, method="lower")) if len(steps) else round(1 / (tick * FPS))
    )
    end = (int(stamps[-1]) + last) * tick
    # Integer arithmetic: floats are wrong by a frame after hours. Halves round up, as in ffmpeg.
    scale = tick * FPS
    up, down = 2 * scale.numerator, 2 * scale.denominator
    numbers = np.array([(int(stamp) * up + down // 2) // down for stamp in stamps])
    frames = max(1, math.floor(end * FPS + Fraction(1, 2)))
    shown = np.unique(np.clip(numbers, 0, None))
    shown = shown[: max(1, np.searchsorted(shown, frames))]
    span = int(stamps[-1] - stamps[0]) * tick
    return Timeline(
        fps=(len(stamps) - 1) / span if span else 1 / (last * tick),
        rate=constant_rate(stamps, tick),
        seconds=float(end),
        source_frames=len(stamps),
        frames=frames,
        dropped=len(stamps) - len(shown),
        duplicated=frames - len(shown),
        longest_gap=float(max(int(gaps.max(initial=0)), int(stamps[0])) * tick),
    )


def constant_rate(stamps: np.ndarray, tick: Fraction) -> Fraction:
    """The constant frame rate, 12 to 120, that suits a video.

    stamps, tick: as for `resample_timeline`.

    The average rate where it drops no frame: every video of constant rate, and telecined film.
    Otherwise (missing frames, variable rate) the rate of the median gap. Time stamps are rounded,
    so that a rate within the rounding error becomes the whole or NTSC number (30000/1001) beside
    it, and another variable rate the nearest of `COMMON_RATES`. A source of less than 12, or of a
    single frame, becomes 25; one of more than 120 is halved.
    """
    stamps = np.unique(stamps)
    gaps = np.diff(stamps)
    if not len(gaps):
        return Fraction(FPS)
    span = int(gaps.sum())
    average = Fraction(len(gaps)) / (span * tick)
    low, high = np.quantile(gaps, (0.1, 0.9))
    rounding = max(RATE_TOLERANCE, (1 + high - low) / span)  # of the gaps at both ends
    rate = _nearest_standard_rate(average, rounding) or average.limit_denominator(1001)
    shown = np.round((stamps - stamps[0]) * float(tick * rate))
    if len(np.unique(shown)) < len(stamps):
        middle = int(np.quantile(gaps, 0.5, method="lower"))
        usual = gaps[np.abs(gaps - middle) <= max(1, MAX_GAP_DEVIATION * middle)]
        rate = Fraction(len(usual)) / (int(usual.sum()) * tick)
        nearest = min(COMMON_RATES, key=lambda usual: abs(math.log(usual / rate)))
        rate = _nearest_standard_rate(rate, rounding) or Fraction(nearest)
    while rate > MAX_RATE:
        rate /= 2
    return rate if rate >= MIN_RATE else Fraction(FPS)


def _nearest_standard_rate(rate: Fraction, rounding: float) -> Fraction | None:
    """The whole or NTSC rate within the relative error `rounding` of a rate; None without one."""
    near = max(1, round(rate)), max(1, round(rate / NTSC)) * NTSC
    best = min(near, key=lambda candidate: abs(candidate - rate))
    return Fraction(best) if abs(best - rate) <= rounding * rate else None


def read_timeline(path: PathLike) -> Timeline:
    """The timeline of the first video stream of `path`, on one clock with its audio.

    Raises ClipError: unreadable when there is no frame, or when two are further apart than
    `MAX_GAP_SECONDS`; timed_out.
    """
    with Decoder(path, PACKET_OUTPUT) as decoder:
        return parse_timeline(decoder)


class FrameStamps(NamedTuple):
    """Presentation times of a video's packets, int64 (n,), n > 0, in decoding order.

    tick: seconds of one unit. duration: of the frame shown last, in ticks; 0 when it is not stated.
    """

    stamps: np.ndarray
    tick: Fraction
    duration: int


def parse_timeline(decoder: Decoder) -> Timeline:
    """The timeline from a decoder with the output `PACKET_OUTPUT`, which is read to its end.

    Raises as `read_timeline`.
    """
    timeline = resample_timeline(*parse_stamps(decoder))
    if timeline.longest_gap > MAX_GAP_SECONDS:
        raise ClipError(
            Reason.UNREADABLE,
            f"{decoder.source}: its time stamps jump by {timeline.longest_gap:.0f} s; repair the "
            "file",
        )
    return timeline


def parse_stamps(decoder: Decoder) -> FrameStamps:
    """The time stamps from a decoder with the output `PACKET_OUTPUT`, which is read to its end.

    Raises ClipError: unreadable when there is no frame, or none has a time stamp; timed_out.
    """
    shown, decoded, lengths = array("q"), array("q"), array("q")
    tick = Fraction(1, 1)
    for line in decoder.lines():
        if line.startswith("#tb 0:"):
            tick = Fraction(line.partition(":")[2].strip())
        if not line.startswith("0,"):
            continue
        _, dts, pts, length, _, _, *flags = (field.strip() for field in line.split(","))
        if flags and flags[0].startswith("F=") and int(flags[0][2:], 16) & DISCARD_FLAG:
            continue
        decoded.append(int(dts))
        shown.append(int(pts))
        lengths.append(int(length))
        decoder.extend_deadline(min(1.0, float(max(int(length), 0) * tick)) or 1 / FPS)
    decoder.finish()
    if not decoded:
        raise decoder.failure("no frame in it")
    stamps = _presentation_times(np.array(shown, np.int64), np.array(decoded, np.int64))
    if not len(stamps):
        raise ClipError(Reason.UNREADABLE, f"{decoder.source}: its frames have no time stamps")
    length = lengths[int(stamps.argmax())] if len(stamps) == len(lengths) else 0
    return FrameStamps(stamps, tick, max(length, 0))


def _presentation_times(shown: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Presentation times, int64 (n,), from containers that lack some (MPEG) or all of them (AVI).

    Decoding times are the same times in another order, earlier by a constant.
    """
    if (shown != NO_TIMESTAMP).all():
        return shown
    both = np.flatnonzero((shown != NO_TIMESTAMP) & (decoded != NO_TIMESTAMP))
    delay = shown[both[0]] - decoded[both[0]] if len(both) else 0
    return decoded[decoded != NO_TIMESTAMP] + delay
