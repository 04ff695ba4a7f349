"""Official lists are read as people write them; what names no clip is an error, not a guess."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from lipsync_core.corpus import clips
from lipsync_core.errors import LipsyncError
from tests.corpus.test_clips import DEMO, put, write_demo

CLIPS = ("anna/01.mp4", "boris/a take.mov", "carla/01.mp4", "zoé/Ä 1.MP4")


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    for name in CLIPS:
        put(root, unicodedata.normalize("NFC", name))
    return root


def splits(root: Path, **options) -> dict[str, str]:
    return {clip.id: clip.split for clip in clips.discover(root, 8, **options) if clip.split}


@pytest.mark.parametrize(
    "line",
    [
        "carla/01",
        "carla/01.mp4",
        "carla/01.MP4",
        "main/carla/01",
        "main/carla/01.mp4",
        "corpus/carla/01",
        "corpus/main/carla/01.mp4",
        "./carla/01.mp4",
        "carla\\01",
        "main\\carla\\01.mp4",
        "carla/01 NF",
        "carla/01 MV",
        "carla/01.mp4 75",
        "carla/01\t75",
        "  carla/01  ",
        "Carla/01",
        "carla/01+1",
    ],
)
def test_every_way_to_write_a_line(corpus, line):
    (corpus / "test.txt").write_text(f"{line}\n")
    assert splits(corpus) == {"carla/01": "test"}


def test_an_absolute_path(corpus):
    (corpus / "test.txt").write_text(f"{corpus / 'carla' / '01.mp4'}\n")
    assert splits(corpus) == {"carla/01": "test"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_encodings_line_ends_and_decomposed_letters(corpus, encoding, end, form):
    lines = ["zoé/Ä 1", "", "# those who are held out", "carla/01"]
    text = unicodedata.normalize(form, end.join(lines))
    (corpus / "test.txt").write_bytes(text.encode(encoding))
    assert splits(corpus) == {"zoé/Ä 1": "test", "carla/01": "test"}


def test_files_whose_names_macos_decomposed(tmp_path):
    put(tmp_path, unicodedata.normalize("NFD", "zoé/1.mp4"))
    (tmp_path / "test.txt").write_text(unicodedata.normalize("NFC", "zoé/1.mp4\n"))
    assert list(splits(tmp_path).values()) == ["test"]


def test_names_that_only_look_like_something_else(tmp_path):
    for name in ("a/1 NF.mp4", "a/1.mp4", "a/#2.mp4", "B/x.mp4", "b/x.mp4", "c\\d/1.mp4"):
        put(tmp_path, name)
    (tmp_path / "test.txt").write_text("a/1 NF\na/#2\nb/x\nc\\d/1\n")
    assert set(splits(tmp_path)) == {"a/1 NF", "a/#2", "b/x", "c\\d/1"}


def test_an_extension_chooses_between_two_formats_of_one_name(tmp_path):
    put(tmp_path, "a/1.mp4")
    put(tmp_path, "a/1.mov")
    (tmp_path / "test.txt").write_text("a/1.mov\n")
    assert splits(tmp_path) == {"a/1.mov": "test"}
    (tmp_path / "test.txt").write_text("a/1\n")
    assert splits(tmp_path) == {"a/1.mov": "test", "a/1.mp4": "test"}


def test_a_line_without_a_clip_stops_with_the_nearest_name(corpus):
    (corpus / "val.txt").write_text("anna/01\n")
    (corpus / "test.txt").write_text("carla/01\ncarla/10.mp4\nboris/take\n")
    message = (
        r"test\.txt, line 2: 'carla/10\.mp4' names no clip; the nearest is 'carla/01' "
        r"\(2 of 4 lines.*partial_lists"
    )
    with pytest.raises(LipsyncError, match=message):
        splits(corpus)
    assert splits(corpus, partial_lists=True) == {"anna/01": "val", "carla/01": "test"}


def test_lists_of_a_part_of_a_corpus_are_counted(corpus, caplog):
    (corpus / "test.txt").write_text("carla/01\nsomeone/99\n")
    assert splits(corpus, partial_lists=True) == {"carla/01": "test"}
    assert "1 of 2 lines of the lists name clips that are missing, first" in caplog.text
    (corpus / "test.txt").write_text("someone/99\n")
    with pytest.raises(LipsyncError, match="'someone/99' names no clip"):
        splits(corpus, partial_lists=True)


def test_frames_cannot_be_listed(corpus):
    (corpus / "val.txt").write_text("carla/01\t0-99\n")
    with pytest.raises(LipsyncError, match="only whole clips: write 'carla/01' alone"):
        splits(corpus)


def test_a_clip_in_two_lists_is_said(corpus, caplog):
    (corpus / "train.txt").write_text("carla/01\nanna/01\n")
    (corpus / "test.txt").write_text("carla/01\n")
    assert splits(corpus) == {"carla/01": "test", "anna/01": "train"}
    assert "1 lines name clips that another list names, too" in caplog.text
    assert "train.txt, line 1: 'carla/01'" in caplog.text


def test_the_demo_s_lists_do_not_stop_those_who_bring_their_own_videos(tmp_path):
    write_demo(tmp_path)
    (tmp_path / "test.txt").write_text("00002/00001\n")
    (tmp_path / "main/00002/00001.mp4").unlink()
    assert splits(tmp_path, demo=DEMO) == {}
    put(tmp_path, "main/me/1.mp4")
    assert splits(tmp_path, demo=DEMO) == {}


@pytest.mark.parametrize("home", ["", "mvlrs_v1/"])
def test_lists_of_lrs2(tmp_path, home):
    for name in ("main/5/1.mp4", "main/6/1.mp4", "pretrain/5/1.mp4", "pretrain/7/1.mp4"):
        put(tmp_path, home + name)
    (tmp_path / home / "test.txt").write_text("5/1 NF\n")
    (tmp_path / home / "pretrain.txt").write_text("5/1\n7/1\n")
    assert splits(tmp_path, layout="lrs2") == {
        "5/1": "test",
        "5/pretrain/1": "train",
        "7/pretrain/1": "train",
    }
