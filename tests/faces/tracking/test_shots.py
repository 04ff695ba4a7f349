"""Cuts of face tracks in made-up videos, whose faces are known: what is one, and what is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest

from lipsync_core.faces.detection import Detections
from lipsync_core.faces.tracking.shots import ShotDetector, split_shots
from tests.support.media import portrait
from tests.support.media_people import CUTS, FRAMES, PATHS, SIZE, draw, place, portraits

WIDTH, HEIGHT = 320, 240
Box = tuple[float, float, float, float]


def cuts(frames: Iterable[np.ndarray], faces: Sequence[Sequence[Box]]) -> tuple[int, ...]:
    """What is found in frames; `faces`: the boxes in each of them."""
    finder = ShotDetector()
    for frame in frames:
        finder.add(frame)
    rows = [(number, *box) for number, boxes in enumerate(faces) for box in boxes]
    table = pd.DataFrame(rows, columns=["frame", "x1", "y1", "x2", "y2"])
    return finder.cuts(Detections(len(faces), frame.shape[1], frame.shape[0], table))


def people(frame: int) -> list[Box]:
    """Where the faces of `media_people`'s video are."""
    centers = [place(name, frame) for name in PATHS if place(name, frame)]
    return [(x - 20, y - 28, x + 20, y + 24) for x, y in centers]


def room(seed: int = 0) -> np.ndarray:
    """A place with edges and patches, uint8 (HEIGHT, WIDTH, 3)."""
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)


def scene(
    x: float, y: float = 120, who: str = "collins", place: int = 0, zoom: float = 1.0
) -> np.ndarray:
    """A person before a place."""
    picture = room(place)
    side = portraits()[who].shape[0] * zoom
    move = np.float32([[zoom, 0, x - side / 2], [0, zoom, y - side / 2]])
    cv2.warpAffine(
        portraits()[who], move, (WIDTH, HEIGHT), dst=picture, borderMode=cv2.BORDER_TRANSPARENT
    )
    return picture


def face(x: float, y: float = 120, zoom: float = 1.0) -> list[Box]:
    return [(x - 20 * zoom, y - 28 * zoom, x + 20 * zoom, y + 24 * zoom)]


def swaying(number: int) -> float:
    return 150 + 6 * np.sin(number / 5)


@pytest.fixture
def still() -> list[np.ndarray]:
    """A person who sways a little: 40 frames."""
    return [scene(swaying(number)) for number in range(40)]


FACES = [face(swaying(number)) for number in range(40)]


def test_cuts_are_found_and_crossing_people_are_none():
    numbers = range(FRAMES)
    assert cuts(map(draw, numbers), list(map(people, numbers))) == CUTS


@pytest.mark.parametrize("speed", [0.5, 6])
def test_motion_is_no_cut(speed):
    picture = cv2.resize(portrait(), (320, 320))
    shifts = [40 * np.sin(speed * number / 25) for number in range(60)]

    def frame(shift):
        move = np.float32([[1, 0, shift], [0, 1, 0]])
        return cv2.warpAffine(picture, move, (320, 320), borderMode=cv2.BORDER_REFLECT)

    faces = [[(120 + shift, 80, 220 + shift, 210)] for shift in shifts]
    assert cuts(map(frame, shifts), faces) == ()


def test_a_head_that_turns_away_fast_is_no_cut():
    # Half of a face's width in four frames, the picture blurred as a camera has it.
    steps = np.interp(np.arange(40), [18, 22], [0, 22])
    frames = [scene(140 + step) for step in steps]
    for number in range(18, 23):
        frames[number] = cv2.blur(frames[number], (9, 1))
    assert cuts(frames, [face(140 + step) for step in steps]) == ()


def test_a_logo_that_comes_is_no_cut(still):
    for frame in still[20:]:
        frame[150:] = (0, 0, 220)  # over a third of the picture, and the chin
        frame[:60, :200] = 255
    assert cuts(still, FACES) == ()


