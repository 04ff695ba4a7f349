from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_core.runtime import interpreter
from tests.support.media import write_video

OPTIONS = ("-s", "repo/Snakefile", "--configfile", "repo/config/config.yaml", "--cores", "1")
CONFIG = ("--config", "data_root=my videos", "results=my results", "shards=1")


@pytest.fixture
def folder(root, tmp_path) -> Path:
    """A checkout with its environment, and a video, in folders whose names have a space."""
    folder = tmp_path / "My Drive (1)"
    for name in ("rules", "workflow", "profiles", "config"):
        shutil.copytree(root / name, folder / "repo" / name)
    shutil.copy(root / "Snakefile", folder / "repo")
    (folder / ".venv").symlink_to(sys.prefix)
    write_video(folder / "my videos" / "анна" / "01.mp4", 0.2)
    return folder


def snakemake(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    python = folder / ".venv" / "bin" / Path(sys.executable).name
    return subprocess.run(
        [python, "-m", "snakemake", *arguments, *OPTIONS, *CONFIG],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_in_a_folder_with_a_space_runs_jobs(folder):
    done = snakemake(folder, "my results/audio/0.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "my results/audio/анна/01.wav").is_file()


def test_the_c_locale_changes_no_name(folder):
    done = snakemake(folder, "-n", "my results/audio/0.csv", LANG="C", LC_ALL="C")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "анна/01" in (folder / "my results/index/clips.tsv").read_text(encoding="utf-8")


def test_a_locale_of_another_encoding_is_refused_in_words(folder):
    # What a Latin-1 locale does, in a locale that every machine has.
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = snakemake(folder, "-n", "my results/audio/0.csv", **plain)
    assert done.returncode == 1
    assert "PYTHONUTF8=1" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_plain_path_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    before = os.environ["PATH"]
    interpreter.use_name_without_spaces()
    assert (sys.executable, os.environ["PATH"]) == ("/usr/bin/python3", before)


def test_a_path_with_a_space_becomes_a_name(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my drive/bin/python3")
    monkeypatch.setenv("PATH", "/bin")
    for _ in range(2):
        interpreter.use_name_without_spaces()
        assert (sys.executable, os.environ["PATH"]) == ("python3", "/my drive/bin:/bin")
