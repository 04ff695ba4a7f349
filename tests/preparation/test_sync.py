"""Sync of clips: measured, corrected by a shift of the audio, checked, and in the lists."""

from pathlib import Path

import pytest

from lipsync_core.config import CheckConfig, SyncConfig
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.filelists import ListedClip
from lipsync_core.errors import ClipError
from lipsync_core.evaluation.sync import SyncMeasure
from lipsync_core.preparation import checks, splits
from lipsync_core.preparation.runner import ClipJob
from lipsync_core.preparation.sync import measure_clip

CORRECT = SyncConfig(correct="correct")
JOB = ClipJob(Clip("a/1", "a", 0, "sig", "stamp", "a/1.mp4"), Path("sync"), {}, "key")


def measured(offset, low=None, high=None, agreement=1.0, drift=0.0):
    low, high = (offset if edge is None else edge for edge in (low, high))
    return SyncMeasure(offset, 0.5, agreement, low, high, drift, 70)


def measurer(*answers):
    """Gives the answers in order, and notes the offsets that it is asked with."""
    left = list(answers)

    def measure(job, offset):
        measure.asked.append(offset)
        return left.pop(0)

    measure.asked = []
    return measure


def test_an_offset_of_several_frames_is_corrected_whatever_its_interval():
    measure = measurer(measured(3, low=-1, high=4, agreement=0.93), measured(0))
    assert measure_clip(JOB, measure, CORRECT)["sync_offset_before"] == 3


def test_a_certain_offset_is_corrected_and_measured_again():
    measure = measurer(measured(7), measured(0))
    found = measure_clip(JOB, measure, CORRECT)
    assert measure.asked == [0, 7]
    assert (found["sync_offset_before"], found["sync_offset"]) == (7, 0)


@pytest.mark.parametrize(
    "before",
    (
        measured(7, agreement=0.3),
        measured(7, drift=6.0),
        measured(1, low=0, high=1),
    ),
    ids=("uncertain", "drift", "zero_is_possible"),
)
def test_other_offsets_are_left(before):
    measure = measurer(before)
    assert "sync_offset_before" not in measure_clip(JOB, measure, CORRECT)
    assert measure.asked == [0]


def test_measure_alone_corrects_nothing():
    found = measure_clip(JOB, measurer(measured(7)), SyncConfig(correct="measure"))
    assert found["sync_offset"] == 7
    assert "sync_offset_before" not in found


def test_a_clip_too_short_to_be_shifted_keeps_its_offset():
    found = measure_clip(JOB, measurer(measured(12), None), CORRECT)
    assert found["sync_offset"] == 12
    assert measure_clip(JOB, measurer(None), CORRECT) == {}


@pytest.mark.parametrize(
    ("changed", "reason"),
    (
        ({"sync_offset": "2"}, "out_of_sync"),
        ({"sync_drift": "-4.5"}, "sync_drift"),
        ({"sync_agreement": "0.2"}, "sync_uncertain"),
        ({}, ""),
        ({"sync_offset": ""}, ""),
    ),
)
def test_what_is_not_in_sync_after_the_correction_is_dropped(changed, reason):
    row = {"frames": 75, "sync_offset": "-1", "sync_drift": "0.0", "sync_agreement": "0.95"}
    row |= changed
    checks.check(row, CheckConfig())
    checks.check(row, CheckConfig(), SyncConfig(correct="measure"))
    if not reason:
        checks.check(row, CheckConfig(), CORRECT)
        return
    with pytest.raises(ClipError) as caught:
        checks.check(row, CheckConfig(), CORRECT)
    assert caught.value.reason == reason


def test_lists_shift_the_audio_and_leave_out_what_has_none():
    row = {"audio_seconds": "3.0", "sync_offset_before": "3"}
    whole = {"train": ListedClip("a/1")}
    assert str(splits._shifted(row, whole)["train"]) == "a/1\t3-74\t+1920"
    row["sync_offset_before"] = "-2"
    assert str(splits._shifted(row, whole)["train"]) == "a/1\t0-74\t-1280"
    part = {"val": ListedClip("a/1", 40, 60)}
    assert str(splits._shifted(row, part)["val"]) == "a/1\t40-60\t-1280"
    assert splits._shifted({"sync_offset_before": ""}, whole) == whole
