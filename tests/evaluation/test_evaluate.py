"""Evaluation: metrics of networks with known properties; deterministic."""

import json
import math

import numpy as np
import pytest
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.data.dataset import ClipDataset, within_shots
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import evaluate, generator, output, syncnet
from lipsync_core.evaluation.generator import generator_metrics
from lipsync_core.evaluation.syncnet import shifted_starts, syncnet_metrics
from lipsync_core.models import SyncNet, Wav2Lip
from tests.support.training import small_corpus

CPU = torch.device("cpu")
TINY = 0.0625


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_public(folder / "syncnet.pth", SyncNet(width=TINY))
    save_public(folder / "one.pth", Wav2Lip(width=TINY))
    save_public(folder / "two.pth", Wav2Lip(width=TINY))
    save_public(folder / "large.pth", Wav2Lip(width=TINY, image_size=192))
    return folder


def run(results, weights, **more):
    generators = {"wav2lip": weights / "one.pth", "wav2lip_gan": weights / "two.pth"}
    arguments = {"windows_per_clip": 24, "generator_windows": 8, "clip_frames": 20} | more
    found = evaluate.evaluate(results, weights / "syncnet.pth", generators, CPU, **arguments)
    return found.report


def test_evaluation_is_complete_json_and_the_same_every_time(results, weights):
    found = run(results, weights)
    assert found == run(results, weights)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["split"], found["clips"], found["speakers"]) == ("test", 1, 1)
    assert set(found["syncnet"]["accuracy_by_offset"]) == {"1", "2", "3", "5", "10+"}
    assert {"auc", "accuracy", "loss", "top1"} <= found["syncnet"].keys()
    assert found["syncnet"]["width"] == TINY and found["syncnet"]["parameters"] > 0
    assert list(found["generators"]) == ["wav2lip", "wav2lip_gan"]
    syncnet = found["syncnet"]
    assert syncnet["per_clip"].keys() == syncnet["calibration"].keys() == {"val", "test"}
    assert [clip["clip"] for clip in syncnet["per_clip"]["val"]] == ["c/1"]
    only = syncnet["per_clip"]["test"][0]
    assert (only["clip"], only["windows"]) == ("d/1", 24)
    assert only["loss"] == syncnet["loss"] and abs(only["offset"]) <= 15
    assert sum(point["weight"] for point in syncnet["calibration"]["test"]) == pytest.approx(1)
    figures = found["generators"]["wav2lip"]
    wanted = {"l1", "l1_reference", "l1_shuffled_audio", "psnr_lower", "sync_loss", "sync_loss_gt"}
    assert wanted <= figures.keys()
    assert figures != found["generators"]["wav2lip_gan"]


def test_an_empty_test_split_falls_back_to_validation(results, weights, tmp_path):
    other = small_corpus(tmp_path)
    (other / "filelists/test.txt").write_text("")
    found = run(other, weights)
    assert found["split"] == "val"


def test_the_kind_of_speakers_is_stated(results, weights, tmp_path):
    assert run(results, weights)["evaluated_on"] == "held-out clips"  # nobody knows more
    other = small_corpus(tmp_path)
    split = {"test": {"evaluated_on": "seen speaker"}}
    (other / "filelists/split.json").write_text(json.dumps(split))
    assert run(other, weights)["evaluated_on"] == "seen speaker"


def test_sizes_must_agree(results, weights):
    with pytest.raises(
        LipsyncError, match=r"large\.pth: generates 192 pixels, the SyncNet .* needs 96"
    ):
        evaluate.evaluate(results, weights / "syncnet.pth", {"l": weights / "large.pth"}, CPU)


def test_infinite_values_become_null():
    assert output.rounded({"a": math.inf, "b": {"c": math.nan}, "d": 1.23456789, "e": 3}) == {
        "a": None,
        "b": {"c": None},
        "d": 1.234568,
        "e": 3,
    }


class NumberSyncNet(SyncNet):
    """A SyncNet for tests: the embedding of a window is the number hidden in its first pixel."""

    def __init__(self, sharp):
        super().__init__(width=TINY)
        self.sharp = sharp

    def _embed(self, number):
        angle = number * self.sharp
        return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)

    def encode_audio(self, mel):
        return self._embed(mel[:, 0, 0, 0])

    def encode_faces(self, faces):
        return self._embed((faces[:, 0, 0, 0] * 255).round())


@pytest.fixture
def numbered(results):
    """A dataset whose frames and mels hold their own index."""
    corpus = ClipDataset.load(results, "test")

    def lower(clip, start):
        return np.full((5, 48, 96, 3), start, np.uint8)

    def mels(clip, frames):
        return np.stack([np.full((1, 80, 16), frame, np.float32) for frame in frames])

    corpus.lower_half, corpus.mels = lower, mels
    return corpus


def test_a_perfect_syncnet_has_perfect_metrics(numbered):
    found = syncnet_metrics(NumberSyncNet(sharp=1.5 / 40), numbered, per_clip=24)
    assert found["auc"] == found["top1"] == 1
    assert {found[f"offset_{d}"] for d in (1, 2, 3, 5)} == {1.0}
    assert found["offset_10plus"] == 1
    assert 0 < found["loss"] < 2


def test_sync_losses_in_sync_and_out_of_sync(numbered):
    found = syncnet_metrics(NumberSyncNet(sharp=1.5 / 40), numbered, per_clip=24)
    assert found["sync_loss_in_sync"] == pytest.approx(0, abs=1e-3)
    assert found["sync_loss_out_of_sync"] > 0.1
    blind = syncnet_metrics(NumberSyncNet(sharp=0.0), numbered, per_clip=24)
    assert blind["sync_loss_in_sync"] == blind["sync_loss_out_of_sync"]


