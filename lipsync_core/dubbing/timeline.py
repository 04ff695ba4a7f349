"""The time of a dubbing: which source frame is shown when.

Every frame of the source is shown once, at its own time. Where the sound is longer, the source is
played again, backwards, or its last frame is held. Times are whole numbers of ticks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

LENGTHS = ("loop", "ping-pong", "hold", "trim")


class SourceFrame(NamedTuple):
    """A decoded frame: its time stamp in ticks, and its planes (see `media.native_frames`)."""

    time: int
    planes: np.ndarray


class TimedFrame(NamedTuple):
    """A frame of the result: the time stamp of its source frame and its own, and its planes."""

    source: int
    shown: int
    planes: np.ndarray


Play = Callable[[], Iterator[SourceFrame]]
PlayBackwards = Callable[[array], Iterator[SourceFrame]]


def timed_frames(
    play: Play, backwards: PlayBackwards, length: str, gap: int, until: int, keep: bool = False
) -> Iterator[TimedFrame]:
    """The frames of the result, until its time `until` (ticks).

    Parameters
    ----------
    play: the source from its beginning. backwards: its frames with these time stamps, which are
        given in rising order, from the last to the first.
    length: what follows when the source ends: "loop" plays it again, "ping-pong" plays it
        backwards and forwards, "hold" repeats the last frame, "trim" ends.
    gap: ticks for which the last frame of the source is shown, and between held frames.
    keep: show the frames at the source's own time stamps; else the first one at 0.
    """
    stamps = array("q")
    last = None
    for frame in play():
        stamps.append(frame.time)
        shown = frame.time if keep else frame.time - stamps[0]
        if shown >= until and last is not None:
            return
        # A held frame is shown again, and the planes that are handed on are drawn upon.
        held = length == "hold" or len(stamps) == 1
        last = TimedFrame(frame.time, shown, frame.planes.copy() if held else frame.planes)
        yield last._replace(planes=frame.planes)
    if last is None or length == "trim":
        return
    if length == "hold" or len(stamps) == 1:
        yield from _held(last, gap, until)
    elif length == "loop":
        yield from _looped(play, stamps, last.shown + gap, gap, until)
    else:
        yield from _ping_pong(play, backwards, stamps, last.shown, until)


def _held(last: TimedFrame, gap: int, until: int) -> Iterator[TimedFrame]:
    for shown in range(last.shown + gap, until, gap):
        yield TimedFrame(last.source, shown, last.planes.copy())


def _looped(play: Play, stamps: array, start: int, gap: int, until: int) -> Iterator[TimedFrame]:
    while True:
        for frame in play():
            shown = start + frame.time - stamps[0]
            if shown >= until:
                return
            yield TimedFrame(frame.time, shown, frame.planes)
        start += stamps[-1] - stamps[0] + gap


def _ping_pong(
    play: Play, backwards: PlayBackwards, stamps: array, turn: int, until: int
) -> Iterator[TimedFrame]:
    """turn: the time at which the last frame was shown."""
    span = stamps[-1] - stamps[0]
    while True:
        for frame in backwards(stamps[1:-1]):
            shown = turn + stamps[-1] - frame.time
            if shown >= until:
                return
            yield TimedFrame(frame.time, shown, frame.planes)
        for frame in play():
            shown = turn + span + frame.time - stamps[0]
            if shown >= until:
                return
            yield TimedFrame(frame.time, shown, frame.planes)
        turn += 2 * span


def filled(frames: Iterator[TimedFrame], gap: int, until: int) -> Iterator[TimedFrame]:
    """The same frames, the last of them again every `gap` ticks until `until`.

    Where frames have a variable rate, the next one may be due long after the end of the sound.
    """
    last = None
    for frame in frames:
        if last is not None:
            yield last
        last = frame
    if last is not None:
        # The planes that are handed on are drawn upon.
        yield last._replace(planes=last.planes.copy())
        yield from _held(last, gap, until)


def at_rate(
    frames: Iterator[TimedFrame], tick: Fraction, rate: Fraction, count: int
) -> Iterator[TimedFrame]:
    """`count` frames at the constant `rate`, each the one nearest in time; `shown` in 1 / rate.

    tick: seconds of the time stamps of `frames`. None where `frames` has none.
    """
    done, before = 0, None
    for frame in frames:
        if before is not None:
            middle = Fraction(before.shown + frame.shown, 2) * tick
            while done < count and Fraction(done) / rate < middle:
                yield TimedFrame(before.source, done, before.planes.copy())
                done += 1
        before = frame
    if before is not None:
        for shown in range(done, count):
            yield TimedFrame(before.source, shown, before.planes.copy())


def usual_gap(stamps: np.ndarray, tick: Fraction, otherwise: int) -> int:
    """Ticks between two frames: the median of `stamps` (n,), or that of `otherwise` a second."""
    gaps = np.diff(np.unique(stamps))
    if not len(gaps):
        return max(1, round(1 / (otherwise * tick)))
    return max(1, int(np.quantile(gaps, 0.5, method="lower")))
