"""Sync of the clips in the report: offsets before and after, what measured, what was dropped."""

from __future__ import annotations

import json
from pathlib import Path

from lipsync_core.report import distributions, sync
from tests.report.test_page import Page, build, write_csv

CLIPS = [
    {"clip": "a", "kept": "1", "sync_offset": "0", "sync_agreement": "1"},
    {"clip": "b", "kept": "1", "sync_offset": "0", "sync_offset_before": "-7"},
    {"clip": "c", "kept": "1", "sync_offset": "1", "sync_offset_before": "4"},
    {"clip": "d", "kept": "0", "reason": "out_of_sync", "sync_offset": "9"},
    {"clip": "e", "kept": "0", "reason": "sync_uncertain", "sync_offset": "3"},
    {"clip": "f", "kept": "0", "reason": "no_audio", "sync_offset": ""},
]
SUMMARY = {"trusted": True, "auc": 0.96, "steps": 800, "offsets": {"0": 30, "-1": 5, "6": 5}}


def test_offsets_before_and_after(tmp_path: Path) -> None:
    found = sync.section(tmp_path, CLIPS, {})
    assert found is not None
    before, after = found.figures
    assert "5 clips" in before.svg and "20 % within one frame" in before.svg.replace("\u202f", " ")
    assert "from -7 to 9 frames" in before.svg
    assert "60 % within one frame" in after.svg.replace("\u202f", " ")
    assert before.svg.count('class="threshold"') == 2
    assert found.table.rows[-1][1:] == ["3", "67\u202f%", "100\u202f%", "1"]
    assert "The audio of 2 clips was shifted." in found.table.note
    assert found.dropped is not None
    assert [row[1] for row in found.dropped.rows] == ["1", "1"]
    assert sync.section(tmp_path, [{"clip": "a", "kept": "1"}], {}) is None


def test_without_a_correction_there_is_one_histogram(tmp_path: Path) -> None:
    found = sync.section(tmp_path, CLIPS[:1], {"sync": {"model": "m.pth"}})
    assert found is not None and len(found.figures) == 1
    assert found.source == "Measured by m.pth." and found.dropped is None


def test_what_measured_is_told(tmp_path: Path) -> None:
    def source(**changes: object) -> str:
        (tmp_path / "sync" / "bootstrap").mkdir(parents=True, exist_ok=True)
        (tmp_path / sync.SUMMARY).write_text(json.dumps(SUMMARY | changes))
        found = sync.section(tmp_path, CLIPS, {})
        assert found is not None
        return found.source

    assert sync.section(tmp_path, CLIPS, {}).source == "Measured by syncnet_v2.model."
    assert "AUC 0.96" in source() and "5 of 40 certain clips" in source()
    assert "nothing was corrected" in source(trusted=False)


def test_verdict_on_the_sync_of_kept_clips() -> None:
    assert sync.verdict(CLIPS).level == "good"
    off = [{"kept": "1", "sync_offset": str(n % 4)} for n in range(20)]
    assert sync.verdict(off).level == "bad"
    assert sync.verdict([{"kept": "1", "sync_offset": ""}]) is None


def test_the_histogram_of_offsets_has_a_bar_for_each_frame(tmp_path: Path) -> None:
    found = sync.section(tmp_path, CLIPS, {})
    assert found is not None
    # Before: 0, -7, 4 kept; 9, 3 dropped: five bars of one clip.
    assert found.figures[0].svg.count('class="bar kept"') == 3
    assert found.figures[0].svg.count('class="bar dropped"') == 2


def test_thresholds_are_lines_where_they_are_near() -> None:
    clips = [
        {"clip": str(n), "kept": "1", "yaw_p95": str(n), "speech_ratio": ""} for n in range(40)
    ]
    (group,) = distributions.groups(clips, {"max_yaw": 45, "max_pitch": 10})
    (figure,) = group.figures
    assert group.title.startswith("Head pose") and figure.title.startswith("Yaw")
    assert figure.svg.count('class="threshold"') == 1
    assert ("threshold", "threshold 45") in figure.legend
    ((far,),) = (group.figures for group in distributions.groups(clips, {"max_yaw": 900}))
    assert 'class="threshold"' not in far.svg


def test_the_page_shows_sync_speech_and_pose(tmp_path: Path) -> None:
    measures = {"speech_ratio": 0.8, "yaw_p95": 12, "signal_mos": 3.4}
    write_csv(tmp_path / "filelists" / "clips.csv", [clip | measures for clip in CLIPS])
    text = Page(build(tmp_path, tmp_path / "i.html", dubs=[], variants=[])).text
    for words in (
        "Offsets before the correction",
        "Share of speech",
        "Yaw",
        "Quality of the speech",
    ):
        assert words in text, words
    assert "Longest pause" not in text
    assert "the offset cannot be told" in text
