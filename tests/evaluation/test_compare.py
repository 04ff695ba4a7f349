"""`lipsync compare`: pairing, intervals of differences, words, files, one-line errors."""

import csv
import json
import math

import numpy as np
import pytest

from lipsync_core import cli
from lipsync_core.evaluation import compare, output, summary
from lipsync_core.evaluation.output import Evaluation, rounded
from lipsync_core.evaluation.statistics import difference

JUDGES = {"syncnet": {"description": "d", "is_loss": True}}


def write_run(folder, seed=0, change=0.0, clips=range(24), judge=b"one"):
    """A run of 8 speakers; `change` is added to each clip's L1 of the generator."""
    spread = {clip: np.random.default_rng(clip).normal() for clip in clips}
    noise = np.random.default_rng(seed)
    rows = [
        {"protocol": "same_audio", "system": system, "clip": f"s{clip % 8}/{clip}"}
        | {"audio": f"s{clip % 8}/{clip}", "speaker": f"s{clip % 8}", "reason": ""}
        | {"mouth_l1": 0.1 + 0.03 * spread[clip] + extra + 0.001 * noise.normal()}
        | {"jitter": 0.2 + extra + 0.001 * noise.normal(), "distance_syncnet": 0.5 + extra}
        | {"in_sync_syncnet": bool(clip % 2)}
        for system, extra in (("ground_truth", 0.0), ("wav2lip", change))
        for clip in clips
    ]
    report = {"split": "test", "evaluated_on": "held-out speakers", "clips": len(clips)}
    report |= {"judges": JUDGES, "rankings": {}, "agreement": [], "groups": {}}
    report |= {"fid": {"value": None, "reason": "not measured"}}
    report |= {"protocols": {"same_audio": summary.summarize(rows, ["syncnet"])}}
    report |= {"syncnet": {"auc": 0.9 + change, "width": 1}, "generators": {}}
    report |= {"fid": {"value": None, "reason": "not measured"}}
    (folder / "syncnet").mkdir(parents=True)
    (folder / "syncnet" / "checkpoint.pth").write_bytes(judge)
    output.write(Evaluation(rounded(report), rows), folder / "evaluation.json")
    return compare.read_run(folder)


def of(found, system, metric):
    (row,) = [row for row in found if (row.system, row.metric) == (system, metric)]
    return row


def test_runs_on_the_same_clips_are_paired(tmp_path):
    """The clips differ thirty times as much as the runs do: only pairs show it."""
    found = compare.compare(write_run(tmp_path / "a"), write_run(tmp_path / "b", 1, 0.005))
    row = of(found, "wav2lip", "mouth_l1")
    assert row.paired and (row.units, row.by) == (8, "speaker")
    assert row.low < 0.005 < row.high and row.low > 0
    assert row.difference == pytest.approx(row.b - row.a)
    assert row.verdict == "B is higher: worse"
    assert of(found, "ground_truth", "mouth_l1").verdict == compare.NO_DIFFERENCE
    assert of(found, "wav2lip", "jitter").verdict == "B is higher, farther from the ground truth"
    assert of(found, "wav2lip", "in_sync_syncnet").difference == 0
    assert found[0].system == "wav2lip"  # generators first


def test_runs_on_other_clips_are_not_paired(tmp_path):
    first = write_run(tmp_path / "a")
    second = write_run(tmp_path / "b", 1, 0.005, clips=range(100, 124))
    row = of(compare.compare(first, second), "wav2lip", "mouth_l1")
    assert not row.paired and row.units == 16
    assert row.verdict == compare.NO_DIFFERENCE


def test_distances_of_different_networks_are_not_compared(tmp_path):
    first = write_run(tmp_path / "a")
    same, other = write_run(tmp_path / "b", 1, 0.1), write_run(tmp_path / "c", 1, 0.1, judge=b"2")
    assert of(compare.compare(first, same), "wav2lip", "distance_syncnet").verdict != (
        compare.OTHER_JUDGE
    )
    found = compare.compare(first, other)
    assert of(found, "wav2lip", "distance_syncnet").verdict == compare.OTHER_JUDGE
    assert "cannot be compared" in compare.text_table(first, other, found)


def test_few_clips_have_no_interval(tmp_path):
    found = compare.compare(
        *(write_run(tmp_path / name, clips=range(2)) for name in ("a", "b")),
    )
    row = of(found, "wav2lip", "mouth_l1")
    assert math.isnan(row.low) and row.verdict == compare.NO_INTERVAL


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_run(tmp_path / "a"), write_run(tmp_path / "b", 1, 0.005)
    files = ["--json", str(tmp_path / "c.json"), "--csv", str(tmp_path / "c.csv")]
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *files]) == 0
    text = capsys.readouterr().out
    assert "B is higher: worse" in text and "no difference shown" in text
    assert "auc" in text and "width" not in text
    found = json.loads((tmp_path / "c.json").read_text())
    with open(tmp_path / "c.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found["comparisons"]) > 5
    assert rows[0]["metric"] == found["comparisons"][0]["metric"]


def test_a_folder_without_an_evaluation_is_told_in_one_line(tmp_path, capsys):
    write_run(tmp_path / "a")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "none")]) == 1
    assert "evaluation.json: missing" in capsys.readouterr().err


@pytest.mark.parametrize("counts", [(6, 20), (30, 30)])
def test_intervals_of_unpaired_differences_cover_the_truth(counts):
    """400 experiments with unequal spread; three standard errors around 95 %."""
    rng = np.random.default_rng(sum(counts))
    inside = 0
    for _ in range(400):
        low, high = difference(
            0.1 * rng.beta(8, 2, counts[0]), rng.beta(8, 2, counts[1]), resamples=400
        )
        inside += low <= 0.8 - 0.08 <= high
    assert 0.917 <= inside / 400 <= 0.99


def test_unpaired_differences_of_few_units():
    assert math.isnan(difference(np.ones(2), np.ones(9))[0])
    low, high = difference(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    # Welch: 1 -+ t(4) * sqrt(2/3)
    assert (low, high) == pytest.approx((1 - 2.776445 * 0.816497, 1 + 2.776445 * 0.816497))
