"""Several dubbings of one face at once: each result is right, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lipsync_core.demo.photos import photo_path
from lipsync_core.dubbing.dub import dub
from lipsync_core.faces import detection
from lipsync_core.media.video import read_frames
from lipsync_core.runtime.files import atomic_path
from tests.support.media import write_wav

pytestmark = pytest.mark.media
PORTRAIT = photo_path("collins")
COMMAND = "import sys; from lipsync_core import cli; sys.exit(cli.main(sys.argv[1:]))"


@pytest.fixture
def sounds(tmp_path):
    """Two sounds of different lengths."""
    return [write_wav(tmp_path / f"{seconds}.wav", seconds) for seconds in (0.4, 0.6)]


def frames_of(path):
    return np.stack(list(read_frames(path)))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_two_processes(tmp_path, checkpoint, sounds):
    """Started together, with an empty cache (5 s: each imports torch)."""
    out, work, cache = (tmp_path / name for name in ("out", "work", "cache"))
    work.mkdir()
    places = {"TMPDIR": str(work), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", COMMAND, "dub", "--detector", "centerface"),
                *("--face", PORTRAIT, "--audio", path, "--checkpoint", checkpoint),
                *("--outfile", out / f"{path.stem}.mp4"),
            ],
            env=os.environ | places,
            stderr=subprocess.PIPE,
        )
        for path in sounds
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert names(out) == ["0.4.mp4", "0.6.mp4"] and not names(work)
    [boxes] = cache.rglob("*.*")
    assert detection.read_boxes(boxes).frames == 1
    for path in sounds:
        alone = tmp_path / "alone.mp4"
        dub(PORTRAIT, path, checkpoint, alone, detector="centerface", faces_dir=tmp_path / "own")
        np.testing.assert_array_equal(frames_of(out / f"{path.stem}.mp4"), frames_of(alone))


@pytest.mark.parametrize("same", [False, True])
def test_threads_of_one_process(tmp_path, checkpoint, sounds, same, monkeypatch):
    """They keep the faces, and where `same` the result, at the same moment under one name."""
    out, kept = tmp_path / "out", tmp_path / "faces"
    together = threading.Barrier(2)
    written = detection.write_boxes

    def write(path, found):
        together.wait(60)
        written(path, found)

    monkeypatch.setattr(detection, "write_boxes", write)

    def run(path):
        target = out / ("one.mp4" if same else f"{path.stem}.mp4")
        return dub(PORTRAIT, path, checkpoint, target, detector="centerface", faces_dir=kept)

    with ThreadPoolExecutor(2) as pool:
        stats = list(pool.map(run, sounds))
    assert [each.frames for each in stats] == [10, 15]
    assert len(names(kept)) == 1 and len(names(out)) == 2 - same
    shown = [len(frames_of(out / name)) for name in names(out)]
    assert shown == [10, 15] or (same and shown[0] in (10, 15))


def test_temporary_names_differ_from_thread_to_thread(tmp_path):
    def name(_):
        with atomic_path(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"a")
            together.wait(60)
            return temporary.name

    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(name, range(2))
    assert first != second and names(tmp_path) == ["a.bin"]