def test_another_place_behind_a_face_that_goes_on_is_no_cut_of_its_track():
    frames = [scene(swaying(number), place=number // 20) for number in range(40)]
    assert cuts(frames, FACES) == ()


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(still, length):
    for frame in still[20 : 20 + length]:
        frame[:] = np.clip(frame.astype(int) * 2 + 80, 0, 255)
    assert cuts(still, FACES) == ()


def test_a_refreshed_picture_is_no_cut(still):
    coarse = [cv2.blur(frame, (7, 7)) for frame in still[:20]]
    assert cuts([*coarse, *still[20:]], FACES) == ()


def test_damage_in_which_a_face_is_guessed_is_no_cut(still):
    gray = [np.full_like(frame, 128) + frame // 32 for frame in still[:12]]
    assert cuts([*gray, *still[12:]], [[]] * 6 + FACES[6:]) == ()


def test_a_fade_to_black_and_noise_are_no_cut(still):
    rng = np.random.default_rng(0)
    light = np.clip(np.linspace(2, -1, 40), 0, 1)
    noise = rng.normal(0, 4, (40, HEIGHT, WIDTH, 3))
    faded = [frame * share + grain for frame, share, grain in zip(still, light, noise, strict=True)]
    assert cuts([frame.clip(0, 255).astype(np.uint8) for frame in faded], FACES) == ()


def test_another_face_in_the_same_place_is_a_cut(still):
    other = [scene(swaying(number), who="hopper") for number in range(20, 40)]
    assert cuts([*still[:20], *other], FACES) == (20,)


@pytest.mark.parametrize("jump", [-16, 14])
def test_a_jump_cut_that_moves_the_face_is_a_cut(still, jump):
    moved = [scene(swaying(number) + jump) for number in range(20, 40)]
    faces = FACES[:20] + [face(swaying(number) + jump) for number in range(20, 40)]
    assert cuts([*still[:20], *moved], faces) == (20,)


def test_a_closer_shot_of_the_same_face_is_a_cut(still):
    closer = [scene(swaying(number), zoom=1.5) for number in range(20, 40)]
    faces = FACES[:20] + [face(swaying(number), zoom=1.5) for number in range(20, 40)]
    assert cuts([*still[:20], *closer], faces) == (20,)


def test_pictures_without_a_face_between_are_cut_off(still):
    between = [room(5)] * 12
    faces = FACES[:14] + [[]] * 12 + FACES[26:]
    assert cuts([*still[:14], *between, *still[26:]], faces) == (14, 26)


def test_where_nobody_is_seen_nothing_is_cut(still):
    frames = [room(number // 20) for number in range(40)]
    assert cuts(frames, [[]] * 40) == ()
    assert cuts([*frames[:20], *still[20:]], [[]] * 20 + FACES[20:]) == ()


def test_the_size_of_the_frames_hardly_matters():
    numbers = range(40, 60)
    large = (cv2.resize(draw(number), (3 * SIZE[0], 3 * SIZE[1])) for number in numbers)
    faces = [[tuple(3 * side for side in box) for box in people(number)] for number in numbers]
    assert cuts(large, faces) == (10,)


def test_boxes_may_be_those_of_larger_pictures(still):
    finder = ShotDetector()
    other = map(partial(scene, who="hopper"), map(swaying, range(20, 40)))
    for frame in [*still[:20], *other]:
        finder.add(frame)
    boxes = 4 * np.array(FACES)[:, 0]
    table = pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"]).assign(frame=range(40))
    assert finder.cuts(Detections(40, 4 * WIDTH, 4 * HEIGHT, table)) == (20,)


def test_frames_of_each_shot():
    assert split_shots((), 7) == [range(7)]
    assert split_shots((3, 5), 7) == [range(3), range(3, 5), range(5, 7)]
    assert split_shots((3, 9), 7) == [range(3), range(3, 7)]
