"""Judges, protocols and summary on a made-up corpus with networks of known properties."""

import math

import numpy as np
import pytest
import torch

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.evaluation import evaluate, lse, output, protocols, summary, tables
from lipsync_core.evaluation.judges import Audio, LseJudge, SyncNetJudge
from lipsync_core.evaluation.stretches import choose_clips, pairs, read_stretch
from lipsync_core.models import LseSyncNet, SyncNet, Wav2Lip
from tests.support.golden_recipe import draw_weights, lse_frames, numbers
from tests.support.training import write_corpus

TINY = 0.0625
CLIPS = ["a/1", "a/2", "b/1", "b/2", "c/1"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("results"), {"test": CLIPS}, frames=60)


@pytest.fixture(scope="module")
def dataset(results):
    return ClipDataset.load(results, "test")


class LevelSyncNet(SyncNet):
    """A SyncNet for tests: embeds the opening that is seen, and the loudness that is heard."""

    def __init__(self):
        super().__init__(width=TINY)

    def encode_faces(self, faces):
        mouth = faces[:, :, 14:36, 40:56].mean(dim=(2, 3)).reshape(len(faces), 5, 3).mean(2)
        return torch.nn.functional.normalize(0.45 - mouth, dim=1)

    def encode_audio(self, mel):
        level = torch.stack(
            [mel[:, 0, :20, c : c + 3].mean(dim=(1, 2)) for c in range(0, 15, 3)], 1
        )
        return torch.nn.functional.normalize(level + 1, dim=1)


def judge():
    return SyncNetJudge("syncnet", LevelSyncNet(), is_loss=True)


@pytest.fixture(scope="module")
def rows(dataset, results):
    torch.manual_seed(0)
    generators = {"wav2lip": Wav2Lip(width=TINY).eval()}
    return protocols.run_protocols(dataset, results, generators, [judge()], max_frames=40)


def test_frames_are_embedded_once_for_all_audio(dataset, results, monkeypatch):
    counted = judge()
    counts, embed = [], counted.embed_faces
    monkeypatch.setattr(counted, "embed_faces", lambda f: counts.append(len(f)) or embed(f))
    generators = {"wav2lip": Wav2Lip(width=TINY).eval()}
    protocols.run_protocols(dataset, results, generators, [counted], max_clips=1, max_frames=20)
    assert len(counts) == 5  # ground truth, encoded, reference, own audio, other audio


def of(rows, protocol, system):
    return [r for r in rows if (r["protocol"], r["system"]) == (protocol, system)]


def test_each_system_has_a_row_for_each_clip(rows):
    found = {(r["protocol"], r["system"]): 0 for r in rows}
    names = ["ground_truth", "ground_truth_h264", "copied_reference", "wav2lip"]
    names.append("wav2lip_shuffled_audio")
    wanted = {(p, name) for p in ("same_audio", "crossed_audio") for name in names}
    assert found.keys() == wanted | {("same_audio", "wav2lip_silent_audio")}
    for key in found:
        assert [r["clip"] for r in of(rows, *key)] == CLIPS
    assert all(r["audio"] == r["clip"] for r in rows if r["protocol"] == "same_audio")
    assert all(r["audio"][0] != r["clip"][0] for r in rows if r["protocol"] == "crossed_audio")


def test_the_ground_truth_is_perfect_and_in_sync(rows):
    for row in of(rows, "same_audio", "ground_truth"):
        assert (row["mouth_l1"], row["mouth_ssim"], row["offset_syncnet"]) == (0, 1, 0)
        assert row["loudness_correlation"] > 0.4  # loudness grows with exp(opening)
    for row in of(rows, "same_audio", "ground_truth_h264"):
        assert 0 < row["mouth_l1"] < 0.03 and row["mouth_psnr"] > 28
    distances = {
        system: np.mean([r["distance_syncnet"] for r in of(rows, "same_audio", system)])
        for system in ("ground_truth", "copied_reference")
    }
    assert distances["ground_truth"] < distances["copied_reference"]


def test_the_ground_truth_of_crossed_audio_is_the_clip_of_the_audio(rows):
    own = {r["clip"]: r["distance_syncnet"] for r in of(rows, "same_audio", "ground_truth")}
    for row in of(rows, "crossed_audio", "ground_truth"):
        assert row["distance_syncnet"] == own[row["audio"]]


