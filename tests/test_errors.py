from __future__ import annotations

import os

from lipsync_core.errors import ClipError, DamagedFile, LipsyncError, Reason, printable


def test_names_of_files_become_one_printable_line():
    name = os.fsdecode(b"bo\xefris/new\nline\x85.mp4")
    assert printable(name) == r"bo\xefris/new\x0aline\x85.mp4"
    assert printable("a\u2028b \ud800") == r"a\u2028b \ud800"
    assert printable('é 漢 🎬 "q" \\x') == 'é 漢 🎬 "q" \\x'
    error = ClipError(Reason.UNREADABLE, f"{name}: bad")
    assert error.detail == r"bo\xefris/new\x0aline\x85.mp4: bad"
    assert str(error) == f"unreadable: {error.detail}"


def test_messages_of_several_lines_stay_so():
    assert str(LipsyncError("config: a\nconfig: \udcff")) == "config: a\nconfig: \\xff"


def test_a_damaged_file_says_what_to_do():
    error = DamagedFile("results/boxes/s/a.parquet", "cut short")
    assert error.reason == Reason.UNREADABLE
    assert "results/boxes/s/a.parquet: cut short; run again" in str(error)
