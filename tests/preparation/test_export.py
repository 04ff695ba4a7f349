from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from lipsync_core import cli
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation.export import export
from tests.support.media import write_wav
from tests.support.training import write_corpus


@pytest.fixture
def results(tmp_path) -> Path:
    results = write_corpus(
        tmp_path / "results", {"train": ["ann/1", "ann/1+1", "ann/é 'b'"], "val": ["-bo/x/1"]}, 4
    )
    for clip in ("ann/1", "ann/é 'b'", "-bo/x/1"):
        write_wav(results / "audio" / f"{clip}.wav", 0.2)
    return results


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Relative path -> content and modification time, without hidden files."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(f.relative_to(folder)): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


def test_the_layout_of_the_ecosystem(results, tmp_path):
    stats = export(results, tmp_path / "out")
    assert (stats.clips, stats.written, stats.frames) == (4, 4, 16)
    found = snapshot(tmp_path / "out")
    clips = ("ann/1", "ann/1+1", "ann/é 'b'", "-bo/x/1")
    files = {f"{clip}/{name}" for clip in clips for name in ("0.jpg", "3.jpg", "audio.wav")}
    assert files <= set(found)
    assert len(found) == 4 * 5 + 3
    with zipfile.ZipFile(results / "faces/ann/1.zip") as archive:
        assert found["ann/1/2.jpg"][0] == archive.read("2.jpg")
    # Two people of one video share its sound.
    assert found["ann/1+1/audio.wav"][0] == (results / "audio/ann/1.wav").read_bytes()
    assert found["train.txt"][0].decode() == "ann/1\nann/1+1\nann/é 'b'\n"
    assert found["val.txt"][0].decode() == "-bo/x/1\n"


def test_the_parts_of_a_clip_that_is_split_by_time_are_folders_of_their_own(results, tmp_path):
    (results / "filelists/train.txt").write_text("ann/1\t0-1\n")
    (results / "filelists/val.txt").write_text("ann/1\t3-3\n")
    export(results, tmp_path / "out")
    found = snapshot(tmp_path / "out")
    assert found["train.txt"][0] + found["val.txt"][0] == b"ann/1@0-1\nann/1@3-3\n"
    pictures = {name for name in found if name.endswith(".jpg")}
    assert pictures == {"ann/1@0-1/0.jpg", "ann/1@0-1/1.jpg", "ann/1@3-3/3.jpg"}
    (tmp_path / "list.txt").write_text("ann/1\n")
    assert export(results, tmp_path / "two", tmp_path / "list.txt").clips == 2


def test_what_is_there_is_left_alone(results, tmp_path):
    out = tmp_path / "out"
    export(results, out)
    before = snapshot(out / "ann")
    assert export(results, out).written == 0
    shutil.rmtree(out / "-bo")
    write_wav(results / "audio/ann/é 'b'.wav", 0.3)
    (out / "ann/é 'b'/99.jpg").write_bytes(b"of an earlier export")
    with open(out / ".export.jsonl", "a") as journal:
        journal.write('{"clip": "ann/1", "st')  # killed while it wrote
    assert export(results, out).written == 2
    after = snapshot(out / "ann")
    assert {name for name in before if before[name] != after[name]} == {
        f"é 'b'/{name}" for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "audio.wav")
    }
    assert "é 'b'/99.jpg" not in after


def test_an_interrupted_clip_is_written_again(results, tmp_path):
    (tmp_path / "out/ann/1").mkdir(parents=True)
    (tmp_path / "out/ann/1/0.jpg").write_bytes(b"half")
    assert export(results, tmp_path / "out").written == 4
    assert (tmp_path / "out/ann/1/0.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_clips_below_a_clip_are_kept(results, tmp_path):
    shutil.copy(results / "faces/ann/1.zip", results / "faces/-bo/x.zip")
    shutil.copy(results / "audio/ann/1.wav", results / "audio/-bo/x.wav")
    (tmp_path / "list.txt").write_text("-bo/x/1\n-bo/x\n")
    export(results, tmp_path / "out", tmp_path / "list.txt")
    assert (tmp_path / "out/-bo/x/3.jpg").is_file()
    assert (tmp_path / "out/-bo/x/1/3.jpg").is_file()


def test_a_list_chooses(results, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("ann/é 'b' NF\n\n-bo/x/1\n", encoding="utf-8")
    command = ["export", "--results", str(results), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--clips", str(tmp_path / "list.txt")]) == 0
    assert (tmp_path / "out/train.txt").read_text(encoding="utf-8") == "ann/é 'b'\n"
    assert sorted(path.name for path in (tmp_path / "out/ann").iterdir()) == ["é 'b'"]


@pytest.mark.parametrize("name", ["ann/2", "../results/faces/ann/1", "/etc/passwd"])
def test_clips_that_are_not_prepared_stop_it(results, tmp_path, name):
    (tmp_path / "list.txt").write_text(f"ann/1\n{name}\n")
    with pytest.raises(LipsyncError, match="1 of 2 clips are not prepared"):
        export(results, tmp_path / "out", tmp_path / "list.txt")
    assert not (tmp_path / "out").exists()


def test_without_preparation_it_says_what_to_do(tmp_path):
    with pytest.raises(LipsyncError, match="prepare the data first"):
        export(tmp_path, tmp_path / "out")
