from __future__ import annotations

import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from lipsync_core.errors import ClipError, DamagedFile
from lipsync_core.faces.archive import CropArchive, _quick_directory, write_archive

UNZIP = shutil.which("unzip")


def data(frame: int) -> bytes:
    return b"\xff\xd8" + bytes([frame % 256]) * (frame % 7)


def write(path, frames) -> None:
    with write_archive(path) as writer:
        for frame in frames:
            writer.add(frame, data(frame))


def test_any_unzip_reads_it(tmp_path):
    frames = [0, 1, 9, 10, 250]
    write(tmp_path / "a.zip", frames)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"{frame}.jpg" for frame in frames]
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == 0o100644
        assert archive.read("250.jpg") == data(250)
    if UNZIP:
        told = subprocess.run([UNZIP, "-t", tmp_path / "a.zip"], capture_output=True, check=True)
        assert b"No errors" in told.stdout


@pytest.mark.parametrize("cuts", [(), (50,), (3, 70_000, 99_999), tuple(range(5, 50_000, 5))])
def test_cuts_are_kept_with_the_crops(tmp_path, cuts):
    with write_archive(tmp_path / "a.zip", cuts) as writer:
        for frame in (0, 9, 10):
            writer.add(frame, data(frame))
    mine = CropArchive(tmp_path / "a.zip")
    assert mine.cuts == cuts
    assert mine.frames.tolist() == [0, 9, 10]
    assert mine.read(10) == data(10)
    assert _quick_directory(mine._open().fileno()) is not None  # still read at once
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.comment.decode().split()[1:] == [str(cut) for cut in cuts]


def test_more_cuts_than_an_archive_has_room_for_are_refused(tmp_path):
    with (
        pytest.raises(ClipError, match="more cuts than"),
        write_archive(tmp_path / "a.zip", range(0, 100_000, 2)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_foreign_comment_says_nothing_of_cuts_and_a_damaged_one_is_named(tmp_path):
    write(tmp_path / "a.zip", [0, 1])
    for comment, cuts in ((b"made by hand", ()), (b"cuts 7 x", None)):
        with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
            archive.comment = comment
        if cuts is not None:
            assert CropArchive(tmp_path / "a.zip").cuts == cuts
            continue
        with pytest.raises(DamagedFile, match="comment is damaged"):
            _ = CropArchive(tmp_path / "a.zip").cuts


def test_an_hour_of_crops(tmp_path):
    frames = range(0, 140_000, 2)  # more than 65,535 members: the 64-bit directory
    write(tmp_path / "a.zip", frames)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.infolist()) == 70_000
        assert archive.read("139998.jpg") == data(139_998)
    mine = CropArchive(tmp_path / "a.zip")
    assert np.array_equal(mine.frames, np.arange(0, 140_000, 2))
    assert mine.read(65_536) == data(65_536)
    if UNZIP:
        subprocess.run([UNZIP, "-tqq", tmp_path / "a.zip"], check=True)


def test_beyond_four_gigabytes(tmp_path):
    with write_archive(tmp_path / "a.zip") as writer:
        writer.add(0, data(0))
        writer.archive.start_dir = 5 << 30  # a hole, which takes no room on the disk
        writer.add(6, data(6))
        writer.add(12, data(12))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert [archive.read(f"{frame}.jpg") for frame in (0, 6, 12)] == [
            data(0),
            data(6),
            data(12),
        ]
    assert CropArchive(tmp_path / "a.zip").read(12) == data(12)


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), write_archive(tmp_path / "a.zip") as writer:
        writer.add(0, b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_own_archives_are_read_at_once_and_foreign_ones_as_well(tmp_path):
    frames = [0, 3, 9, 10, 11, 99, 100, 2500, 90000]
    sizes = {frame: 10 + frame % 7 for frame in frames}
    with write_archive(tmp_path / "own.zip") as archive:
        for frame in frames:
            archive.add(frame, bytes(sizes[frame]))
    with open(tmp_path / "own.zip", "rb") as stream:
        quick = _quick_directory(stream.fileno())
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.comment = b"made elsewhere"
        for frame in reversed(frames):
            archive.writestr(f"{frame}.jpg", bytes(sizes[frame]))
    with open(foreign, "rb") as stream:
        assert _quick_directory(stream.fileno()) is None
    assert quick[:, 0].tolist() == CropArchive(foreign).frames.tolist() == frames
    for path in (tmp_path / "own.zip", foreign):
        archive = CropArchive(path)
        assert {frame: len(archive.read(frame)) for frame in frames} == sizes


@pytest.mark.parametrize("name", ["7.png", "x.jpg", "1_.jpg", "a/7.jpg"])
def test_an_archive_of_something_else_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr(name, b"data")
    with pytest.raises(ClipError, match=f"{name} is no stored <frame>.jpg"):
        _ = CropArchive(tmp_path / "other.zip").frames
