"""People of several names: prints, pairs, and what the splits make of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from lipsync_core.corpus.clips import Clip
from lipsync_core.faces.archive import CropArchive
from lipsync_core.preparation import alias_groups, aliases, assignment, prints, splits
from lipsync_core.preparation.stages import AUDIO
from lipsync_core.runtime.tables import write_table
from tests.support.training import write_clip


def made(person: int, take: int, crops: int = 6) -> prints.Print:
    """A print of a made-up person: cepstra and faces scatter around their own means."""
    own, rng = np.random.default_rng((1, person)), np.random.default_rng((2, person, take))
    scale = own.uniform(0.5, 2, 19)
    cepstra = own.normal(0, 1, 19) + scale * rng.normal(0, 1, (200, 19))
    faces = np.abs(own.normal(0, 1, 512)) + 0.15 * rng.normal(0, 1, (crops, 512))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    return prints.Print(cepstra.mean(0), np.cov(cepstra.T), 200, faces.astype(np.float16))


@pytest.fixture(scope="module")
def corpus():
    return {f"s{person:02}": [made(person, take) for take in range(2)] for person in range(30)}


def test_different_people_are_no_pair(corpus):
    assert aliases.find_aliases(corpus) == []
    assert aliases.find_aliases({"one": corpus["s00"]}) == aliases.find_aliases({}) == []


def test_a_person_of_two_names_is_found(corpus):
    split = corpus | {"s07": corpus["s07"][:1], "zoe": corpus["s07"][1:]}
    assert [(pair.one, pair.other) for pair in aliases.find_aliases(split)] == [("s07", "zoe")]


def test_both_prints_must_agree(corpus):
    voice, face = corpus["s07"][1], corpus["s09"][1]
    mixed = prints.Print(voice.mean, voice.covariance, voice.frames, face.faces)
    assert aliases.find_aliases(corpus | {"zoe": [mixed]}) == []


def test_voices_differ_by_the_divergence_of_their_gaussians(corpus):
    speakers = [aliases.merged(corpus[name]) for name in ("s01", "s02")]
    one, other = speakers
    first, second = np.linalg.inv(one.covariance), np.linalg.inv(other.covariance)
    gap = one.mean - other.mean
    expected = np.trace(first @ other.covariance) + np.trace(second @ one.covariance) - 38
    expected = (expected + gap @ (first + second) @ gap) / 2
    voices = aliases.voice_factors(speakers)
    for pair in ((0, 1), (1, 0)):
        assert aliases.voice_distance(voices, *pair) == pytest.approx(expected)
    assert aliases.voice_distance(voices, 1, 1) == pytest.approx(0, abs=1e-9)


def test_a_print_is_kept_while_its_key_stays(tmp_path, monkeypatch):
    write_clip(tmp_path, "ann/1")
    first = prints.clip_print(tmp_path, "ann/1", "key")
    assert first.faces.shape == (12, prints.FACE_SIZE)
    assert np.linalg.norm(first.faces.astype(float), axis=1) == pytest.approx(1, abs=1e-2)
    with monkeypatch.context() as patch:
        patch.setattr(CropArchive, "decode", None)
        again = prints.clip_print(tmp_path, "ann/1", "key")
        with pytest.raises(TypeError):
            prints.clip_print(tmp_path, "ann/1", "another key")
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in vars(first))
    path = tmp_path / "prints/ann/1.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(prints.clip_print(tmp_path, "ann/1", "key").faces, first.faces)


def test_brightness_and_contrast_do_not_count():
    blocks = np.random.default_rng(0).integers(60, 140, (8, 8, 3), np.uint8)
    crop = blocks.repeat(12, 0).repeat(12, 1)
    darker = (crop * 0.7 + 10).astype(np.uint8)
    assert prints.face_print(crop) @ prints.face_print(darker) > 0.99


def test_all_names_of_a_person_are_drawn_as_one(tmp_path):
    official = {f"a.s{i}/1": "" for i in range(9)} | {f"b.s{i}/1": "" for i in range(9)}
    corpora = {clip: clip[0] for clip in official}
    names = {f"{corpus}.s{i}": f"a.s{i}" for corpus in "ab" for i in range(9)}
    options = (0.2, 0.2, 0, dict.fromkeys(official, 2.0), corpora, ())
    _, parts = assignment.assign(tmp_path, official, *options, names)
    assert {len(set(parts[f"a.s{i}/1"]) | set(parts[f"b.s{i}/1"])) for i in range(9)} == {1}
    alone = {clip: name for clip, name in official.items() if clip[0] == "a"}
    _, before = assignment.assign(tmp_path, alone, *options)
    assert all(list(parts[clip]) == list(before[clip]) for clip in alone)


def test_an_official_split_draws_the_other_names_along(tmp_path, caplog):
    official = {f"a.s{i}/1": "" for i in range(20)} | {
        **{"b.x/1": "test", "b.y/1": "train", "b.z/1": "val"}
    }
    corpora = {clip: clip[0] for clip in official}
    options = (0.1, 0.1, 0, dict.fromkeys(official, 2.0), corpora, ())
    names = {"a.s3": "a.s3", "b.x": "a.s3"}
    _, parts = assignment.assign(tmp_path, official, *options, names)
    assert list(parts["a.s3/1"]) == ["test"]
    assert assignment.conflicts(parts, names) == []
    names |= {"b.y": "a.s3"}
    _, parts = assignment.assign(tmp_path, official, *options, names)
    assert assignment.conflicts(parts, names) == ["a.s3"]
    assert "a person of several names, is officially in" in caplog.text


def test_tables_state_who_is_whom(tmp_path, monkeypatch):
    rows = [
        {"clip": f"{name}/1", "key": "k", "outcome": "kept", "reason": "", "dropped_by": ""}
        | {"seconds": 2.0}
        for name in ("ann", "bob", "cy", "zoe")
    ]
    write_table(tmp_path / AUDIO.folder / "0.csv", rows)
    found = [Clip(row["clip"], row["clip"][:-2], 0, "1", "1", "p") for row in rows]
    pair = aliases.Alias("bob", "zoe", 0.5, 0.3)
    monkeypatch.setattr(alias_groups, "find_aliases", lambda prints: [pair])
    monkeypatch.setattr(alias_groups, "clip_print", lambda *arguments: made(0, 0))
    splits.write_filelists(tmp_path, found, (AUDIO,), 0.3, 0.3, 0, merge_aliases=True)
    with open(tmp_path / "filelists/clips.csv", newline="") as stream:
        table = {row["speaker"]: row for row in csv.DictReader(stream)}
    others = {name: row["same_speaker_as"] for name, row in table.items()}
    assert {name: other for name, other in others.items() if other} == {"zoe": "bob"}
    assert table["bob"]["split"] == table["zoe"]["split"]
    summary = json.loads((tmp_path / "filelists/split.json").read_text())
    assert summary["aliases"] == [vars(pair)] and summary["alias_conflicts"] == []
