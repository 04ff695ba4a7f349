from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest

from lipsync_core.audio import melspectrogram
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import assignment, splits
from lipsync_core.preparation.stages import AUDIO, CHECKS
from lipsync_core.runtime.tables import write_table
from tests.support.media import portrait
from tests.support.media_takes import frames, prepare, speech, through_mp3
from tests.support.training import write_clip


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
        counts = splits.write_filelists(tmp_path, found, (AUDIO, CHECKS), **options)
        lists = {
            name: (tmp_path / "filelists" / f"{name}.txt").read_text().splitlines()
            for name in splits.SPLITS
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
    assert tuple(table[0])[: len(splits.COLUMNS)] == splits.COLUMNS


def test_no_speaker_in_two_splits(write):
    _, lists, _ = write([row(f"s{i}/{j}") for i in range(40) for j in range(3)])
    speakers = [{line.split("/")[0] for line in lines} for lines in lists.values()]
    assert all(speakers)
    assert sum(map(len, speakers)) == 40


def test_adding_speakers_moves_nobody():
    old = assignment.split_speakers([f"s{i}" for i in range(100)], 0.1, 0.1, 0)
    new = assignment.split_speakers([f"s{i}" for i in range(1000)], 0.1, 0.1, 0)
    assert all(new[speaker] == split for speaker, split in old.items())
    shares = [sum(name == split for split in new.values()) for name in ("val", "test")]
    assert all(60 < share < 140 for share in shares)


def test_seed_changes_the_split():
    speakers = [f"s{i}" for i in range(50)]
    one, two = (assignment.split_speakers(speakers, 0.2, 0.2, seed) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_small_corpora_train_and_validate(count):
    for seed in range(20):
        split = assignment.split_speakers([f"s{i}" for i in range(count)], 0.1, 0.1, seed)
        assert {"train", "val"} <= set(split.values())


def test_one_speaker_is_split_by_clip(write):
    _, lists, _ = write([row(f"me/{j}") for j in range(8)])
    assert all(lists.values())


def test_one_speaker_s_clip_that_is_longer_than_a_share_is_no_test_clip(write, tmp_path):
    rows = [row("me/long") | {"seconds": 60, "frames": 1500}, row("me/1"), row("me/2")]
    write_clip(tmp_path, "me/long", frames=1500)
    _, lists, table = write(rows)
    assert [line.split("\t")[0] for line in lists["val"]] == ["me/long"]
    assert lists["train"][:2] == ["me/1", "me/2"]  # too short to be divided
    assert {line["clip"]: line["split"] for line in table}["me/long"] == "train+val+test"


@pytest.mark.parametrize(("frames", "parts"), [(90, 2), (150, 2), (300, 2), (600, 3), (15000, 3)])
def test_a_single_clip_trains_and_validates(write, tmp_path, frames, parts):
    write_clip(tmp_path, "me/1", frames=frames)
    rows = [row("me/1") | {"frames": frames, "seconds": frames / 25}]
    counts, lists, table = write(rows, val=0.15, test=0.15)
    assert counts == {"kept": 1}
    found = {
        name: ClipDataset.load(tmp_path, name).clips[0] for name in ("train", "val", "test")[:parts]
    }
    ends = [(clip.starts[0], clip.starts[-1] + 4) for clip in found.values()]
    for (_, last), (first, _) in itertools.pairwise(ends):
        assert first - last - 1 >= 50  # 2 s of frames lie between them
    assert all(len(clip.starts) >= 12 for clip in found.values())
    held = {name: len(clip.starts) / (frames - 4) for name, clip in found.items()}
    assert held["train"] > 0.45 or frames == 90
    assert held["val"] == pytest.approx(0.15, abs=0.01) or frames < 300
    (line,) = table
    assert line["split"] == "+".join(found)
    assert line["split_frames"] == "+".join(f"{first}-{last}" for first, last in ends)
    assert {name: lists[name] for name in found} == {
        name: [f"me/1\t{first}-{last}"] for name, (first, last) in zip(found, ends, strict=True)
    }


def test_a_single_clip_too_short_for_two_parts_trains(write, tmp_path, caplog):
    write_clip(tmp_path, "me/1", frames=70)
    _, lists, _ = write([row("me/1")])
    assert lists == {"train": ["me/1"], "val": [], "test": []}
    assert "the validation split is empty" in caplog.text
    assert summary(tmp_path)["val"]["evaluated_on"] == ""


def test_a_few_short_clips_of_one_speaker_are_split_by_clip(write, tmp_path):
    for number in range(3):
        write_clip(tmp_path, f"me/{number}", frames=60)
    _, lists, _ = write([row(f"me/{number}") for number in range(3)])
    assert [len(lists[name]) for name in splits.SPLITS] == [1, 1, 1]


def test_the_people_of_a_video_are_divided_at_the_same_times(write, tmp_path):
    write_clip(tmp_path, "me/1", seed=1, frames=1000)
    write_clip(tmp_path, "me/1+1", seed=2, frames=1000, missing=range(700, 1000))
    write_clip(tmp_path, "me/1+2", seed=3, frames=1000, missing=[*range(598), *range(643, 1000)])
    rows = [row(name) | {"seconds": 40} for name in ("me/1", "me/1+1", "me/1+2")]
    counts, lists, table = write(rows, val=0.15, test=0.15)
    cuts = [line.partition("\t")[2] for line in lists["train"]]
    assert [line.partition("\t")[0] for line in lists["train"]] == ["me/1", "me/1+1"]
    assert cuts[0] == cuts[1]
    # One is seen only between two parts: there is no list for her, and her row says so.
    assert counts == {"kept": 2, "too_short": 1}
    assert "split by time" in table[2]["detail"]


def test_copies_of_a_clip_that_is_divided_go(write, tmp_path):
    wav, pictures = speech(1, 8.0), frames(portrait(), 1, 6.0)
    pictures += pictures[:50]
    takes = {"me/1": wav, "me/2": through_mp3(wav, tmp_path / "mp3")}
    rows = []
    for clip, heard in takes.items():
        (tmp_path / "mels/me").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"mels/{clip}.npy", melspectrogram(heard).T)
        rows.append(row(clip) | {"seconds": 8.0} | prepare(tmp_path, clip, heard, pictures))
    _, lists, table = write(rows, val=0.12, test=0, drop_duplicates=False)
    assert [line["split"] for line in table] == ["train+val"] * 2
    # The parts of another encoding need not begin at the same words.
    counts, lists, _ = write(rows, val=0.12, test=0)
    assert counts == {"kept": 1, "duplicate": 1}
    assert [len(lines) for lines in lists.values()] == [1, 1, 0]


def summary(tmp_path) -> dict:
    return json.loads((tmp_path / "filelists/split.json").read_text())


def test_the_summary_of_the_split(write, tmp_path):
    write([row(f"s{i}/{j}") for i in range(10) for j in range(2)])
    found = summary(tmp_path)
    assert found["by"] == "speaker"
    assert found["val"]["seen"] == 0 and found["val"]["evaluated_on"].startswith("held-out speaker")
    assert sum(found[name]["clips"] for name in splits.SPLITS) == 20
    write([row(f"s{i}/{j}") for i in range(10) for j in range(2)], groups={""})
    assert summary(tmp_path)["test"]["evaluated_on"] == "held-out clips"  # speakers are not known
    write([row(f"me/{j}") for j in range(10)])
    found = summary(tmp_path)
    assert (found["by"], found["val"]["evaluated_on"], found["test"]["seen"]) == (
        *("clip", "seen speaker"),
        1,
    )
    write_clip(tmp_path, "me/1", frames=1000)
    write([row("me/1") | {"seconds": 40, "frames": 1000}])
    found = summary(tmp_path)
    assert (found["by"], found["test"]["evaluated_on"]) == ("time", "seen speaker")
    total = sum(found[name]["seconds"] for name in splits.SPLITS)
    assert 34 < total <= 36  # two gaps of 2 s are in no list


def test_a_lone_test_list_leaves_the_rest_to_be_drawn(write, tmp_path):
    rows = [row(f"{name}/{j}") for name in ("anna", "boris", "carla", "dora") for j in range(2)]
    _, lists, _ = write(rows, {"carla/0": "test", "carla/1": "test"})
    assert lists["test"] == ["carla/0", "carla/1"]
    speakers = [{line.split("/")[0] for line in lists[name]} for name in ("train", "val")]
    assert all(speakers) and not speakers[0] & speakers[1]
    assert speakers[0] | speakers[1] == {"anna", "boris", "dora"}
    assert summary(tmp_path)["test"]["evaluated_on"] == "held-out speaker"


def test_a_lone_test_list_that_leaves_one_speaker(write, tmp_path):
    rows = [row(f"anna/{j}") for j in range(8)] + [row("carla/1")]
    _, lists, _ = write(rows, {"carla/1": "test"})
    assert lists["test"] == ["carla/1"]
    assert lists["train"] and lists["val"]
    found = summary(tmp_path)
    assert found["val"]["evaluated_on"] == "seen speaker"
    assert found["test"]["evaluated_on"] == "held-out speaker"


def test_a_lone_validation_list_leaves_the_rest_to_training(write):
    rows = [row(f"{name}/1") for name in ("anna", "boris", "carla")]
    _, lists, _ = write(rows, {"boris/1": "val"})
    assert lists == {"train": ["anna/1", "carla/1"], "val": ["boris/1"], "test": []}


def test_a_lone_training_list_validates_on_others(write):
    rows = [row(f"{name}/{j}") for name in ("anna", "boris", "carla") for j in range(2)]
    official = {clip["clip"]: "train" for clip in rows[:4]} | {"carla/0": "", "carla/1": ""}
    _, lists, _ = write(rows, official)
    assert lists == {
        "train": ["anna/0", "anna/1", "boris/0", "boris/1"],
        "val": ["carla/0", "carla/1"],
        "test": [],
    }
    _, lists, _ = write(rows[:4], dict.fromkeys(official, "train"))
    assert {line.split("/")[0] for line in lists["val"]} in ({"anna"}, {"boris"})
    assert lists["train"] and not lists["test"]


def test_an_unlisted_clip_of_a_listed_speaker_trains_with_the_others(write):
    rows = [row("anna/0"), row("anna/1"), row("boris/0")]
    _, lists, _ = write(rows, {"anna/0": "train"})
    assert lists == {"train": ["anna/0", "anna/1"], "val": ["boris/0"], "test": []}


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_two_speakers_train_and_validate(write, names):
    _, lists, _ = write([row(f"{name}/{j}") for name in names for j in range(3)])
    speakers = [{line.split("/")[0] for line in lists[name]} for name in ("train", "val")]
    assert all(speakers) and not speakers[0] & speakers[1]


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


def test_pretrain_trains_where_others_have_a_split(write):
    official = {"a/1": "pretrain", "b/1": "val", "c/1": "test"}
    _, lists, _ = write([row(clip) for clip in official], official)
    assert lists == {"train": ["a/1"], "val": ["b/1"], "test": ["c/1"]}
    official = {f"s{i}/1": "pretrain" if i % 2 else "" for i in range(20)}
    _, lists, _ = write([row(clip) for clip in official], official)
    assert all(lists.values())
    assert any(int(line[1:-2]) % 2 for line in lists["val"] + lists["test"])


def test_official_splits_that_leak(write, caplog):
    rows = [row("a/1"), row("a/2"), row("b/1")]
    with pytest.raises(LipsyncError, match=r"more than one split, first \['a'\]"):
        write(rows, {"a/1": "val"})
    write(rows, {"a/1": "val"}, groups={""})
    assert "according to the official split" in caplog.text


def test_copies_are_dropped_and_counted(write, tmp_path):
    wav, pictures = speech(1), frames(portrait(), 1)
    copies = [row(clip) | prepare(tmp_path, clip, wav, pictures) for clip in ("a/1", "b/1")]
    rows = [*copies, row("c/1"), row("d/1")]
    counts, lists, table = write(rows, {"a/1": "train", "b/1": "test"}, val=0)
    assert counts == {"kept": 3, "duplicate": 1}
    assert (lists["train"], lists["test"]) == (["c/1", "d/1"], ["b/1"])
    assert (table[0]["kept"], table[0]["reason"], table[0]["split"]) == ("0", "duplicate", "")
    assert "the same as b/1" in table[0]["detail"]
    with open(tmp_path / "filelists/accounting.csv", newline="") as stream:
        last = {line["stage"]: line for line in csv.DictReader(stream)}["filelists"]
    assert (last["in"], last["kept"], last["duplicate"]) == ("4", "3", "1")
    _, lists, _ = write(rows, {"a/1": "train", "b/1": "test"}, val=0, drop_duplicates=False)
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
