"""Facts about the training clips, read from clips.csv and the summary of the bootstrap."""

import json

import pytest

from lipsync_core.runtime.tables import write_table
from lipsync_core.training.data_facts import (
    MEASURED,
    NOT_MEASURED,
    UNKNOWN,
    UNTRUSTED,
    DataFacts,
    known_facts,
    measured_facts,
)

CLIPS = [(f"s{n % 4}/{n}", 30.0) for n in range(20)]  # 10 minutes


def facts_of(results, columns, summary=None):
    """The facts where clips.csv has the given columns: name -> value of the clip n."""
    rows = [
        {"clip": clip} | {name: value(n) for name, value in columns.items()}
        for n, (clip, _) in enumerate(CLIPS)
    ]
    rows.append({"clip": "other/1", "speech_ratio": 1, "sync_offset": 9, "sync_agreement": 1})
    write_table(results / "filelists" / "clips.csv", rows, first=("clip",))
    if summary:
        (results / "sync" / "bootstrap").mkdir(parents=True)
        (results / "sync" / "bootstrap" / "summary.json").write_text(json.dumps(summary))
    return measured_facts(results, CLIPS, 4, False)


def test_without_a_table_only_the_amount_is_known(tmp_path):
    found = measured_facts(tmp_path, CLIPS, 4, True)
    assert found == DataFacts(4, 10, True) and found.sync == UNKNOWN and found.sync_text == ""
    assert found.text == "10 min of video of 4 speakers"


def test_speech_is_that_of_the_part_of_a_clip_in_the_split(tmp_path):
    (tmp_path / "filelists").mkdir()
    found = facts_of(tmp_path, {"speech_ratio": lambda n: 0.6 if n % 2 else 0.4})
    assert (found.minutes, found.speech_minutes) == (10, pytest.approx(5))
    assert found.amount == found.speech_minutes and found.text == "5.0 min of speech of 4 speakers"
    # Clips without the measure have as much as the others.
    found = facts_of(tmp_path, {"speech_ratio": lambda n: 0.6 if n % 2 else ""})
    assert found.speech_minutes == pytest.approx(6)


def test_sync_is_the_share_of_certain_clips_within_one_frame(tmp_path):
    (tmp_path / "filelists").mkdir()
    columns = {
        "sync_offset": lambda n: (0, 1, -1, 5)[n % 4],
        "sync_agreement": lambda n: 0.2 if n < 4 else 0.9,
        "sync_drift": lambda n: -3.0 if n < 5 else 0,
    }
    found = facts_of(tmp_path, columns)
    assert (found.sync, found.sync_clips, found.in_sync) == (MEASURED, 16, 0.75)
    assert found.drifting == 0.25
    assert found.sync_text == "75% of 16 measured clips are in sync within one frame"
    few = facts_of(tmp_path, columns | {"sync_agreement": lambda n: 0.9 if n < 5 else 0.1})
    assert few.sync == NOT_MEASURED


def test_a_network_that_could_not_measure_is_named(tmp_path):
    (tmp_path / "filelists").mkdir()
    empty = {"sync_offset": lambda n: ""}
    assert facts_of(tmp_path, empty).sync == NOT_MEASURED
    found = facts_of(tmp_path, empty, {"trusted": False, "auc": 0.61})
    assert (found.sync, found.sync_auc) == (UNTRUSTED, 0.61) and "0.61" in found.sync_text


def test_pose_and_sharpness_are_shares_of_the_clips(tmp_path):
    (tmp_path / "filelists").mkdir()
    found = facts_of(
        tmp_path,
        {"yaw_median": lambda n: 60 if n < 15 else 5, "sharpness": lambda n: 10 if n < 5 else 90},
    )
    assert (found.turned, found.blurred) == (0.75, 0.25)


def test_facts_are_read_back_from_the_data_check(tmp_path):
    facts = DataFacts(3, 4.0, True, 2.0, MEASURED, None, 9, 0.5)
    assert known_facts({"checks": []}) is None
    assert known_facts(json.loads(json.dumps({"data": vars(facts)}))) == facts
