"""The time of a dubbing: lengths, turns, constant rates."""

from array import array
from fractions import Fraction

import numpy as np
import pytest

from lipsync_core.dubbing.timeline import SourceFrame, at_rate, filled, timed_frames, usual_gap

STAMPS = [7, 10, 14, 16]  # of variable rate, not from zero


def play(stamps=STAMPS):
    for stamp in stamps:
        yield SourceFrame(stamp, np.full((3, 2), stamp, np.uint8))


def backwards(stamps: array):
    yield from reversed(list(play(stamps)))


def run(length, until, gap=3, keep=False, stamps=STAMPS):
    frames = list(timed_frames(lambda: play(stamps), backwards, length, gap, until, keep))
    assert all((frame.planes == frame.source).all() for frame in frames)
    return [(frame.source, frame.shown) for frame in frames]


@pytest.mark.parametrize("length", ["loop", "ping-pong", "hold", "trim"])
def test_a_longer_video_is_cut(length):
    assert run(length, 7) == [(7, 0), (10, 3)]
    assert run(length, 1) == [(7, 0)]


@pytest.mark.parametrize("length", ["loop", "ping-pong", "hold", "trim"])
def test_of_equal_length(length):
    assert run(length, 10) == [(7, 0), (10, 3), (14, 7), (16, 9)]


def test_a_shorter_video():
    once = [(7, 0), (10, 3), (14, 7), (16, 9)]
    assert run("trim", 30) == once
    assert run("hold", 20) == [*once, (16, 12), (16, 15), (16, 18)]
    assert run("loop", 26) == [*once, (7, 12), (10, 15), (14, 19), (16, 21), (7, 24)]
    assert run("ping-pong", 26) == [*once, (14, 11), (10, 15), (7, 18), (10, 21), (14, 25)]


def test_the_clock_can_be_kept():
    assert run("trim", 15, keep=True) == [(7, 7), (10, 10), (14, 14)]


def test_a_single_frame_is_held():
    assert run("loop", 9, stamps=[5]) == [(5, 0), (5, 3), (5, 6)]
    assert run("ping-pong", 4, stamps=[5]) == [(5, 0), (5, 3)]


def test_held_frames_can_be_drawn_upon():
    frames = timed_frames(lambda: play([5]), backwards, "loop", 1, 3)
    shown = []
    for frame in frames:
        shown.append(int(frame.planes[0, 0]))
        frame.planes[:] = 0
    assert shown == [5, 5, 5]


def test_the_last_frame_stays_until_the_end():
    """The next one, after a long gap, would be shown after it."""
    stamps = [0, 2, 4, 90]
    frames = list(filled(timed_frames(lambda: play(stamps), backwards, "loop", 2, 9), 2, 9))
    assert [(frame.source, frame.shown) for frame in frames] == [
        *((0, 0), (2, 2), (4, 4)),
        *((4, 6), (4, 8)),
    ]
    frames[2].planes[:] = 0  # they can be drawn upon
    assert (frames[3].planes == 4).all() and (frames[4].planes == 4).all()
    assert not list(filled(iter(()), 2, 9))


def test_constant_rate_shows_the_nearest_frame():
    tick = Fraction(1, 10)
    timed = timed_frames(play, backwards, "trim", 3, 100)  # shown at 0, 0.3, 0.7 and 0.9 s
    frames = list(at_rate(timed, tick, Fraction(5), 6))
    assert [frame.shown for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.source for frame in frames] == [7, 10, 10, 14, 16, 16]
    assert len({id(frame.planes) for frame in frames}) == 6


def test_usual_gap():
    assert usual_gap(np.array([0, 3, 6, 10, 13]), Fraction(1, 90), 25) == 3
    assert usual_gap(np.array([5]), Fraction(1, 100), 25) == 4
