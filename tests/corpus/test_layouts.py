"""Each layout on a made-up miniature tree."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from lipsync_core.config import Config
from lipsync_core.corpus import clips
from lipsync_core.corpus.layouts import LAYOUTS
from lipsync_core.errors import LipsyncError
from tests.corpus.test_clips import put


def tree(root: Path, *names: str) -> Path:
    for name in names:
        put(root, name)
    return root


def found(root: Path, layout: str) -> dict[str, clips.Clip]:
    return {clip.id: clip for clip in clips.discover(root, 8, layout=layout)}


def splits(root: Path, layout: str) -> dict[str, str]:
    return {name: clip.split for name, clip in found(root, layout).items()}


@pytest.mark.parametrize("root", ["", "mvlrs_v1/"])
def test_lrs2_lists_and_their_second_token(tmp_path, root):
    tree(
        tmp_path,
        *(f"{root}main/53554/{number}.mp4" for number in ("00001", "00002")),
        f"{root}main/60000/00001.mp4",
        f"{root}main/60000/00001.txt",
        f"{root}pretrain/53554/00001.mp4",
    )
    assert splits(tmp_path, "lrs2") == {
        "53554/00001": "",
        "53554/00002": "",
        "60000/00001": "",
        "53554/pretrain/00001": "pretrain",
    }
    (tmp_path / root / "train.txt").write_text("53554/00001\n")
    (tmp_path / root / "test.txt").write_text("60000/00001 NF\n53554/00002 MV\n")
    (tmp_path / root / "pretrain.txt").write_text("53554/00001\n")
    assert splits(tmp_path, "lrs2") == {
        "53554/00001": "train",
        "53554/00002": "test",
        "60000/00001": "test",
        "53554/pretrain/00001": "train",
    }


def test_lrs2_root_may_be_main_itself(tmp_path):
    assert list(found(tree(tmp_path, "53554/00001.mp4"), "lrs2")) == ["53554/00001"]


def test_lrs3_test_is_official_and_validation_is_drawn(tmp_path):
    tree(tmp_path, "pretrain/0Fi83BHQsMA/00001.mp4", "trainval/0Fi83BHQsMA/00001.mp4")
    tree(tmp_path, "test/0akiEFwtkyA/00001.mp4")
    assert splits(tmp_path, "lrs3") == {
        "0Fi83BHQsMA/pretrain/00001": "trainval",
        "0Fi83BHQsMA/trainval/00001": "trainval",
        "0akiEFwtkyA/test/00001": "test",
    }


def test_lrw_split_below_the_word(tmp_path):
    names = [f"lipread_mp4/ABOUT/{split}/ABOUT_00001.mp4" for split in ("train", "val", "test")]
    tree(tmp_path, *names, "lipread_mp4/YEARS/train/YEARS_00001.mp4")
    tree(tmp_path, "lipread_mp4/ABOUT/train/ABOUT_00001.txt")
    assert splits(tmp_path, "lrw") == {
        "ABOUT-train/ABOUT_00001": "train",
        "ABOUT-val/ABOUT_00001": "val",
        "ABOUT-test/ABOUT_00001": "test",
        "YEARS-train/YEARS_00001": "train",
    }


def test_voxceleb2_colliding_names_and_separate_audio(tmp_path):
    tree(
        tmp_path,
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "dev/mp4/id00012/2DLq_Kkc1r8/00001.mp4",
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        "test/mp4/id00017/5MkXgwdrmJw/00001.mp4",
        "test/aac/id00017/5MkXgwdrmJw/00001.m4a",
    )
    corpus = found(tmp_path, "voxceleb2")
    assert {name: (clip.split, clip.audio) for name, clip in corpus.items()} == {
        "id00012/21Uxsk56VDQ/00001": ("trainval", "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"),
        "id00012/2DLq_Kkc1r8/00001": ("trainval", ""),
        "id00017/5MkXgwdrmJw/00001": ("test", "test/aac/id00017/5MkXgwdrmJw/00001.m4a"),
    }
    clip = corpus["id00012/21Uxsk56VDQ/00001"]
    assert clip.audio_source(tmp_path).is_file()
    assert clip.audio_source(tmp_path) != clip.source(tmp_path)
    silent = corpus["id00012/2DLq_Kkc1r8/00001"]
    assert silent.audio_source(tmp_path) == silent.source(tmp_path)


@pytest.mark.parametrize("signature", ["mtime", "content"])
def test_a_changed_audio_file_changes_the_clip(tmp_path, signature):
    tree(tmp_path, "dev/mp4/id00012/a/00001.mp4", "dev/aac/id00012/a/00001.m4a")
    (before,) = clips.discover(tmp_path, 8, signature, layout="voxceleb2")
    put(tmp_path, "dev/aac/id00012/a/00001.m4a", "another sound")
    (after,) = clips.discover(tmp_path, 8, signature, [before], layout="voxceleb2")
    assert after.signature != before.signature
    assert clips.members_digest([after]) != clips.members_digest([before])


def test_hdtf_speaker_is_the_name_s_prefix(tmp_path):
    tree(tmp_path, "RD_Radio1_000.mp4", "WDA/WDA_BarackObama_000.mp4", "clips/Radio1_3.mp4")
    tree(tmp_path, "WDA/WDA_BarackObama_001_2.mp4", "WRA_JohnDoe.mp4")
    assert set(found(tmp_path, "hdtf")) == {
        "Radio1/RD_Radio1_000",
        "Radio1/Radio1_3",
        "BarackObama/WDA_BarackObama_000",
        "BarackObama/WDA_BarackObama_001_2",
        "JohnDoe/WRA_JohnDoe",
    }


def test_equal_names_in_two_folders_keep_their_path(tmp_path):
    tree(tmp_path, "a/RD_X_0.mp4", "b/RD_X_0.mp4", "c/RD_X_0.mov")
    assert set(found(tmp_path, "hdtf")) == {
        "X/a/RD_X_0.mp4",
        "X/b/RD_X_0.mp4",
        "X/RD_X_0.mov",
    }


def test_grid_mpg(tmp_path):
    tree(tmp_path, "s1/bbaf2n.mpg", "s2.mpg_vcd/s2/bbaf2n.mpg", "s3/video/mpg_6000/lwbz9s.mpg")
    tree(tmp_path, "s1/align/bbaf2n.align")
    assert list(found(tmp_path, "grid")) == ["s1/bbaf2n", "s2/bbaf2n", "s3/lwbz9s"]


AVSPEECH = "ytid,start,end,x,y\n-abcdefghij,1.5,4.5,0.25,0.5\n-abcdefghij,9,12.25,0.75,0.5\n"


def test_avspeech_rows_of_whole_and_of_cut_videos(tmp_path, caplog):
    (tmp_path / "avspeech_train.csv").write_text(AVSPEECH)
    (tmp_path / "avspeech_test.csv").write_text("AAAA_BBB-CC,30.03,35.0,0.1,0.2\ngone,0,1,0,0\n")
    tree(tmp_path, "v/-abcdefghij.mp4", "v/AAAA_BBB-CC_30.030_35.mkv")
    corpus = found(tmp_path, "avspeech")
    assert {name: (clip.split, clip.interval, clip.face_hint) for name, clip in corpus.items()} == {
        "-abcdefghij/1.500-4.500": ("trainval", (1.5, 4.5), "0.25,0.5"),
        "-abcdefghij/9.000-12.250": ("trainval", (9.0, 12.25), "0.75,0.5"),
        "AAAA_BBB-CC/30.030-35.000": ("test", None, "0.1,0.2"),
    }
    assert len({clip.signature for clip in corpus.values()}) == 3
    assert "1 of 4 rows of the lists have no video" in caplog.text


def test_avspeech_mistakes(tmp_path):
    tree(tmp_path, "AAAA_BBB-CC.mp4")
    with pytest.raises(LipsyncError, match="no list"):
        found(tmp_path, "avspeech")
    (tmp_path / "list.csv").write_text(AVSPEECH + "AAAA_BBB-CC,x,2,0.5,0.5\n")
    with pytest.raises(LipsyncError, match=r"list\.csv, line 4: wanted ytid,start,end,x,y"):
        found(tmp_path, "avspeech")


def test_wav2lip_folders(tmp_path):
    tree(tmp_path, "ann/00001/0.jpg", "ann/00001/2.jpg", "ann/00001/audio.wav", "bob/1/0.jpg")
    tree(tmp_path, "ann/notes/readme.jpg", "bob/video.mp4")
    before = found(tmp_path, "wav2lip")
    assert {name: clip.audio for name, clip in before.items()} == {
        "ann/00001": "ann/00001/audio.wav",
        "bob/1": "",
    }
    assert before["ann/00001"].portrait(tmp_path).name == "0.jpg"
    put(tmp_path, "ann/00001/3.jpg")
    after = found(tmp_path, "wav2lip")
    assert after["ann/00001"].signature != before["ann/00001"].signature
    assert after["bob/1"] == before["bob/1"]


def test_wav2lip_content_signature(tmp_path):
    tree(tmp_path, "ann/1/0.jpg", "ann/1/audio.wav")
    (before,) = clips.discover(tmp_path, 8, "content", layout="wav2lip")
    put(tmp_path, "ann/1/1.jpg", "y")
    (after,) = clips.discover(tmp_path, 8, "content", [before], layout="wav2lip")
    assert after.signature != before.signature


def test_videos_without_a_place_are_named(tmp_path, caplog):
    tree(tmp_path, "s1/bbaf2n.mpg", "extra/x.mpg")
    assert list(found(tmp_path, "grid")) == ["s1/bbaf2n"]
    assert "1 videos do not fit layout grid" in caplog.text
    assert "extra/x.mpg" in caplog.text


@pytest.mark.parametrize("layout", ["lrs2", "lrs3", "lrw", "voxceleb2", "grid", "wav2lip"])
def test_wrong_layout_is_named(tmp_path, layout):
    tree(tmp_path, "some/folder/deep/x.mp4")
    with pytest.raises(LipsyncError, match=rf"fits layout {layout}|holds no video"):
        found(tmp_path, layout)


def test_the_config_knows_every_layout():
    assert get_args(Config.model_fields["layout"].annotation) == tuple(LAYOUTS)
