from __future__ import annotations

import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from lipsync_core.faces.archive import CropArchive, write_archive

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
        writer._offset = 5 << 30  # a hole, which takes no room on the disk
        writer._stream.seek(writer._offset)
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
