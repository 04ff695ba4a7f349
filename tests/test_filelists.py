from __future__ import annotations

import csv

import pytest

from lipsync_core import filelists
from lipsync_core.clips import Clip, source_id
from lipsync_core.errors import LipsyncError
from lipsync_core.stage import write_table
from lipsync_core.stages import AUDIO, CHECKS
from tests.media import portrait
from tests.media_takes import frames, prepare, speech


def row(clip: str, reason: str = "") -> dict:
    return {
        "clip": clip,
        "key": f"key of {clip}",
        "outcome": "dropped" if reason else "kept",
        "reason": reason,
        "detail": "",
        "dropped_by": "",
        "bytes": 0,
        "frames": 50,
        "seconds": 2.0,
        "fps_in": 29.97,
        "coverage": 0.99,
    }


@pytest.fixture
def write(tmp_path):
    def run(rows, official=None, **options):
        for stage in (AUDIO, CHECKS):
            by = {row["clip"]: AUDIO.rule if row["reason"] else "" for row in rows}
            table = [row | {"dropped_by": by[row["clip"]]} for row in rows]
            write_table(tmp_path / stage.folder / "0.csv", table)
        found = [
            Clip(row["clip"], "s", 0, "1", "1", "p", split=(official or {}).get(row["clip"], ""))
            for row in rows
            if row["clip"] == source_id(row["clip"])
        ]
        options = {"val": 0.2, "test": 0.2, "seed": 0} | options
        counts = filelists.write_filelists(tmp_path, found, (AUDIO, CHECKS), **options)
        lists = {
            name: (tmp_path / "filelists" / f"{name}.txt").read_text().splitlines()
            for name in filelists.SPLITS
        }
        with open(tmp_path / "filelists" / "clips.csv", newline="") as stream:
            return counts, lists, list(csv.DictReader(stream))

    return run


def test_every_clip_is_counted_once(write):
    rows = [row(f"s{i}/{j}") for i in range(10) for j in range(3)]
    rows += [row("bad/1", "no_audio"), row("bad/2", "no_face"), row("bad/3", "no_face")]
    counts, lists, table = write(rows)
    assert counts == {"kept": 30, "no_audio": 1, "no_face": 2}
    assert sum(map(len, lists.values())) == 30
    assert len(table) == 33
    assert {line["split"] for line in table if line["kept"] == "0"} == {""}
    assert tuple(table[0])[:9] == filelists.COLUMNS


def test_no_speaker_in_two_splits(write):
    _, lists, _ = write([row(f"s{i}/{j}") for i in range(40) for j in range(3)])
    speakers = [{line.split("/")[0] for line in lines} for lines in lists.values()]
    assert all(speakers)
    assert sum(map(len, speakers)) == 40


def test_adding_speakers_moves_nobody():
    old = filelists.split_speakers([f"s{i}" for i in range(100)], 0.1, 0.1, 0)
    new = filelists.split_speakers([f"s{i}" for i in range(1000)], 0.1, 0.1, 0)
    assert all(new[speaker] == split for speaker, split in old.items())
    shares = [sum(name == split for split in new.values()) for name in ("val", "test")]
    assert all(60 < share < 140 for share in shares)


def test_seed_changes_the_split():
    speakers = [f"s{i}" for i in range(50)]
    one, two = (filelists.split_speakers(speakers, 0.2, 0.2, seed) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_small_corpora_train_and_validate(count):
    for seed in range(20):
        split = filelists.split_speakers([f"s{i}" for i in range(count)], 0.1, 0.1, seed)
        assert {"train", "val"} <= set(split.values())


def test_one_speaker_is_split_by_clip(write):
    _, lists, _ = write([row(f"me/{j}") for j in range(8)])
    assert all(lists.values())


def test_a_single_clip_still_trains(write):
    _, lists, _ = write([row("me/1")])
    assert lists["train"] == ["me/1"]


def test_official_splits_win(write):
    _, lists, _ = write(
        [row("a/1"), row("c/1"), row("d/1")], official={"a/1": "val", "c/1": "test"}
    )
    assert lists == {"train": ["d/1"], "val": ["a/1"], "test": ["c/1"]}


def test_validation_is_drawn_by_speaker_where_only_the_test_is_official(write):
    official = {f"s{i}/{j}": "trainval" for i in range(30) for j in range(2)}
    official |= {"t1/1": "test", "t2/1": "test"}
    _, lists, _ = write([row(clip) for clip in official], official)
    assert lists["test"] == ["t1/1", "t2/1"]
    speakers = {name: {clip.split("/")[0] for clip in lists[name]} for name in ("train", "val")}
    assert speakers["val"] and not speakers["train"] & speakers["val"]
    assert len(lists["train"]) + len(lists["val"]) == 60


def test_official_splits_that_leak(write, caplog):
    rows = [row("a/1"), row("a/2"), row("b/1")]
    with pytest.raises(LipsyncError, match=r"more than one split, first \['a'\]"):
        write(rows, {"a/1": "val"})
    write(rows, {"a/1": "val"}, judged=False)
    assert "so the official split has it" in caplog.text


def test_copies_are_dropped_and_counted(write, tmp_path):
    wav, pictures = speech(1), frames(portrait(), 1)
    copies = [row(clip) | prepare(tmp_path, clip, wav, pictures) for clip in ("a/1", "b/1")]
    rows = [*copies, row("c/1"), row("d/1")]
    counts, lists, table = write(rows, {"a/1": "train", "b/1": "test"})
    assert counts == {"kept": 3, "duplicate": 1}
    assert (lists["train"], lists["test"]) == (["c/1", "d/1"], ["b/1"])
    assert (table[0]["kept"], table[0]["reason"], table[0]["split"]) == ("0", "duplicate", "")
    assert "the same as b/1" in table[0]["detail"]
    with open(tmp_path / "filelists/accounting.csv", newline="") as stream:
        last = {line["stage"]: line for line in csv.DictReader(stream)}["filelists"]
    assert (last["in"], last["kept"], last["duplicate"]) == ("4", "3", "1")
    _, lists, _ = write(rows, {"a/1": "train", "b/1": "test"}, drop_duplicates=False)
    assert lists["train"] == ["a/1", "c/1", "d/1"]


def test_too_many_dropped_stops(write):
    rows = [row("a/1"), row("b/1", "no_face")]
    with pytest.raises(LipsyncError, match="1 of 2 clips were dropped"):
        write(rows, max_dropped_share=0.4)
    write(rows, max_dropped_share=0.5)


def test_nothing_kept_still_accounts(write):
    counts, lists, table = write([row("a/1", "no_face")])
    assert counts == {"no_face": 1}
    assert not any(lists.values())
    assert table[0]["reason"] == "no_face"


def test_people_of_one_video_stay_together(write):
    _, lists, table = write([row(name) for j in range(8) for name in (f"me/{j}", f"me/{j}+1")])
    for ids in lists.values():
        videos = [line for line in ids if not line.endswith("+1")]
        assert sorted([*videos, *(f"{line}+1" for line in videos)]) == ids
    assert sum(map(len, lists.values())) == len(table) == 16
    rows = [row("a/1"), row("c/1", "small_face"), row("c/1+1"), row("c/1+2")]
    _, lists, _ = write(rows, {"c/1": "test"})
    assert lists == {"train": ["a/1"], "val": [], "test": ["c/1+1", "c/1+2"]}
