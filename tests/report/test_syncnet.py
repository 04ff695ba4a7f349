"""The SyncNet section of the report: data check, diagnosis, calibration, worst clips."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import cv2
import pytest

from lipsync_core.report import page, syncnet
from tests.report.test_page import Page, write_csv
from tests.support.media import portrait

GOOD = {"name": "amount of data", "level": "good", "word": "enough", "figures": "30 h", "note": ""}
WRONG = {
    "name": "audio and video in sync",
    **{"level": "bad", "word": "out of sync", "figures": "at offset 5 <frames>"},
    "note": "move the sound",
}
DATA_CHECK = {
    "verdict": "bad",
    "checks": [GOOD, WRONG],
    "offsets": {
        "correlations": [0.01 * (k == 20) + 0.01 for k in range(31)],
        **{"offset": 5, "found": True, "clips": {"4": 1, "6": 7}},
    },
}
POINT = {"low": 0.1, "high": 0.2, "mean": 0.15, "positive_fraction": 0.3, "weight": 1.0, "count": 9}
SECTION = {
    **{"auc": 0.91, "loss": 0.4, "ece": 0.123},
    "per_clip": {
        "val": [
            {"clip": f"v/{n}", "loss": 0.5 + n / 100, "windows": 9, "offset": 0} for n in range(9)
        ],
        "test": [
            {"clip": "t/late", "loss": 1.5, "windows": 9, "offset": 4},
            {"clip": "t/far", "loss": 0.1, "windows": 9, "offset": 0},
        ],
    },
    "calibration": {
        "val": [POINT],
        "test": [POINT, POINT | {"mean": 0.9, "positive_fraction": 0.8}],
    },
}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("run")
    jpeg = cv2.imencode(".jpg", portrait()[:100, :80])[1].tobytes()
    (results / "faces" / "t").mkdir(parents=True)
    with zipfile.ZipFile(results / "faces" / "t" / "late.zip", "w") as archive:
        for frame in range(8):
            archive.writestr(f"{frame}.jpg", jpeg)
    clip = {"kept": 1, "seconds": 60, "coverage": 1, "face_px": 120}
    rows = [clip | {"clip": f"s{n}/1", "speaker": f"s{n}", "split": "train"} for n in range(3)]
    rows.append(clip | {"clip": "v/8", "speaker": "v", "split": "val", "face_px": 40})
    write_csv(results / "filelists" / "clips.csv", rows)
    metrics = [
        {"step": 200 * n, "phase": "contrastive", "train_loss": 2.08, "val_auc": 0.5}
        | {"val_loss": 0.7, "val_ece": 0.2, "val_offset_1": 0.5, "val_offset_10plus": 0.52}
        for n in range(1, 6)
    ]
    write_csv(results / "syncnet" / "metrics.csv", metrics)
    (results / "syncnet" / "data_check.json").write_text(json.dumps(DATA_CHECK))
    (results / "evaluation.json").write_text(json.dumps({"split": "test", "syncnet": SECTION}))
    out = results / "report" / "index.html"
    config = {"syncnet": {"steps": 2000, "windows_per_clip": 8, "loss": "contrastive+bce"}}
    page.build(results, out, config=config, dubs=[], variants=[], versions={"Python": "3"})
    return out.read_text(encoding="utf-8")


def test_data_check_and_diagnosis_are_shown_with_their_remedies(html: str) -> None:
    found = Page(html)
    assert found.open == []
    for words in (
        "Data check before the training",
        "Audio and video in sync",
        "move the sound",
        "learned, but out of sync",
        "stuck at chance",
        "chance is 2.08 (AUC 0.50). Likely cause: audio and video in sync: out of sync",
        "best at +5",
        "measured by a trained network",
        "Accuracy by offset of the wrong audio",
        "1 frame 0.5",
        "10+ frames 0.52",
        "Calibration",
        "mean gap 0.12",
    ):
        assert words in found.text, words
    assert "<frames>" not in html


def test_the_result_of_the_training_counts_more_than_the_data_check() -> None:
    few = {**GOOD, "level": "bad", "word": "too little", "note": "give it more"}
    data_check = {"verdict": "bad", "checks": [few]}
    before = syncnet.data_check_summary(data_check)
    assert (before.level, before.word) == ("bad", "cannot be learned")
    after = [syncnet.data_check_summary(data_check, auc) for auc in (0.96, 0.7, 0.5)]
    words = [(verdict.level, verdict.word) for verdict in after]
    assert words == [("good", "learned"), ("fair", "partly learned"), ("bad", "not learned")]
    assert after[0].figures == "AUC 0.96; data check: amount of data: too little"
    row = syncnet.data_check_verdicts(data_check, 0.96)[0]
    assert (row.level, row.note) == ("none", "The training has refuted this: AUC 0.96.")
    assert syncnet.data_check_verdicts(data_check, 0.7)[0].level == "bad"


def test_a_syncnet_that_learned_a_wrong_offset_is_still_out_of_sync() -> None:
    found = syncnet.data_check_summary(DATA_CHECK, 0.96)
    assert (found.level, found.word) == ("bad", "learned, but out of sync")
    assert syncnet.data_check_verdicts(DATA_CHECK, 0.96)[1].note == "move the sound"


def test_log_and_report_name_the_same_causes() -> None:
    rows = [
        {"step": f"{200 * n}", "train_loss": "2.08", "val_auc": "0.5", "phase": "contrastive"}
        for n in range(1, 6)
    ]
    clip = {"kept": "1", "seconds": "600", "speaker": "me"}
    clips = [clip | {"split": "train"}, clip | {"split": "val"}]
    found = syncnet.diagnosis(rows, {"steps": 2000, "windows_per_clip": 8, "lr": 3e-3}, clips, {})
    assert found.word == "stuck at chance"
    assert "Likely cause: too little video: 10 min of 1 speaker" in found.text
    measured = {"data": {"speakers": 1, "minutes": 10, "speech_minutes": 4, "seen": True}}
    found = syncnet.diagnosis(rows, {"steps": 2000, "windows_per_clip": 8}, clips, measured)
    assert "Likely cause: too little speech: 4.0 min of 1 speaker" in found.text
    assert "more of this speaker" in found.text
    wrong = syncnet.diagnosis(
        rows, {"steps": 2000, "windows_per_clip": 8, "lr": 3e-3}, clips, DATA_CHECK
    )
    assert "Likely cause: audio and video in sync: out of sync" in wrong.text


def test_worst_clips_come_from_both_splits_with_crops_and_cause(html: str) -> None:
    found = Page(html)
    worst = html[
        html.index("Clips with the largest loss") : html.index("Metrics of the SyncNet in numbers")
    ]
    order = re.findall(r'<b>([\d.]+)</b> <bdi class="name">([^<]*)</bdi> \((\w+)\)', worst)
    assert order[0] == ("1.50", "t/late", "test") and order[1] == ("0.58", "v/8", "val")
    assert len(order) == 10 and ("0.10", "t/far", "test") not in order
    assert "video 4 frames (0.16 s) late: out of sync?" in found.text
    assert "a small face, 40 pixels" in found.text
    assert [image["alt"] for image in found.all("img")] == ["4 face crops of clip t/late"]
    assert "per_clip" not in worst and "syncnet.per_clip" not in found.text
    assert "syncnet.ece" in found.text


def test_offsets_by_an_untrained_syncnet_are_not_shown() -> None:
    entry = {"offset": 9}
    assert syncnet.possible_fault(entry, {}, usable=False) == ""
    assert "9 frames" in syncnet.possible_fault(entry, {}, usable=True)
    assert "1 frame" not in syncnet.possible_fault({"offset": 1}, {}, usable=True)
    assert "silent" in syncnet.possible_fault({}, {"silence_ratio": "0.8"}, usable=True)


def test_without_a_data_check_and_evaluation_nothing_is_shown(tmp_path: Path) -> None:
    assert syncnet.data_check_summary({}) is None and syncnet.data_check_figures({}) == []
    assert syncnet.data_check_summary({"verdict": "off", "checks": []}) is None
    assert syncnet.calibration_figure({}) is None
    assert syncnet.worst_clips(tmp_path, {}, [], None) == []


def test_reliability_diagram_has_the_ideal_line_and_both_splits() -> None:
    figure = syncnet.calibration_figure({"syncnet": SECTION})
    assert [name for _, name in figure.legend] == ["test", "val"]
    assert 'class="line ideal"' in figure.svg and "7 times in 10" in figure.note
