"""Crossings resolved by the pictures: two faces of one colour each, tracks that ended in doubt."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.faces import looks
from lipsync_core.faces.linking import Track
from lipsync_core.faces.looks import rejoined
from lipsync_core.faces.tracks import filled
from tests.media_people import crops_from

RED, BLUE = (40, 40, 200), (200, 60, 30)


@pytest.fixture
def video(monkeypatch):
    """`video(after)`: red left, blue right; from frame 14 on `after` are left and right."""

    def make(after, noise=12):
        frames = np.full((30, 100, 200, 3), 90, np.uint8)
        for left, right, rows in ((RED, BLUE, slice(0, 14)), (*after, slice(14, 30))):
            frames[rows, 20:80, 20:80] = left
            frames[rows, 20:80, 120:180] = right
        blur = np.random.default_rng(0).integers(-noise, noise + 1, frames.shape)
        frames = np.clip(frames + blur, 0, 255).astype(np.uint8)
        monkeypatch.setattr(looks, "crops_of", crops_from(frames))
        return "video.mp4"

    return make


def part(first: int, last: int, left: bool, **doubt) -> Track:
    frames = np.arange(first, last, dtype=np.int32)
    box = np.float32([20, 20, 80, 80] if left else [120, 20, 180, 80])
    return Track(frames, np.tile(box, (len(frames), 1)), **doubt)


def crossing(**last) -> list[Track]:
    ends, begins = {"ends_in_doubt": True}, {"begins_in_doubt": True}
    return [
        part(0, 12, True, **ends),
        part(0, 13, False, **ends),
        part(15, 30, True, **begins),
        part(16, 30, False, **begins | last),
    ]


def sides(tracks) -> list[list[bool]]:
    """For each track: was it on the left at its beginning, at its end?"""
    return [[bool(track.boxes[row, 0] < 100) for row in (0, -1)] for track in tracks]


def test_people_who_turned_back(video):
    tracks = rejoined(video((RED, BLUE)), crossing())
    assert sides(tracks) == [[True, True], [False, False]]
    assert [len(track) for track in tracks] == [27, 27]
    assert filled(tracks[0], 10).frames.tolist() == [*range(12), *range(15, 30)]


def test_people_who_passed(video):
    assert sides(rejoined(video((BLUE, RED)), crossing())) == [[True, False], [False, True]]


def test_one_who_left(video):
    tracks = rejoined(video((BLUE, RED)), crossing()[:3])
    assert sides(tracks) == [[True, True], [False, True]]


def test_people_who_look_alike_stay_apart(video):
    tracks = crossing()
    alike = [tracks[0], tracks[2], tracks[3]]
    assert rejoined(video((RED, RED), 30), alike) == alike


def test_nothing_is_joined_across_a_cut_nor_read_without_need(video):
    tracks = crossing()
    assert rejoined(video((RED, BLUE)), tracks, cuts=(14,)) == tracks
    calm = [part(0, 10, True), part(20, 30, True)]
    assert rejoined("absent.mp4", calm) == calm


def test_a_person_who_meets_two_others(video):
    tracks = crossing(ends_in_doubt=True)
    third = part(28, 30, False, begins_in_doubt=True)
    tracks[3] = part(16, 26, False, begins_in_doubt=True, ends_in_doubt=True)
    tracks[2] = part(15, 26, True, begins_in_doubt=True, ends_in_doubt=True)
    joined = rejoined(video((RED, BLUE)), [*tracks, third])
    assert [len(track) for track in joined] == [23, 25]
