"""The data check before the SyncNet training: it finds data that SyncNet cannot learn."""

import json
import zipfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lipsync_core.config import SyncNetConfig
from lipsync_core.data.dataset import ClipDataset, DatasetClip
from lipsync_core.errors import LipsyncError
from lipsync_core.models import SyncNet
from lipsync_core.training import syncnet
from lipsync_core.training.data_check import correlation, learnability, offsets, overfit
from tests.support.training import write_corpus

CPU = torch.device("cpu")
FRAMES = 130
CLIPS = 36  # 3 minutes: an ordinary correlation would show in them
IDS = [f"{'abcdef'[n % 6]}/{n}" for n in range(CLIPS)]


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """What is found must not depend on how busy the machine is."""
    for module in (overfit, offsets):
        monkeypatch.setattr(module, "MAX_SECONDS", 600.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    splits = {"train": IDS, "val": ["v/1"], "test": ["t/1"]}
    return write_corpus(tmp_path_factory.mktemp("good"), splits, FRAMES)


@pytest.fixture(scope="module")
def changed_audio(good, tmp_path_factory):
    """`changed_audio(change)`: the same faces with other audio, `change(mel, place, mels)`."""

    def make(change):
        results = tmp_path_factory.mktemp("changed_audio")
        for name in ("faces", "filelists"):
            (results / name).symlink_to(good / name)
        mels = [np.load(good / "mels" / f"{clip}.npy") for clip in IDS]
        for place, (clip, mel) in enumerate(zip(IDS, mels, strict=True)):
            target = results / "mels" / f"{clip}.npy"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, change(mel, place, mels))
        return results

    return make


def model():
    torch.manual_seed(0)
    return SyncNet(width=0.0625)


def together(results, ids=IDS):
    """The check of audio-visual sync alone."""
    corpus = ClipDataset.load(results, ids)
    return offsets.check_sync(
        offsets.sample_features(corpus), offsets.recorded_offsets(results, corpus)
    )


def test_good_data_passes_every_check(good):
    found = learnability.check_data(good, model(), ClipDataset.load(good, "train"))
    data, overfitted, sync = found["checks"]
    assert (data["level"], overfitted["level"], sync["level"]) == ("fair", "good", "good"), found
    assert abs(found["offsets"]["offset"]) <= 1 and found["verdict"] == "fair"
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("frames", [5, -5])
def test_a_constant_offset_is_found_with_its_sign(changed_audio, frames):
    columns = frames * 16 // 5  # a late video shows what was heard before
    check, found = together(changed_audio(lambda mel, place, mels: np.roll(mel, -columns, axis=0)))
    assert (check.level, check.word) == ("bad", "out of sync")
    assert abs(found["offset"] - frames) <= 1
    assert f"-itsoffset {frames / 25:.1f}"[:-1] in check.note
    assert "late" in check.note if frames > 0 else "early" in check.note


def test_audio_of_other_clips_has_no_correlation(changed_audio):
    check, _ = together(changed_audio(lambda mel, place, mels: mels[(place + 7) % CLIPS]))
    assert (check.level, check.word) == ("bad", "no correlation"), check


def test_too_few_clips_give_no_rating(changed_audio):
    results = changed_audio(lambda mel, place, mels: mels[(place + 7) % CLIPS])
    check, _ = together(results, IDS[:3])
    assert (check.level, check.word) == ("none", "not enough to tell"), check


def test_silent_audio_is_named(changed_audio, monkeypatch):
    monkeypatch.setattr(overfit, "MAX_STEPS", 12)
    results = changed_audio(lambda mel, place, mels: np.full_like(mel, -4))
    check, _ = together(results)
    assert (check.level, check.word) == ("bad", "silent audio")
    overfitted = overfit.check_overfit(
        *overfit.overfit_test(model(), ClipDataset.load(results, IDS))
    )
    assert overfitted.level in ("bad", "none"), overfitted


def test_faces_that_do_not_move_are_named(good, tmp_path):
    for name in ("mels", "filelists"):
        (tmp_path / name).symlink_to(good / name)
    rng = np.random.default_rng(0)
    for clip in IDS:
        target = tmp_path / "faces" / f"{clip}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(good / "faces" / f"{clip}.zip") as source:
            still = cv2.imdecode(np.frombuffer(source.read("0.jpg"), np.uint8), cv2.IMREAD_COLOR)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for frame in range(40):  # the noise of an encoder is no motion
                noisy = np.clip(still + rng.normal(0, 0.7, still.shape), 0, 255).astype(np.uint8)
                archive.writestr(f"{frame}.jpg", cv2.imencode(".jpg", noisy)[1].tobytes())
    check, _ = together(tmp_path)
    assert (check.level, check.word) == ("bad", "faces do not move")


def test_enough_measured_offsets_replace_the_correlation():
    runs = []
    for clips, word in (({0: 8, 1: 3}, "in sync"), ({5: 9, 4: 1}, "out of sync")):
        check = offsets.check_histogram(clips)
        assert check.word == word
        runs.append(check.level)
    assert runs == ["good", "bad"]
    assert offsets.check_histogram({-9: 4, 0: 3, 9: 4}).word == "offsets differ"


