"""Three corpora of three layouts, prepared together: files, tables, splits, what is redone."""

from __future__ import annotations

import csv

import pytest

from lipsync_core.corpus import collection, index
from lipsync_core.corpus.collection import Corpus
from lipsync_core.preparation import splits, stages, steps
from tests.support.media import write_video

pytestmark = pytest.mark.media
CHAIN = (stages.AUDIO, stages.MELS)


@pytest.fixture
def corpora(tmp_path):
    for seed, name in enumerate(("mine/ann/1", "mine/bob/1", "vox/dev/mp4/id00001/v/1")):
        write_video(tmp_path / f"{name}.mp4", 0.8, seed=seed)
    write_video(tmp_path / "vox/test/mp4/id00002/v/1.mp4", 0.8, seed=5)
    write_video(tmp_path / "list/long.mp4", 2.0, seed=7)
    (tmp_path / "list/manifest.csv").write_text(
        "video,start,end,speaker,sex,license\n"
        "long.mp4,0.2,1.0,ann,f,CC0-1.0\nlong.mp4,1.0,1.6,cy,m,\n"
    )
    return [
        Corpus("mine", tmp_path / "mine", "speaker_folders", "own", 1.0),
        Corpus("vox", tmp_path / "vox", "voxceleb2", "", 1.0),
        Corpus("list", tmp_path / "list", "manifest", "MIT", 2.0),
    ]


def prepare(corpora, results) -> dict[str, dict[str, str]]:
    """Index, two stages and the filelists in two shards: the rows of clips.csv."""
    found = collection.discover_corpora(corpora, 2, results / "cuts")
    summary = index.write_index(results, found)
    for shard in summary.members:
        for stage, work in (
            (stages.AUDIO, steps.extract_audio),
            (stages.MELS, steps.mel_spectrograms),
        ):
            config = {"data_root": "nowhere", "results": results}
            settings = {"stage": stage.rule, "audio.dnsmos": "off"}
            work(steps.Shard.load(config, shard, settings))
    splits.write_filelists(results, found, CHAIN, 0.1, 0.1, 0)
    with open(results / "filelists/clips.csv", newline="") as stream:
        return {row["clip"]: row for row in csv.DictReader(stream)}


def test_adding_a_corpus_redoes_nothing(corpora, tmp_path):
    results = tmp_path / "results"
    before = prepare(corpora[:2], results)
    files = {path: path.stat().st_mtime_ns for path in results.glob("[am]*/*/**/*.[wn]*")}
    assert len(files) == 8
    after = prepare(corpora, results)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert list(before) == ["mine.ann/1", "mine.bob/1", "vox.id00001/v/1", "vox.id00002/v/1"]
    for clip, row in before.items():
        assert row.items() <= after[clip].items()
    assert after["vox.id00002/v/1"]["split"] == "test"


def test_labels_and_segments_of_a_manifest(corpora, tmp_path):
    rows = prepare(corpora, tmp_path / "results")
    assert {clip: row["kept"] for clip, row in rows.items()} == dict.fromkeys(rows, "1")
    ann, cy = rows["list.ann/long@0.2-1"], rows["list.cy/long@1-1.6"]
    assert [row["meta_sex"] for row in (ann, cy)] == ["f", "m"]
    assert [row["licence"] for row in (ann, cy)] == ["CC0-1.0", "MIT"]
    assert [float(row["seconds"]) for row in (ann, cy)] == [0.8, 0.6]
    assert rows["mine.ann/1"]["speaker"] == "mine.ann"
    assert rows["mine.ann/1"]["licence"] == "own" and not rows["mine.ann/1"]["meta_sex"]
    assert rows["vox.id00001/v/1"]["corpus"] == "vox"
