"""Several corpora in one run: ids, folders, shards, licences, splits."""

from __future__ import annotations

import pytest

from lipsync_core.config import Config
from lipsync_core.corpus import clips, collection, index
from lipsync_core.corpus.collection import Corpus
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import assignment
from lipsync_core.runtime import config_file
from tests.corpus.test_clips import put


@pytest.fixture
def corpora(tmp_path):
    """Two corpora of two layouts with the same speaker's name."""
    put(tmp_path / "mine", "s1/hello.mp4")
    put(tmp_path / "mine", "s2/hello.mp4")
    put(tmp_path / "grid", "s1/bbaf2n.mpg")
    put(tmp_path / "lrs3", "test/s1/00001.mp4")
    put(tmp_path / "lrs3", "trainval/v2/00001.mp4")
    return [
        Corpus("mine", tmp_path / "mine", "speaker_folders", "own"),
        Corpus("grid", tmp_path / "grid", "grid"),
        Corpus("lrs3", tmp_path / "lrs3", "lrs3"),
    ]


def found(corpora, folder, **options):
    return collection.discover_corpora(corpora, 8, folder / "cuts", **options)


def test_ids_are_prefixed_and_files_found(corpora, tmp_path):
    clip = {clip.id: clip for clip in found(corpora, tmp_path)}
    assert (
        list(clip)
        == sorted(clip)
        == [
            "grid.s1/bbaf2n",
            "lrs3.s1/test/00001",
            "lrs3.v2/trainval/00001",
            "mine.s1/hello",
            "mine.s2/hello",
        ]
    )
    assert clip["grid.s1/bbaf2n"].speaker == "grid.s1"
    assert clip["lrs3.s1/test/00001"].split == "test"
    assert [each.licence for each in clip.values()][::2] == [
        "CC-BY-4.0",
        clip["lrs3.s1/test/00001"].licence,
        "own",
    ]
    for each in clip.values():
        assert each.source(tmp_path / "elsewhere").is_file()
        assert each.shard == clips.shard_of(each.id, 8)


def test_adding_a_corpus_changes_no_other_clip(corpora, tmp_path):
    before = found(corpora[:2], tmp_path)
    after = {clip.id: clip for clip in found(corpora, tmp_path)}
    assert [after[clip.id] for clip in before] == before


def test_one_corpus_has_no_prefix(tmp_path):
    put(tmp_path / "data", "s1/hello.mp4")
    (corpus,) = collection.corpora_of(Config(data_root=str(tmp_path / "data"), licence="own"))
    (clip,) = found([corpus], tmp_path)
    assert (clip.id, clip.corpus, clip.root, clip.licence) == ("s1/hello", "", "", "own")


def test_the_index_keeps_everything(corpora, tmp_path):
    clips_found = found(corpora, tmp_path)
    index.write_index(tmp_path, clips_found)
    assert index.read_index(index.index_path(tmp_path)) == clips_found


def test_contents_are_hashed_once(corpora, tmp_path, monkeypatch):
    before = found(corpora, tmp_path, signature="content")
    monkeypatch.setattr(clips, "_content", None)
    assert found(corpora, tmp_path, signature="content", previous=before) == before


def test_an_error_names_the_corpus(corpora, tmp_path):
    with pytest.raises(LipsyncError, match=r"corpus 'more': data_root .* holds no video"):
        found([*corpora, Corpus("more", tmp_path / "none", "grid")], tmp_path)


def test_segments_of_two_corpora_have_folders_of_their_own(tmp_path):
    for name in "ab":
        put(tmp_path / name, "AAAAAAAAAAA.mp4")
        (tmp_path / name / "list.csv").write_text("AAAAAAAAAAA,1.2,2.4,0.5,0.5\n")
    one, other = found([Corpus(name, tmp_path / name, "avspeech") for name in "ab"], tmp_path)
    places = [clip.source(tmp_path).resolve().parent for clip in (one, other)]
    assert places == [(tmp_path / "cuts" / name / "AAAAAAAAAAA").resolve() for name in "ab"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [{"name": "a.b", "data_root": "x"}],
            r"corpora\[0\].name: got 'a.b'; allowed: string, mat",
        ),
        ([{"data_root": "x"}], r"corpora\[0\]: the key 'name' is missing"),
        ([{"name": "a", "data_root": "x"}] * 2, "'a' is the name of two"),
        (
            [{"name": "a", "data_root": "x", "weight": 1}, {"name": "b", "data_root": "x"}],
            "'b' has no `weight`",
        ),
        ([{"name": "a", "data_root": "x", "weight": 0}], r"corpora\[0\].weight: got 0; allowed"),
    ],
)
def test_mistakes_in_the_config(root, entries, message):
    with pytest.raises(LipsyncError, match=message) as caught:
        config_file.load({"corpora": entries}, root / "config/presets")
    assert len(str(caught.value).splitlines()) == 1


def test_each_corpus_is_split_as_if_it_were_alone(tmp_path):
    own = {f"own.s{i}/{j}": "" for i in range(30) for j in range(2)}
    listed = {f"lrs3.v{i}/1": "trainval" for i in range(20)} | {"lrs3.t/1": "test"}

    def split(official):
        corpora = {clip: clip.partition(".")[0] for clip in official}
        seconds = dict.fromkeys(official, 2.0)
        by, parts = assignment.assign(tmp_path, official, 0.1, 0.1, 0, seconds, corpora)
        return by, {clip: next(iter(part)) for clip, part in parts.items()}

    by, both = split(own | listed)
    assert by == "speaker"
    assert both == split(own)[1] | split(listed)[1]
    assert [clip for clip, name in both.items() if name == "test" and clip in listed] == [
        "lrs3.t/1"
    ]
    official = {"vox.a/1": "train", "vox.b/1": "val"}
    by, parts = split(own | official)
    assert (by, parts["vox.a/1"], parts["vox.b/1"]) == ("speaker+official", "train", "val")


def test_a_corpus_of_one_speaker_trains_beside_others(tmp_path):
    official = {f"one.me/{j}": "" for j in range(9)} | {f"own.s{i}/1": "" for i in range(9)}
    corpora = {clip: clip.partition(".")[0] for clip in official}
    seconds = dict.fromkeys(official, 2.0)
    _, parts = assignment.assign(tmp_path, official, 0.1, 0.1, 0, seconds, corpora)
    assert {name for clip, own in parts.items() if clip < "own" for name in own} == {"train"}


def test_groups_may_be_in_several_splits_in_their_corpus_only(tmp_path):
    official = {"lrs2.p/1": "train", "lrs2.p/2": "val", "own.a/1": "train", "own.b/1": "val"}
    corpora = {clip: clip.partition(".")[0] for clip in official}
    seconds = dict.fromkeys(official, 2.0)
    options = (0.1, 0.1, 0, seconds, corpora, {"lrs2"})
    assert assignment.assign(tmp_path, official, *options)[0] == "official"
    official["own.a/2"] = "val"
    corpora["own.a/2"] = "own"
    with pytest.raises(LipsyncError, match=r"more than one split, first \['own.a'\]"):
        assignment.assign(tmp_path, official, *options)