def test_pairs_are_fixed_and_use_each_audio_once(dataset):
    found = pairs(dataset.clips, 0)
    assert found == pairs(dataset.clips, 0)
    assert sorted(found) == list(range(5))
    speakers = [clip.speaker for clip in dataset.clips]
    assert all(speakers[i] != speakers[j] for i, j in enumerate(found))
    one = [clip for clip in dataset.clips if clip.speaker == "a"]
    assert sorted(pairs(one, 0)) == [0, 1] and pairs(one, 0) != [0, 1]


def test_a_limit_of_clips_is_spread_over_the_speakers(dataset):
    assert {clip.speaker for clip in choose_clips(dataset, 3, 0)} == {"a", "b", "c"}
    assert [clip.id for clip in choose_clips(dataset, 9, 0)] == CLIPS


def test_the_reference_has_no_frame_of_the_window(dataset, results):
    stretch = read_stretch(dataset, dataset.clips[0], 100, results)
    assert len(stretch) == 60
    assert stretch.frames.shape == stretch.reference.shape == (60, 96, 96, 3)
    shifted = np.roll(stretch.frames, -30, axis=0)
    assert np.array_equal(stretch.reference, shifted)
    short = read_stretch(dataset, dataset.clips[0], 20, results)
    assert (len(short), short.first) == (20, stretch.first + 20)


@pytest.mark.parametrize("late", [0, 3, -4])
def test_a_judge_finds_the_offset(dataset, results, late):
    stretch = read_stretch(dataset, dataset.clips[2], 100, results)
    found = judge()
    audio = found.audio_around(stretch.audio, stretch.first, len(stretch))
    faces = found.embed_faces(stretch.frames)[8:30]
    assert found.score(faces, stretch.first + 8 + late, audio).offset == late


def test_a_judge_needs_enough_windows(dataset, results):
    stretch = read_stretch(dataset, dataset.clips[0], 100, results)
    found = judge()
    audio = found.audio_around(stretch.audio, 0, len(stretch))
    with pytest.raises(ClipError) as caught:
        found.score(torch.zeros(5, 5), 0, audio)
    assert caught.value.reason is Reason.TOO_SHORT


def test_lse_of_a_whole_video_is_that_of_the_public_protocol():
    golden, frames = numbers("lse"), lse_frames()[:20]
    found = LseJudge.__new__(LseJudge)
    found.model = draw_weights(LseSyncNet()).eval()
    pcm = golden["pcm"][: len(frames) * lse.SAMPLES_A_FRAME]
    audio = found.audio_around(Audio(np.zeros((1, 80), np.float32), pcm), 0, len(frames))
    score = found.score(found.embed_faces(frames), 0, audio)
    wanted = lse.lse(found.model, frames, pcm)
    np.testing.assert_allclose(score.distances, wanted.distances, rtol=1e-4)
    assert score.offset == wanted.offset
    assert score.confidence == pytest.approx(wanted.confidence, rel=1e-3)


def row(system, clip, **figures):
    identity = {"protocol": "same_audio", "audio": clip, "reason": ""}
    return identity | {"system": system, "clip": clip, "speaker": clip[0]} | figures


def test_failed_clips_are_counted_with_their_reasons():
    rows = [row("ground_truth", "a/1", distance_j=1.0, offset_j=2, lip_dynamics=1.0)]
    rows += [row("ground_truth", "b/1", lip_dynamics=3.0) | {"reason": "too_short"}]
    found = summary.summarize(rows, ["j"])["ground_truth"]
    assert (found["clips"], found["scored"], found["failed"]) == (2, 1, {"too_short": 1})
    assert found["offsets"]["j"]["2"] == 1 and sum(found["offsets"]["j"].values()) == 1
    assert found["metrics"]["distance_j"]["n"] == 1
    assert found["metrics"]["lip_dynamics"]["value"] == 2


def test_a_ranking_that_fails_is_said():
    systems = {"ground_truth": 1.0, "g": 2.0, "copied_reference": 3.0, "g_shuffled_audio": 4.0}
    rows = [row(name, "a/1", distance_j=value) for name, value in systems.items()]
    found = summary.rankings(summary.summarize(rows, ["j"]), ["g"], ["j"])["distance_j"]["g"]
    assert found["as_expected"] and found["text"].startswith("distance_j: ground_truth > g >")
    rows[2]["distance_j"] = 1.5
    found = summary.rankings(summary.summarize(rows, ["j"]), ["g"], ["j"])["distance_j"]["g"]
    assert not found["as_expected"] and not found["separates"]
    assert "copied_reference (1.5) is not worse than g (2)" in found["text"]


