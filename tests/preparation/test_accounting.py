from __future__ import annotations

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import accounting
from lipsync_core.preparation.accounting import StageCounts, write_accounting
from lipsync_core.preparation.stages import AUDIO, MELS
from lipsync_core.runtime.tables import read_table, write_table

CHAIN = (AUDIO, MELS)


def row(clip: str, reason: str = "", by: str = "", **changes) -> dict:
    outcome = "dropped" if reason else "kept"
    values = {"clip": clip, "key": "k", "outcome": outcome, "reason": reason, "detail": ""}
    return values | {"dropped_by": by, "bytes": 0} | changes


GOOD = {
    AUDIO: [row("a"), row("b", "no_audio", AUDIO.rule), row("c")],
    MELS: [row("a"), row("b", "no_audio", AUDIO.rule), row("c", "too_short", MELS.rule)],
}


def count(results, tables) -> list[StageCounts]:
    for stage, rows in tables.items():
        write_table(results / stage.folder / "0.csv", rows[:2])
        write_table(results / stage.folder / "3.csv", rows[2:])
    return accounting.count_stages(results, CHAIN, (0, 3), ("a", "b", "c"))


def test_stages_follow_each_other(tmp_path):
    lines = count(tmp_path, GOOD)
    assert [(line.stage, line.entered, line.kept, dict(line.reasons)) for line in lines] == [
        ("extract_audio", 3, 2, {"no_audio": 1}),
        ("mel_spectrograms", 2, 1, {"too_short": 1}),
    ]
    write_accounting(tmp_path / "a.csv", [*lines, StageCounts("filelists", 1, kept=1)])
    total = read_table(tmp_path / "a.csv")[-1]
    assert total["stage"] == "all"
    assert [total[name] for name in ("in", "kept", "dropped", "no_audio", "too_short")] == list(
        "31211"
    )
    *again, last = accounting.read_accounting(tmp_path / "a.csv")
    assert again[:2] == lines and (last.entered, last.kept, last.dropped) == (3, 1, 2)
    assert accounting.read_accounting(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("stage", "rows", "said"),
    [
        (AUDIO, GOOD[AUDIO][:2], r"no row for 1 clips, \['c'\]"),
        (AUDIO, [*GOOD[AUDIO], row("d")], "'d' has two rows, or is no clip"),
        (AUDIO, [*GOOD[AUDIO][:2], row("a")], "'a' has two rows"),
        (
            AUDIO,
            [row("a"), row("b", outcome="dropped"), row("c")],
            "is 'dropped' for reason ''",
        ),
        (
            AUDIO,
            [row("a"), row("b", "bad luck", AUDIO.rule), row("c")],
            "unknown reason",
        ),
        (MELS, [*GOOD[AUDIO][:1], row("b"), *GOOD[MELS][2:]], r"dropped \(no_audio\) and is back"),
        (MELS, [*GOOD[MELS][:2], row("c", "silent", AUDIO.rule)], "dropped by 'extract_audio'"),
    ],
)
def test_what_does_not_add_up(tmp_path, stage, rows, said):
    with pytest.raises(LipsyncError, match=said):
        count(tmp_path, GOOD | {stage: rows})


def test_further_people_of_a_video_count_as_split_off(tmp_path):
    tables = {AUDIO: GOOD[AUDIO], MELS: [*GOOD[MELS][:2], row("c"), row("c+1"), row("c+2")]}
    lines = count(tmp_path, tables)
    assert (lines[1].entered, lines[1].split_off, lines[1].kept) == (2, 2, 4)
    write_accounting(tmp_path / "a.csv", [*lines, StageCounts("filelists", 4, kept=4)])
    with pytest.raises(LipsyncError, match=r"'d\+1' has two rows, or is no clip"):
        count(tmp_path, tables | {MELS: [*tables[MELS], row("d+1")]})


def test_lists_that_lose_a_clip(tmp_path):
    lines = count(tmp_path, GOOD)
    with pytest.raises(LipsyncError, match="1 clips in, 0 kept and 0 dropped"):
        write_accounting(tmp_path / "a.csv", [*lines, StageCounts("filelists", 1)])
    assert (tmp_path / "a.csv").is_file()
    with pytest.raises(LipsyncError, match="began with 2 clips, not 1"):
        write_accounting(tmp_path / "a.csv", [*lines, StageCounts("filelists", 2, kept=2)])
