"""Re-identification: faces of one color each, before and after a crossing, a cut or an absence."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import reidentification
from lipsync_core.faces.tracking.reidentification import merge_tracks
from lipsync_core.faces.tracking.tracks import fill_gaps
from tests.support.media_people import crops_from

RED, BLUE, GREEN = (40, 40, 200), (200, 60, 30), (40, 160, 40)


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
        monkeypatch.setattr(reidentification, "iter_crops", crops_from(frames))
        return "video.mp4"

    return make


def part(first: int, last: int, left: bool, **doubt) -> Track:
    frames = np.arange(first, last, dtype=np.int32)
    box = np.float32([20, 20, 80, 80] if left else [120, 20, 180, 80])
    return Track(frames, np.tile(box, (len(frames), 1)), **doubt)


def crossing(**last) -> list[Track]:
    ends, begins = {"ambiguous_end": True}, {"ambiguous_start": True}
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
    tracks = merge_tracks(video((RED, BLUE)), crossing())
    assert sides(tracks) == [[True, True], [False, False]]
    assert [len(track) for track in tracks] == [27, 27]
    assert fill_gaps(tracks[0], 10).frames.tolist() == [*range(12), *range(15, 30)]


def test_people_who_passed(video):
    assert sides(merge_tracks(video((BLUE, RED)), crossing())) == [[True, False], [False, True]]


def test_one_who_left(video):
    tracks = merge_tracks(video((BLUE, RED)), crossing()[:3])
    assert sides(tracks) == [[True, True], [False, True]]


def test_people_who_look_alike_stay_apart(video):
    tracks = crossing()
    alike = [tracks[0], tracks[2], tracks[3]]
    assert merge_tracks(video((RED, RED), 30), alike) == alike


def test_after_a_cut_people_are_known_again_by_their_looks(video):
    tracks = crossing()
    for after, ends in (((RED, BLUE), [True, False]), ((BLUE, RED), [False, True])):
        joined = merge_tracks(video(after), tracks, cuts=(14,))
        assert [end for _, end in sides(joined)] == ends
        assert [len(track) for track in joined] == [12 + 15 - (not ends[0]), 13 + 14 + ends[1]]


def test_another_person_after_a_cut_stays_another(video):
    tracks = [part(0, 14, True), part(14, 30, True)]
    assert merge_tracks(video((GREEN, BLUE)), tracks, cuts=(14,)) == tracks


def test_a_track_of_several_shots_is_not_filled_between_them(video):
    tracks = [part(0, 12, True), part(12, 14, False), part(16, 30, True)]
    (joined,) = (
        track
        for track in merge_tracks(video((RED, BLUE)), tracks, cuts=(12, 16))
        if track.frames[0] < 12
    )
    assert fill_gaps(joined, 10).frames.tolist() == [*range(12), *range(16, 30)]


def test_one_who_was_away_for_long_is_known_again(monkeypatch):
    frames = np.full((90, 100, 200, 3), 90, np.uint8)
    frames[:, 20:80, 20:80] = RED
    monkeypatch.setattr(reidentification, "iter_crops", crops_from(frames))
    (joined,) = merge_tracks("video.mp4", [part(0, 10, True), part(70, 90, True)])
    assert fill_gaps(joined, 100).frames.tolist() == [*range(10), *range(70, 90)]


def test_nothing_is_read_without_need():
    calm = [part(0, 10, True), part(20, 30, True)]
    assert merge_tracks("absent.mp4", calm) == calm
    together = [part(0, 30, True), part(0, 30, False)]
    assert merge_tracks("absent.mp4", together, cuts=(14,)) == together


def test_a_person_who_meets_two_others(video):
    tracks = crossing(ambiguous_end=True)
    third = part(28, 30, False, ambiguous_start=True)
    tracks[3] = part(16, 26, False, ambiguous_start=True, ambiguous_end=True)
    tracks[2] = part(15, 26, True, ambiguous_start=True, ambiguous_end=True)
    joined = merge_tracks(video((RED, BLUE)), [*tracks, third])
    assert [len(track) for track in joined] == [23, 25]