def test_measured_offsets_that_disagree_are_ignored(good, monkeypatch):
    corpus, net = ClipDataset.load(good, IDS[:12]), model()
    measured = iter([4, 5, 5, 5, 5, 6, 5, -9, 5, 5, 5, 5])
    monkeypatch.setattr(
        offsets, "clip_sync", lambda *_, **__: SimpleNamespace(offset=next(measured))
    )
    assert offsets.measure_offsets(net, corpus) == {-9: 1, 4: 1, 5: 9, 6: 1}
    assert net.training
    measured = iter(range(-12, 12, 2))
    assert offsets.measure_offsets(net, corpus) == {}
    measured = iter([5] * 12)
    check = learnability.check_data(good, net, corpus, pretrained=True)["checks"][2]
    assert check["word"] == "out of sync" and "of 12 clips" in check["figures"]


def test_training_is_the_same_with_and_without_the_data_check(good, tmp_path):
    options = {"width": 0.0625, "steps": 2, "clips_per_batch": 2, "windows_per_clip": 2}
    options |= {"eval_every": 2, "save_every": 2, "val_windows": 4, "precision": "float32"}
    weights = []
    for name, data_check in (("with", tmp_path / "data_check.json"), ("without", None)):
        files = [tmp_path / name / part for part in ("run", "syncnet.pth", "metrics.csv")]
        (tmp_path / name).mkdir()
        config = SyncNetConfig(**options)
        syncnet.train(good, config, 96, *files, seed=3, device=CPU, data_check=data_check)
        weights.append(torch.load(files[1], weights_only=True)["state_dict"])
    first, second = weights
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((tmp_path / "data_check.json").read_text())["verdict"] == "fair"


def test_little_data_is_named(good):
    one = ClipDataset.load(good, IDS[:1])
    check = learnability.check_amount(learnability.dataset_facts(one, True), 1)
    assert check.level == "bad" and "1 speaker, 1 clip" in check.figures


class Sized(ClipDataset):
    """A dataset of `clips` clips of 3 s, in turn of so many speakers, without files."""

    def __init__(self, clips, speakers):
        starts = np.arange(71)  # 75 frames
        ids = [f"s{n % speakers}/{n}" for n in range(clips)]
        super().__init__("sized", [DatasetClip(name, None, None, starts) for name in ids])


@pytest.mark.parametrize(
    ("clips", "speakers", "seen", "level", "word"),
    [
        (880, 1, True, "good", "enough for one speaker"),  # 44 minutes, validated on that speaker
        (880, 1, False, "fair", "little"),  # validated on others
        (100, 1, True, "fair", "little"),
        (200, 109, False, "fair", "little"),  # 10 minutes
        (1200, 10, False, "good", "enough"),
        (19, 1, True, "bad", "too little"),
        (19, 19, False, "bad", "too little"),
    ],
)
def test_what_is_enough_depends_on_the_validation_speakers(clips, speakers, seen, level, word):
    facts = learnability.dataset_facts(Sized(clips, speakers), seen)
    check = learnability.check_amount(facts, clips)
    assert (check.level, check.word) == (level, word)
    assert ("enough from scratch: " in check.note) == (level != "good")
    assert ("of this speaker" in check.note) == (level != "good" and speakers == 1 and seen)
    assert "2 speakers at the least" not in check.note


def test_more_short_clips_are_sampled(monkeypatch):
    corpus = Sized(60, 3)
    corpus.read_windows = lambda clip, starts: np.zeros((len(starts), 5, 96, 96, 3), np.uint8)
    corpus.mel = lambda clip: np.zeros((240, 80), np.float32)
    assert len(offsets.sample_features(corpus)) == 60
    monkeypatch.setattr(offsets, "MAX_FRAMES", 140)
    assert len(offsets.sample_features(corpus)) == 2


def test_seen_speakers_compares_both_splits(good):
    train, one = ClipDataset.load(good, "train"), ClipDataset.load(good, IDS[:1])
    assert learnability.seen_speakers(train, one)
    assert not learnability.seen_speakers(train, ClipDataset.load(good, "val"))


def test_the_data_check_changes_neither_network_nor_random_state(good, monkeypatch):
    net, corpus = model(), ClipDataset.load(good, IDS[:4])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    overfit.overfit_test(net, corpus)
    wide = SyncNet(width=0.5)  # on a CPU the test uses a narrower one
    drawn = torch.get_rng_state()
    monkeypatch.setattr(overfit, "MAX_SECONDS", 0.01)
    overfit.overfit_test(wide, corpus)
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    torch.set_rng_state(state)
    offsets.sample_features(corpus)
    assert torch.equal(state, torch.get_rng_state())


def test_the_data_check_warns_stops_or_is_off(changed_audio, tmp_path, caplog):
    results = changed_audio(lambda mel, place, mels: np.roll(mel, -16, axis=0))
    corpus, run = ClipDataset.load(results, IDS), tmp_path / "run"

    def check():
        return learnability.check_data(results, model(), corpus)

    with pytest.raises(LipsyncError, match=r"out of sync .*itsoffset .*data_check: warn"):
        learnability.run_data_check("stop", check, run, tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["verdict"] == "bad"
    # A resumed run does not check again.
    learnability.run_data_check("warn", None, run, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == found
    assert any("out of sync" in record.message for record in caplog.records)
    learnability.run_data_check("off", None, run, tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["verdict"] == "off"


def test_correlation_of_synthetic_series_with_a_known_offset():
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(8):
        sound = rng.standard_normal((200, 5)).astype(np.float32)
        mouth = np.roll(sound, 3, axis=0) + rng.standard_normal((200, 5)).astype(np.float32)
        runs.append(correlation.Features(mouth, sound, 5.0, 1.0))
    found = correlation.av_correlation(runs)
    assert found.offset == 3 and found.certain and found.peak > 0.5
