"""Manifests: formats, names of columns, segments, bad rows."""

from __future__ import annotations

import json

import pytest

from lipsync_core.corpus import clips
from lipsync_core.errors import LipsyncError
from tests.corpus.test_clips import put

ROWS = [
    {"video": "a/1.mp4", "speaker": "ann", "split": "train", "licence": "CC0-1.0", "sex": "f"},
    {"video": "a/1.mp4", "start": 1.5, "end": 2.25, "speaker": "bob", "split": "dev", "sex": "m"},
    {"video": "b.mp4"},
]


def discovered(root, **options) -> dict[str, clips.Clip]:
    return {clip.id: clip for clip in clips.discover(root, 4, layout="manifest", **options)}


@pytest.fixture
def data(tmp_path):
    put(tmp_path, "a/1.mp4")
    put(tmp_path, "b.mp4")
    return tmp_path


def write(data, rows, suffix):
    path = data / f"manifest{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        names = {name: None for row in rows for name in row}
        parquet.write_table(pa.Table.from_pylist([names | row for row in rows]), path)
    elif suffix == ".csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names)]
        lines += [",".join(str(row.get(name, "")) for name in names) for row in rows]
        path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n")
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps({"version": 1, "clips": rows}))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_formats_agree(data, suffix):
    write(data, ROWS, suffix)
    found = discovered(data)
    assert list(found) == ["ann/1", "b/b", "bob/1@1.5-2.25"]
    part = found["bob/1@1.5-2.25"]
    assert (part.segment, part.interval, part.split) == ("1.5-2.25", (1.5, 2.25), "val")
    assert json.loads(part.metadata) == {"meta_sex": "m"}
    assert (found["ann/1"].licence, found["ann/1"].split) == ("CC0-1.0", "train")
    assert found["b/b"].segment == found["b/b"].split == found["b/b"].licence == ""


def test_metadata_is_no_part_of_the_signature(data):
    write(data, ROWS, ".json")
    before = discovered(data)
    write(data, [row | {"sex": "x", "licence": "MIT"} for row in ROWS], ".json")
    after = discovered(data)
    assert [clip.signature for clip in after.values()] == [
        clip.signature for clip in before.values()
    ]
    assert clips.labels_digest(after.values()) != clips.labels_digest(before.values())
    assert clips.members_digest(after.values()) == clips.members_digest(before.values())


def test_talkvid(tmp_path):
    put(tmp_path, "videovideoTr6MMsoWAog-scene1-scene1.mp4")
    put(tmp_path, "raw/abcdefghij_.webm")
    rows = [
        {
            "id": name,
            "start-time": 0.1,
            "end-time": 5.141666666666667,
            "info": {
                "Person ID": "597",
                "Gender": "Male",
                "Video Link": link,
                "Language": "English",
            },
            "head_detail": {"scores": {"avg_movement": 97.9}},
        }
        for name, link in (
            ("videovideoTr6MMsoWAog-scene1-scene1", "https://www.youtube.com/watch?v=Tr6MMsoWAog"),
            ("videovideoabcdefghij_-scene1", "https://www.youtube.com/watch?v=abcdefghij_&t=1"),
            ("videovideoMISSING0000-scene1", "https://www.youtube.com/watch?v=MISSING0000"),
        )
    ]
    (tmp_path / "filtered_video_clips.json").write_text(json.dumps(rows))
    found = discovered(tmp_path)
    assert {name: clip.segment for name, clip in found.items()} == {
        "597/videovideoTr6MMsoWAog-scene1-scene1": "",
        "597/videovideoabcdefghij_-scene1": "0.1-5.141667",
    }
    labels = json.loads(found["597/videovideoabcdefghij_-scene1"].metadata)
    assert labels["meta_language"] == "English" and labels["meta_gender"] == "Male"
    assert labels["meta_head_detail_scores_avg_movement"] == "97.9"


def test_missing_videos_and_repeated_rows_are_counted(data, caplog):
    write(data, [*ROWS, ROWS[2], {"video": "none.mp4"}], ".csv")
    assert len(discovered(data)) == 3
    assert "1 of 5 rows have no video, first " in caplog.text
    assert "1 of 5 rows repeat another one, first " in caplog.text
    assert "line 6" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"speaker": "ann"}, "entry 1: it names no video; give a column `video`"),
        ({"video": "../x.mp4"}, "entry 1: '../x.mp4' is outside of"),
        ({"video": "/etc/x.mp4"}, "entry 1: '/etc/x.mp4' is outside of"),
        ({"video": "b.mp4", "start": 2}, "entry 1: start '2' and end '': wanted seconds"),
        ({"video": "b.mp4", "start": 2, "end": 1}, "the start before the end"),
        ({"video": "b.mp4", "start": -1, "end": 1}, "the start before the end"),
        ({"video": "b.mp4", "start": "nan", "end": 1}, "the start before the end"),
        ({"video": "b.mp4", "start": "a", "end": 1}, "the start before the end"),
        ({"video": "b.mp4", "split": "dog"}, "entry 1: split 'dog' is none of train, val, test"),
        ({"video": "b.mp4", "file": "a/1.mp4"}, "two columns mean 'video', one of them 'file'"),
        ("b.mp4", "entry 1: wanted an object with a key `video`, got 'b.mp4'"),
    ],
)
def test_bad_rows_are_named(data, row, message):
    write(data, [row], ".json")
    with pytest.raises(LipsyncError, match=r"manifest\.json, entry 1: ") as caught:
        discovered(data)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[1", '{"a": 1}', "\xff"])
def test_a_manifest_that_is_none(data, text):
    (data / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(LipsyncError, match=r"manifest\.json: (cannot be read|wanted a list)"):
        discovered(data)
    (data / "manifest.json").unlink()
    with pytest.raises(LipsyncError, match="no table in"):
        discovered(data)


def test_a_line_with_too_many_cells(data):
    (data / "manifest.csv").write_text("video,speaker\nb.mp4,ann,bob\n")
    with pytest.raises(LipsyncError, match=r"manifest\.csv, line 2: it has more cells"):
        discovered(data)


def test_names_stay_inside_the_results(data):
    rows = [{"video": str(data / "b.mp4"), "speaker": "../..", "clip": "x/../../y"}]
    write(data, rows, ".json")
    assert list(discovered(data)) == ["%2E.%2F../x%2F..%2F..%2Fy"]


def test_times_as_on_a_clock(data):
    write(data, [{"video": "b.mp4", "start": "1:02.5", "end": "1:01:03"}], ".json")
    (clip,) = discovered(data).values()
    assert clip.interval == (62.5, 3663.0)
