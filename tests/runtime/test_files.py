from __future__ import annotations

import errno
import logging
import os
import stat

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import files, logs, progress


def test_atomic_path_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "a.wav"
    with files.atomic_path(target) as temporary:
        assert temporary.suffix == ".wav"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    with pytest.raises(ZeroDivisionError), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["a.wav"]


def test_unnamed_path_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "new" / "a.mp4"
    for without in (False, True):
        if without:  # as on a file system that cannot
            monkeypatch.delattr(os, "O_TMPFILE")
        for text in ("old", "new"):
            with files.unnamed_path(target) as (path, descriptor):
                assert (descriptor is None) == without
                path.write_text(text)
                assert without or [file.name for file in target.parent.iterdir()] in ([], ["a.mp4"])
            assert target.read_text() == text
        with pytest.raises(ZeroDivisionError), files.unnamed_path(target) as (path, _):
            path.write_text("half")
            raise ZeroDivisionError
        assert [file.name for file in target.parent.iterdir()] == ["a.mp4"]
        assert target.read_text() == "new"
        assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        place = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(place.st_mode) else f"{place.st_size} bytes")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("name"), replace(*names)))
    files.write_text(tmp_path / "a.csv", "whole")
    assert done == ["5 bytes", "name", "folder"]


def test_longest_file_name(tmp_path):
    target = tmp_path / ("x" * 250 + ".txt")
    files.write_text(target, "fits")
    assert target.read_text() == "fits"


def test_unchanged_text_keeps_its_time(tmp_path):
    path = tmp_path / "a"
    assert files.write_text_if_changed(path, "é")
    os.utime(path, (1, 1))
    assert not files.write_text_if_changed(path, "é")
    assert path.stat().st_mtime == 1
    assert files.write_text_if_changed(path, "e")


def test_digest_ignores_key_order_only():
    assert files.digest({"a": 1, "b": [1, 2]}) == files.digest({"b": [1, 2], "a": 1})
    assert files.digest([1, 2]) != files.digest([2, 1])
    assert files.digest({"a": 1}) != files.digest({"a": 1.5})


def test_file_sha(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.file_sha(tmp_path / "a", "sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d"


@pytest.fixture
def restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_job_log_turns_a_known_error_into_one_line(tmp_path, capsys, restore_logging):
    with pytest.raises(SystemExit) as ended, logs.job_log(tmp_path / "logs" / "a.log"):
        raise LipsyncError("clip.mp4: broken; replace it")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "clip.mp4: broken; replace it" in said
    assert "Traceback" not in said
    assert "clip.mp4: broken" in (tmp_path / "logs" / "a.log").read_text()


def test_job_log_turns_a_full_disk_into_one_line(tmp_path, capsys, restore_logging):
    with pytest.raises(SystemExit) as ended, logs.job_log(tmp_path / "a.log"):
        raise OSError(errno.ENOSPC, "No space left on device", "mels/a.npy")
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "mels/a.npy" in said and "free disk space" in said
    assert "Traceback" not in said


def test_job_log_keeps_the_traceback_of_a_bug(tmp_path, restore_logging):
    with pytest.raises(ZeroDivisionError), logs.job_log(tmp_path / "a.log"):
        _ = 1 / 0
    assert "ZeroDivisionError" in (tmp_path / "a.log").read_text()


def test_progress_lines_have_rate_and_time_left(caplog):
    caplog.set_level(logging.INFO)
    with progress.Progress(4, "work", "clip", start=1, every=0) as bar:
        bar.advance(note="a/1")
    first, last = (record.message for record in caplog.records)
    assert first.startswith("work: 2/4 clips, ")
    assert "a second" in first
    assert "left, a/1" in first
    assert last.endswith("done")
    with progress.Progress(None, "work", "step") as bar:
        bar.advance(3)
    assert caplog.records[-1].message.startswith("work: 3 steps, ")


def test_progress_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logging.getLogger("lipsync_core.runtime.progress").setLevel(logging.WARNING)
    with progress.Progress(2, "work", "clip") as bar:
        bar.advance(2, note="x")
    logging.getLogger("lipsync_core.runtime.progress").setLevel(logging.NOTSET)
    assert "work" in capsys.readouterr().err
