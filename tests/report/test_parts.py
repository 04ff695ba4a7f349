"""The parts of the report, each alone; the page as a whole is in test_report.py."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lipsync_core.preparation import accounting
from lipsync_core.report import (
    blocks,
    corpus,
    curves,
    distributions,
    gallery,
    page,
    plots,
    results,
    verdicts,
)
from lipsync_core.report.corpus import MAX_DROPPED_SHOWN
from lipsync_core.report.versions import collect_versions


def test_the_account_is_the_one_that_the_filelists_wrote(tmp_path: Path) -> None:
    clips = [
        {"clip": "a", "kept": "0", "reason": "silent", "detail": "d", "dropped_by": "check_clips"},
        {"clip": "b", "kept": "1"},
        {"clip": "b+1", "kept": "0", "reason": "duplicate", "dropped_by": "filelists"},
    ]
    lines = [
        accounting.StageCounts("crop_faces", 2, 1, 3),
        accounting.StageCounts("check_clips", 3, 0, 2, Counter(silent=1)),
        accounting.StageCounts("filelists", 2, 0, 1, Counter(duplicate=1)),
    ]
    accounting.write_accounting(tmp_path / "accounting.csv", lines)
    found = corpus.account(accounting.read_accounting(tmp_path / "accounting.csv"), clips)
    assert found is not None and (found.found, found.kept, len(found.dropped)) == (3, 1, 2)
    assert corpus.account_table(found).rows == [
        ["Face crops", "2", "1", "3", "0", ""],
        ["Checks", "3", "0", "2", "1", "silent 1"],
        ["Splits", "2", "0", "1", "1", "duplicate 1"],
        ["All", "2", "1", "1", "2", ""],
    ]
    assert corpus.account_table(found).note == "3 clips found = 1 kept + 2 dropped."
    tables = corpus.dropped_tables(found)
    assert [table.caption for table in tables] == ["duplicate: 1 clip", "silent: 1 clip"]
    assert [row[1:] for table in tables for row in table.rows] == [
        ["Splits", "<bdi></bdi>"],
        ["Checks", "<bdi>d</bdi>"],
    ]
    assert corpus.account([], clips) is None


def test_clips_that_were_not_measured_are_in_no_histogram() -> None:
    clips = [
        {"clip": "a", "kept": "1", "coverage": "0.9"},
        {"clip": "b", "kept": "0", "coverage": "0.2"},
        {"clip": "c", "kept": "0", "coverage": "0"},
    ]
    ((figure,),) = [group.figures for group in distributions.groups(clips, {})]
    assert "over 2 clips: from 0.2 to 0.9" in figure.svg


def test_leaking_speakers_are_named() -> None:
    rows = [
        {"clip": f"a/{split}", "speaker": "a", "split": split, "kept": "1", "seconds": "9"}
        for split in ("train", "val")
    ]
    assert "Speakers in more than one split: a." in corpus.split_table(rows).note


def test_hundreds_of_dropped_clips_are_all_listed_by_reason() -> None:
    dropped = [{"clip": f"s/{n}", "reason": ("silent", "no_face")[n % 3 == 0]} for n in range(900)]
    tables = corpus.dropped_tables(corpus.Account(len(dropped), 0, [], dropped))
    assert [table.caption for table in tables] == ["silent: 600 clips", "no face: 300 clips"]
    names = {re.sub("<[^>]*>", "", row[0]) for table in tables for row in table.rows}
    assert names == {row["clip"] for row in dropped}
    most = MAX_DROPPED_SHOWN + 3
    many = [{"clip": f"s/{n}", "reason": "silent"} for n in range(most)]
    (table,) = corpus.dropped_tables(corpus.Account(most, 0, [], many))
    assert len(table.rows) == MAX_DROPPED_SHOWN and table.note.startswith("3 more clips")


def test_contact_sheet_takes_splits_and_speakers_in_turn() -> None:
    rows = [
        {"clip": f"{speaker}/{n}", "speaker": speaker, "split": split, "kept": "1"}
        for split, speakers in (("train", "abc"), ("val", "d"), ("test", "e"))
        for speaker in speakers
        for n in range(30)
    ]
    chosen = gallery.pick_clips(rows)
    assert len(chosen) == gallery.MAX_CLIPS
    assert [row["clip"] for row in chosen[:6]] == ["a/0", "d/0", "e/0", "b/0", "d/1", "e/1"]
    assert {row["speaker"] for row in chosen} == set("abcde")


@pytest.mark.parametrize(
    ("auc", "level"), [(0.93, "good"), (0.85, "good"), (0.7, "fair"), (0.52, "bad"), (None, "none")]
)
def test_syncnet_verdict(auc: float | None, level: str) -> None:
    verdict = verdicts.syncnet_verdict({"accuracy": 0.8} | ({} if auc is None else {"auc": auc}))
    assert verdict.level == level
    assert "0.5 is chance" in verdict.note


@pytest.mark.parametrize(
    ("l1", "l1_reference", "sync_loss", "sync_loss_gt", "auc", "quality", "sync"),
    [
        (0.03, 0.05, 0.4, 0.3, 0.9, "good", "good"),
        (0.06, 0.05, 0.6, 0.3, 0.9, "bad", "fair"),
        (0.06, 0.05, 0.7, 0.3, 0.9, "bad", "bad"),
        (0.05, 0.05, 1.2, 0.3, 0.9, "bad", "bad"),
        (0.03, 0.05, 0.4, 0.95, 0.9, "good", "none"),
        (0.03, 0.05, 0.2, 0.3, 0.55, "good", "none"),
        (0.03, None, 0.2, None, None, "none", "good"),
        (None, None, 0.5, None, None, "none", "fair"),
        (None, None, None, None, None, "none", "none"),
    ],
)
def test_generator_verdicts(
    l1: float | None,
    l1_reference: float | None,
    sync_loss: float | None,
    sync_loss_gt: float | None,
    auc: float | None,
    quality: str,
    sync: str,
) -> None:
    metrics = {"l1": l1, "l1_reference": l1_reference}
    metrics |= {"sync_loss": sync_loss, "sync_loss_gt": sync_loss_gt}
    metrics = {name: value for name, value in metrics.items() if value is not None}
    found = verdicts.generator_verdicts("g", metrics, auc)
    assert [verdict.level for verdict in found] == [quality, sync]


def test_motion_in_silence_is_a_fraction() -> None:
    generators = {
        "a": {"l1": 0.01, "motion": 0.02, "motion_silent_audio": 0.015},
        "b": {"motion": 0.0, "motion_silent_audio": 0.0},
    }
    shown = [row[-1] for row in curves.generator_table(generators, "").rows]
    assert shown == ["75%", "\N{EN DASH}"]


@pytest.mark.parametrize(
    ("losses", "level"), [((0.5, 0.6), "good"), ((0.0, 60.0), "bad"), ((0.01, 0.02), "fair")]
)
def test_discriminator_verdict(losses: tuple[float, float], level: str) -> None:
    metrics = dict(zip(("train_disc_real", "train_disc_fake"), losses, strict=True))
    assert verdicts.generator_verdicts("g", metrics, 0.9)[-1].level == level


@pytest.mark.parametrize(
    ("kept", "hours", "words"),
    [
        (10, 40, ["nearly all kept", "enough to train from scratch"]),
        (6, 5, ["some dropped", "enough to fine-tune public weights"]),
        (2, 0.1, ["most dropped", "enough to try the pipeline"]),
    ],
)
def test_data_verdicts(kept: int, hours: float, words: list[str]) -> None:
    clips = [
        {"clip": str(n), "kept": "1", "seconds": str(3600 * hours / kept)} for n in range(kept)
    ]
    result = corpus.Account(10, kept, [], [])
    assert [verdict.word for verdict in verdicts.data_verdicts(result, clips)] == words


def test_minutes_of_one_speaker_are_enough_for_that_speaker() -> None:
    rows = [{"clip": "s/1", "speaker": "s", "kept": "1", "seconds": "2640"}]
    hours = verdicts.data_verdicts(corpus.Account(1, 1, [], []), rows)[1]
    assert (hours.level, hours.word) == ("good", "enough for one speaker")
    few = verdicts.data_verdicts(corpus.Account(1, 1, [], []), [rows[0] | {"seconds": "300"}])[1]
    two = [rows[0], rows[0] | {"speaker": "t"}]
    several = verdicts.data_verdicts(corpus.Account(2, 2, [], []), two)[1]
    assert few.word != hours.word and several.word != hours.word


def test_sync_reference_values_come_from_the_evaluation() -> None:
    evaluated = {"sync_loss": 0.5, "sync_loss_gt": 0.2, "sync_loss_out_of_sync": 3.5}
    assert (
        results.final_metrics([], {"generators": {"g": evaluated | {"x": None}}}, "g") == evaluated
    )


def test_evaluation_goes_before_the_metrics() -> None:
    rows = [{"step": "10", "val_auc": "0.6", "val_l1": "0.2", "val_loss": "0.5"}]
    last = {"step": 10, "auc": 0.6, "l1": 0.2, "loss": 0.5}
    assert results.final_metrics(rows, {"syncnet": {"auc": 0.9}}, "syncnet") == last | {"auc": 0.9}
    evaluation = {"generators": {"g": {"l1": 0.1}}}
    assert results.final_metrics(rows, evaluation, "g") == last | {"l1": 0.1}
    assert results.final_metrics(rows, {}, "g") == last


def test_bars_by_offset_are_in_order_of_distance() -> None:
    shares = {"1": 0.6, "2": 0.7, "3": float("nan"), "10+": 0.9}
    evaluated = {"accuracy_by_offset": shares}
    figures = curves.syncnet_figures([], {"syncnet": evaluated}, {}, "")
    label = re.search('aria-label="([^"]*)"', figures[0].svg)[1]
    assert label.endswith("1 frames 0.60, 2 frames 0.70, 10+ frames 0.90")


def test_the_l1_of_the_reference_is_a_line_when_only_the_evaluation_has_it() -> None:
    rows = [{"step": str(s), "val_l1": "0.2"} for s in (0, 10)]
    assert "reference 0.045" in curves.generator_figures(rows, {"l1_reference": 0.0452})[0].svg


def test_scales_end_on_round_numbers_and_hold_the_data() -> None:
    scale = plots.nice_scale([0.031, 0.139], 168, 10)
    assert scale.ticks == (0.0, 0.05, 0.1, 0.15)
    assert scale(0.0) == 168 and scale(0.15) == 10
    for values in ([], [0.0], [3.0, 3.0], [-1e-9, 1e-9], [1e6, 2e6]):
        scale = plots.nice_scale(values, 0, 1)
        assert all(0 <= scale(value) <= 1 for value in values)
    assert [plots.tick_text(v) for v in (0.05, 25_000, -20)] == ["0.05", "25k", "\N{MINUS SIGN}20"]


def test_long_curves_are_averaged_and_short_ones_kept() -> None:
    points = [(float(n), float(n % 2)) for n in range(10_000)]
    thin = plots.thin_out(points, 100)
    assert len(thin) == 100
    assert all(y == pytest.approx(0.5) for _, y in thin)
    assert plots.thin_out(points[:5]) == points[:5]


def test_histogram_counts_every_value() -> None:
    svg = plots.histogram([1, 1, 2, 3.9], [2, 8], "label", "unit")
    assert svg.count('class="bar kept"') == 3
    assert svg.count('class="bar dropped"') == 2
    assert plots.histogram([5], [], "label <x>", "unit").count("&lt;x&gt;") == 1


def test_quantities_have_readable_formats() -> None:
    thin = blocks.THIN
    seconds = [0.31, 42, 431, 480, 36_000, None]
    assert [blocks.duration(s).replace(thin, " ") for s in seconds] == [
        *("0.31 s", "42 s", "7 min 11 s", "8 min", "10.0 h"),
        blocks.NO_VALUE,
    ]
    shares = [0.862, 0.9996, 1.0, 0.086, 0, None]
    assert [blocks.percent(s).replace(thin, " ") for s in shares] == [
        *("86 %", "99.9 %", "100 %", "8.6 %", "0 %"),
        blocks.NO_VALUE,
    ]
    assert [blocks.size(m).replace(thin, " ") for m in (3.2, 410, 2100)] == [
        *("3.2 MB", "410 MB", "2.1 GB"),
    ]
    assert blocks.plural(1, "clip") == "1 clip"
    assert blocks.count(140_000).replace(thin, " ") == "140 000"


def test_metrics_tables_are_short_and_end_with_the_last_row() -> None:
    rows = [{"step": str(n), "val_l1": f"{n / 7}", "phase": "p"} for n in range(100)]
    table = curves.metrics_table(rows, "t")
    assert table is not None and len(table.rows) == curves.MAX_TABLE_ROWS
    assert table.rows[-1] == ["99", "14.14", "p"]
    assert curves.metrics_table([], "t") is None


def test_versions_list_packages_and_detector() -> None:
    found = collect_versions()
    assert list(found)[:2] == ["lipsync_core", "Python"]
    assert re.match(r"\d", found["torch"])
    assert "ffmpeg version" not in found["ffmpeg"] and found["ffmpeg"] != "unknown"


def test_config_yaml_keeps_order_and_unicode() -> None:
    text = page.config_yaml({"b": Path("ж"), "a": [1, {"c": None}]})
    assert text.startswith("b: ж\na:\n")


def test_flatten_names_every_leaf() -> None:
    value = json.loads('{"a": {"b": 0.123456, "c": [1, 2.5]}, "d": "x"}')
    assert results.flatten(value) == [("a.b", "0.1235"), ("a.c", "1, 2.5"), ("d", "x")]
