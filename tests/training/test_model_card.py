from __future__ import annotations

import json

import pytest

from lipsync_core.corpus.licences import weights_licence
from lipsync_core.runtime.tables import write_table
from lipsync_core.training.model_card import model_card, write_card


def row(clip, split, licence, seconds=36.0, frames="", corpus="a"):
    return {
        "clip": clip,
        "speaker": clip.partition("/")[0],
        "split": split,
        "seconds": seconds,
        "split_frames": frames,
        "corpus": corpus,
        "licence": licence,
    }


@pytest.fixture
def results(tmp_path):
    (tmp_path / "syncnet").mkdir()
    (tmp_path / "syncnet/checkpoint.pth").write_bytes(b"weights")
    rows = [
        row("a.x/1", "train", "CC-BY-4.0"),
        row("a.x/2", "train", "CC-BY-4.0"),
        row("a.y/1", "val", "MIT"),
        row("a.z/1", "test", "research only"),
        row("b.w/1", "train+val", "own", 40, "0-749+800-899", "b"),
        row("b.w/2", "", "", corpus="b"),
    ]
    write_table(tmp_path / "filelists/clips.csv", rows)
    (tmp_path / "filelists/split.json").write_text('{"by": "speaker"}')
    figures = {"evaluated_on": "held-out speakers", "syncnet": {"auc": 0.9, "per_clip": {}}}
    (tmp_path / "evaluation.json").write_text(json.dumps(figures))
    return tmp_path


def card_of(results, weights=None):
    checkpoint = results / "syncnet/checkpoint.pth"
    return model_card(results, "syncnet", checkpoint, {"steps": 4}, 7, weights or {})


def test_the_card_sums_up_what_was_used(results):
    card = card_of(results)
    one, other = card["corpora"]
    assert one["train"] == {"clips": 2, "hours": 0.02, "speakers": 1}
    assert one["val"]["clips"] == 1 and one["licences"] == {"CC-BY-4.0": 2, "MIT": 1}
    assert other["train"]["hours"] == round(30 / 3600, 4)
    assert other["val"]["hours"] == round(4 / 3600, 4)
    assert card["licences"] == {"CC-BY-4.0": 2, "MIT": 1, "own": 1}  # not the test clip's
    assert card["licence"] == "CC-BY-4.0 AND MIT AND own" and card["commercial_use"]
    assert card["evaluation"] == {"evaluated_on": "held-out speakers", "auc": 0.9}
    assert (card["seed"], card["config"], card["syncnet"]) == (7, {"steps": 4}, None)


def test_weights_pass_their_licence_on(results):
    card = card_of(results, {"syncnet.pretrained": "models/lipsync_expert.pth"})
    assert not card["commercial_use"]
    assert (
        card["licence"]
        == card["weights"][0]["licence"]
        == "research and personal use only (Wav2Lip)"
    )
    write_card(results / "syncnet", card)
    assert json.loads((results / "syncnet/model_card.json").read_text()) == card
    assert weights_licence(results / "syncnet/checkpoint.pth") == card["licence"]
    page = (results / "syncnet/model_card.md").read_text()
    assert "| syncnet.pretrained | models/lipsync_expert.pth | research and" in page
    assert "| a | train | 2 | 0.02 | 1 | CC-BY-4.0 (2), MIT (1) |" in page
    assert "| auc | 0.9 |" in page and "not allowed" in page


def test_without_evaluation_there_are_no_figures(results):
    (results / "evaluation.json").unlink()
    card = card_of(results)
    assert card["evaluation"] is None
    write_card(results / "syncnet", card)
    assert "Evaluation" not in (results / "syncnet/model_card.md").read_text()