def test_a_constant_syncnet_is_at_chance(numbered):
    found = syncnet_metrics(NumberSyncNet(sharp=0.0), numbered, per_clip=24)
    assert found["auc"] == 0.5 and found["accuracy"] == 0.5
    assert found["top1"] == 0 and found["offset_1"] == 0  # ties are no success


def test_the_loss_of_each_clip(results):
    corpus = ClipDataset.load(results, "train")
    easy = corpus.clips[1].id

    def mels(clip, frames):  # the sound of the other clips says little
        known = 1.0 if clip.id == easy else 0.1
        return np.stack([np.full((1, 80, 16), known * frame, np.float32) for frame in frames])

    corpus.mels = mels
    corpus.lower_half = lambda clip, start: np.full((5, 48, 96, 3), start, np.uint8)
    found = syncnet.evaluate_syncnet(NumberSyncNet(sharp=3.0), corpus, per_clip=24)
    losses = {clip: loss for clip, loss, _ in found.losses}
    assert min(losses, key=losses.get) == easy
    assert np.mean(list(losses.values())) == pytest.approx(found.metrics["loss"])


@pytest.mark.parametrize("late", [0, 4, -3])
def test_the_offset_of_a_clip_is_found_with_its_sign(numbered, late):
    """A late video shows what was said before."""
    numbered.lower_half = lambda clip, start: np.full((5, 48, 96, 3), start - late, np.uint8)
    clip = numbered.clips[0]
    clip = type(clip)(clip.id, clip.faces, clip.mel, clip.starts[5:])  # no number below 0
    assert syncnet.clip_sync(NumberSyncNet(sharp=1.5 / 40), numbered, clip).offset == late


def test_the_offset_of_a_clip_is_measured_within_its_shots(numbered, monkeypatch):
    clip = numbered.clips[0]
    cuts, mels, asked = (20,), numbered.mels, []
    clip = type(clip)(clip.id, clip.faces, clip.mel, within_shots(clip.starts, cuts), cuts)
    monkeypatch.setattr(numbered, "mels", lambda c, heard: mels(c, asked.extend(heard) or heard))
    assert syncnet.clip_sync(NumberSyncNet(sharp=1.5 / 40), numbered, clip).offset == 0
    assert asked and not {*range(12, 20)} & set(map(int, asked))


def test_a_short_clip_has_no_top1(numbered):
    found = syncnet_metrics(NumberSyncNet(sharp=0.01), numbered, per_clip=5)
    assert math.isnan(found["top1"]) and found["auc"] == 1


def test_shifted_starts_stay_in_the_clip():
    present = np.array([0, 1, 2, 3, 10])
    found = shifted_starts(present, np.array([0, 1, 3, 10]), 2)
    assert found.tolist() == [2, 3, 1, 10]


def test_the_target_itself_has_perfect_metrics(results, monkeypatch):
    corpus = ClipDataset.load(results, "test")
    syncnet = SyncNet(width=TINY).eval()
    monkeypatch.setattr(
        generator, "generate", lambda model, batch: batch.target.astype(np.float32) / 255
    )
    found = generator_metrics(None, syncnet, corpus, windows=9, shuffled_audio=True)
    assert found["sync_loss_out_of_sync"] > 0
    assert found["sync_loss_out_of_sync"] != found["sync_loss_gt"]
    assert found["l1"] == found["l1_lower"] == 0 and found["psnr_lower"] == math.inf
    assert found["sync_loss"] == found["sync_loss_gt"]
    assert found["l1_reference"] > 0 and found["psnr_lower_reference"] < 60
    assert found["l1_lower_reference"] == pytest.approx(
        2 * found["l1_reference"], rel=0.1
    )  # mouths move


def test_generate_returns_frames(results):
    corpus = ClipDataset.load(results, "test")
    batch = generator.generator_batch(corpus, 0, 0, 2)
    found = generator.generate(Wav2Lip(width=TINY).eval(), batch)
    assert found.shape == (2, 5, 96, 96, 3) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1


def test_another_syncnet_of_the_sync_loss_is_the_judge_that_was_a_loss(results, weights, tmp_path):
    losses = {name: judge["is_loss"] for name, judge in run(results, weights)["judges"].items()}
    same = run(results, weights, sync_loss=weights / "syncnet.pth")["judges"]
    assert losses == {"syncnet": True} == {name: judge["is_loss"] for name, judge in same.items()}
    torch.manual_seed(1)
    save_public(tmp_path / "public.pth", SyncNet(width=2 * TINY))
    judges = run(results, weights, sync_loss=tmp_path / "public.pth")["judges"]
    found = {name: judge["is_loss"] for name, judge in judges.items()}
    assert found == {"syncnet": False, "sync_loss_syncnet": True}


def test_clip_statistics_cancel_what_all_windows_share():
    torch.manual_seed(0)
    model = SyncNet(width=TINY).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.bias)  # else its embeddings have no scale either
        elif isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = syncnet.with_clip_statistics(model)
    faces = torch.rand(6, 15, 48, 96)
    with torch.no_grad():
        own, of_clip = (
            (network.encode_faces(faces) - network.encode_faces(0.5 * faces)).norm(dim=1).max()
            for network in (model, adapted)
        )
    assert own > 10 * of_clip
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