def test_the_order_of_the_two_baselines_does_not_hide_that_a_metric_separates():
    systems = {"ground_truth": 1.0, "g": 2.0, "copied_reference": 4.0, "g_shuffled_audio": 3.0}
    rows = [row(name, "a/1", distance_j=value) for name, value in systems.items()]
    found = summary.rankings(summary.summarize(rows, ["j"]), ["g"], ["j"])["distance_j"]["g"]
    assert (found["as_expected"], found["separates"]) == (False, True)


def test_a_generator_that_is_always_in_sync_is_as_expected():
    systems = {"g": 1.0, "ground_truth": 1.0, "copied_reference": 0.2, "g_shuffled_audio": 0.0}
    rows = [row(name, "a/1", in_sync_j=value) for name, value in systems.items()]
    summarized = summary.summarize(rows, ["j"])
    assert next(iter(summarized)) == "ground_truth"  # the first column of a table
    found = summary.rankings(summarized, ["g"], ["j"])["in_sync_j"]["g"]
    assert found["as_expected"] and found["separates"]


def test_metrics_without_a_direction_are_ranked_by_closeness():
    systems = {"ground_truth": 1.0, "g": 1.2, "copied_reference": 0.5, "g_shuffled_audio": 2.0}
    rows = [row(name, "a/1", loudness_correlation=value) for name, value in systems.items()]
    found = summary.summarize(rows, [])
    assert found["g"]["metrics"]["loudness_correlation"]["closeness"] == pytest.approx(0.8)
    assert summary.rankings(found, ["g"], [])["loudness_correlation"]["g"]["as_expected"]


@pytest.mark.parametrize("second, word", [([1, 2, 3, 4], "agree on"), ([4, 3, 2, 1], "disagree")])
def test_agreement_of_judges_is_said_in_words(second, word):
    figures = zip(["g", "h", "ground_truth", "copied_reference"], [1, 2, 3, 4], second, strict=True)
    rows = [row(s, "a/1", distance_i=float(i), distance_j=float(j)) for s, i, j in figures]
    [found] = summary.agreement(rows, summary.summarize(rows, ["i", "j"]), ["i", "j"])
    assert word in found["text"]
    assert math.isnan(found["over_clips"])  # two generated rows are too few


def test_figures_by_the_columns_of_clips():
    rows = [row("g", "a/1", lip_dynamics=1.0), row("g", "b/1", lip_dynamics=3.0)]
    of_clip = {"a/1": {"sex": "f"}, "b/1": {"sex": ""}}
    found = summary.grouped(rows, ["sex"], of_clip, [])
    assert found["sex"]["f"]["g"]["metrics"]["lip_dynamics"]["value"] == 1
    assert found["sex"]["unknown"]["g"]["metrics"]["lip_dynamics"]["value"] == 3
    lines = tables.table_rows({}, {"same_audio": found})
    assert lines[0][:5] == ["same_audio", "sex=f", "g", "lip_dynamics", 1.0]


def test_an_unknown_column_is_refused(results):
    with pytest.raises(LipsyncError, match=r"group_by: .*clips.csv has no column sex"):
        evaluate._clip_table(results, ["sex"])
    assert set(evaluate._clip_table(results, ["split"])) == set(CLIPS)


def test_the_files_of_an_evaluation(rows, tmp_path):
    report = {"evaluated_on": "held-out speakers", "split": "test", "groups": {}}
    report |= summary.report_sections(rows, ["wav2lip"], [judge()])
    output.write(output.Evaluation(output.rounded(report), rows), tmp_path / "e.json")
    lines = (tmp_path / "e.csv").read_text().splitlines()
    assert lines[0] == "protocol,group,system,metric,value,low,high,n,closeness"
    assert any(line.startswith("crossed_audio,,wav2lip,distance_syncnet,") for line in lines)
    text = (tmp_path / "e.txt").read_text()
    assert report["fid"]["value"] is None and "FID: not measured" in text
    assert "ground_truth_h264" in text and "rankings as expected" in text
    assert len((tmp_path / "e_clips.csv").read_text().splitlines()) == len(rows) + 1
