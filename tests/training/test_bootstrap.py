"""Bootstrap of a SyncNet that measures sync: two rounds, the second on corrected clips."""

import json

import pytest

from lipsync_core import checkpoints
from lipsync_core.config import SyncNetConfig
from lipsync_core.corpus.filelists import ListedClip
from lipsync_core.evaluation.sync import SyncMeasure
from lipsync_core.models import SyncNet
from lipsync_core.training import bootstrap
from tests.support.training import small_corpus

LISTS = {"train": [ListedClip("a/1"), ListedClip("a/2"), ListedClip("b/1")]}
LISTS["val"] = [ListedClip("c/1")]
IDS = ("a/1", "a/2", "b/1", "c/1")


@pytest.fixture
def rounds(tmp_path, monkeypatch):
    """Runs a bootstrap whose trainings write random weights; `lists` notes what each was given."""

    class Rounds:
        auc, lists = 0.9, []
        folder = tmp_path / "results/sync/bootstrap"
        measured = dict.fromkeys(IDS, SyncMeasure(0, 0.5, 1.0, 0, 0, 0.0, 36))

        def start(self, training, name, *_, results, checkpoint, metrics, pretrained, **__):
            lists = results / "filelists"
            self.lists.append({key: (lists / f"{key}.txt").read_text() for key in LISTS})
            assert (results / "faces/a/1.zip").is_file()
            assert (pretrained is None) == name.endswith("round1")
            checkpoints.save_public(checkpoint, SyncNet(width=0.125))
            metrics.write_text(f"step,val_auc\n1,{self.auc}\n")

        def run(self):
            small_corpus(self.folder.parents[1])
            bootstrap.train(
                self.folder.parents[1],
                LISTS,
                frames=dict.fromkeys(IDS, 40),
                keys={clip: f"key of {clip}" for clip in IDS},
                config=SyncNetConfig(),
                steps=1,
                image_size=96,
                seed=0,
                device_name="cpu",
                threads=1,
                checkpoint=self.folder / "checkpoint.pth",
                summary=self.folder / "summary.json",
            )

    rounds = Rounds()
    rounds.lists = []
    monkeypatch.setattr(bootstrap.launch, "start_or_resume", rounds.start)
    monkeypatch.setattr(bootstrap, "measure", lambda *_: rounds.measured)
    return rounds


def test_the_second_round_has_shifted_clips_and_no_uncertain_ones(rounds):
    rounds.measured["a/1"] = SyncMeasure(4, 0.5, 1.0, 4, 4, 0.0, 36)
    rounds.measured["b/1"] = SyncMeasure(9, 0.01, 0.2, -9, 12, 0.0, 36)
    rounds.run()
    assert rounds.lists[0]["train"] == "a/1\na/2\nb/1\n"
    assert rounds.lists[1] == {"train": "a/1\t4-39\t+2560\na/2\n", "val": "c/1\n"}
    summary = json.loads((rounds.folder / "summary.json").read_text())
    assert summary == {"trusted": True, "auc": 0.9, "steps": 2, "offsets": {"0": 2, "4": 1}}


def test_a_weak_network_is_not_trusted(rounds):
    rounds.auc = 0.6
    rounds.run()
    assert not bootstrap.is_trusted(rounds.folder / "summary.json")
    results = rounds.folder.parents[1]
    assert bootstrap.start_weights(str(rounds.folder / "checkpoint.pth"), str(results)) is None


def test_training_starts_from_it_unless_it_has_seen_what_is_held_out(rounds):
    rounds.run()
    checkpoint, results = str(rounds.folder / "checkpoint.pth"), rounds.folder.parents[1]
    assert bootstrap.start_weights(checkpoint, str(results)) == checkpoint
    (results / "filelists/test.txt").write_text("a/2\t0-10\n")
    assert bootstrap.start_weights(checkpoint, str(results)) is None


def test_measures_are_kept_for_a_run_that_was_stopped(tmp_path, monkeypatch):
    results = small_corpus(tmp_path)
    checkpoints.save_public(tmp_path / "x.pth", SyncNet(width=0.125))
    clips = [ListedClip("a/1", 0, 30), ListedClip("c/1")]
    first = bootstrap.measure(tmp_path / "x.pth", results, clips, "cpu", tmp_path)
    assert list(first) == ["a/1\t0-30", "c/1"]
    monkeypatch.setattr(bootstrap, "clip_sync", None)
    assert bootstrap.measure(tmp_path / "x.pth", results, clips, "cpu", tmp_path) == first
