from __future__ import annotations

import random

from lipsync_core import duplicates

DRAW = random.Random(0)


def prints(sha: str = "", seconds: float = 2.0) -> dict:
    return {
        "sound_sha": sha or f"{DRAW.getrandbits(64):016x}",
        "sound_print": f"{DRAW.getrandbits(128):032x}",
        "picture_print": f"{DRAW.getrandbits(64):016x}",
        "seconds": seconds,
    }


def flipped(row: dict, name: str, bits: int) -> dict:
    return row | {name: f"{int(row[name], 16) ^ ((1 << bits) - 1):0{len(row[name])}x}"}


def other_encoding(row: dict) -> dict:
    return flipped(flipped(row, "sound_print", 3), "picture_print", 5) | {
        "sound_sha": "another",
        "seconds": row["seconds"] + 0.04,
    }


def test_unrelated_clips_stay():
    rows = {f"s{number}/1": prints() for number in range(500)}
    assert duplicates.resolve(rows, dict.fromkeys(rows, "train")) == {}


def test_of_exact_copies_one_stays():
    one = prints("x")
    rows = {"a/1": one, "b/1": one, "c/1": one, "d/1": prints()}
    assert duplicates.resolve(rows, dict.fromkeys(rows, "train")) == {"b/1": "a/1", "c/1": "a/1"}
    split = {"a/1": "train", "b/1": "val", "c/1": "test", "d/1": "train"}
    assert duplicates.resolve(rows, split) == {"a/1": "c/1", "b/1": "c/1"}


def test_other_encodings_may_share_a_split_only():
    one = prints()
    rows = {"a/1": one, "b/1": other_encoding(one)}
    assert duplicates.resolve(rows, dict.fromkeys(rows, "train")) == {}
    assert duplicates.resolve(rows, {"a/1": "train", "b/1": "val"}) == {"a/1": "b/1"}


def test_same_sound_with_another_face_is_another_clip():
    one = prints("x")
    other = one | {"picture_print": prints()["picture_print"]}
    assert duplicates.resolve({"a/1": one, "b/1": other}, {"a/1": "train", "b/1": "val"}) == {}


def test_same_sound_print_of_another_length_is_another_clip():
    one = prints()
    rows = {"a/1": one, "b/1": one | {"sound_sha": "y", "seconds": 9.0}}
    assert duplicates.resolve(rows, {"a/1": "train", "b/1": "val"}) == {}


def test_clips_without_prints_pass():
    rows = {"a/1": {"seconds": 2}, "b/1": {"seconds": 2, "sound_print": ""}}
    assert duplicates.resolve(rows, {"a/1": "train", "b/1": "val"}) == {}
