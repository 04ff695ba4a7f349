"""report/training_previews.py: the slider over a training."""

import base64
from pathlib import Path

import pytest

from lipsync_core.report import page
from lipsync_core.report.training_previews import MAX_BYTES, MAX_SHOWN, training_previews
from lipsync_core.training import previews as written
from lipsync_core.training.samples import ROWS as SAMPLE_ROWS


def write(folder: Path, sizes: dict[int, int]) -> None:
    folder.mkdir(exist_ok=True)
    for step, size in sizes.items():
        (folder / f"step_{step:07d}.mp4").write_bytes(str(step).encode().ljust(size))


def content(preview) -> int:
    return int(base64.b64decode(preview.uri.partition("base64,")[2]))


def test_each_evaluation_in_order_with_its_figures(tmp_path):
    write(tmp_path, {1200: 9, 200: 9, 9_000_000: 9})
    rows = [{"step": "200", "val_l1": "0.0512", "val_sync_loss": "2.5"}, {"step": "1200"}]
    rows[1]["val_silent_lip_motion_ratio"] = "0.254"
    found = training_previews(tmp_path, rows)
    assert [content(each) for each in found] == [200, 1200, 9_000_000]
    assert [each.figures for each in found] == [
        "L1 0.0512, sync loss 2.5",
        "lip motion in silence 25%",
        "",
    ]
    assert found[0].step == "200"


def test_a_missing_folder_and_other_files_are_no_previews(tmp_path):
    assert training_previews(tmp_path / "none", []) == []
    (tmp_path / "step_0000003.mp4").touch()
    (tmp_path / ".snakemake_timestamp").touch()
    (tmp_path / "step_7.mp4.part").write_bytes(b"7")
    assert training_previews(tmp_path, []) == []


@pytest.mark.parametrize(
    ("count", "size", "shown"),
    [
        (3, 9, 3),
        (200, 9, MAX_SHOWN),
        (6, MAX_BYTES // 4, 4),
        (3, MAX_BYTES, 1),
        (3, MAX_BYTES + 1, 0),
    ],
)
def test_few_are_shown_of_many_or_large_ones_the_last_always(tmp_path, count, size, shown):
    write(tmp_path, {10 * (k + 1): size for k in range(count)})
    steps = [content(each) for each in training_previews(tmp_path, [])]
    assert len(steps) == shown
    if shown:
        assert steps[-1] == 10 * count and steps == sorted(set(steps))
    if shown > 1:
        assert steps[0] == 10


def test_the_rows_are_named_as_they_are_drawn():
    assert page.PREVIEW_ROWS == written.ROWS
    assert page.SAMPLE_ROWS == SAMPLE_ROWS
