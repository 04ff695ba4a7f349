from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


@pytest.fixture
def folder(root, tmp_path) -> Path:
    """A checkout's Makefile in a folder with a space."""
    folder = tmp_path / "my dir"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, folder)
    return folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The variables that a recipe finds."""
    makefile = "include Makefile\nprint:\n\t@env\n"
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "print"],
        input=makefile,
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_a_home_that_cannot_be_written_is_done_without(folder):
    found = environment(folder, HOME="/dev/null", XDG_CACHE_HOME="")
    assert found["XDG_CACHE_HOME"] == f"{folder}/.cache"


def test_a_home_with_a_space_is_used(folder, tmp_path):
    home = tmp_path / "my home"
    home.mkdir()
    found = environment(folder, HOME=str(home), XDG_CACHE_HOME="")
    assert not found["XDG_CACHE_HOME"] and (home / ".cache").is_dir()


def test_names_are_utf8_in_any_locale(folder):
    assert environment(folder, LC_ALL="C", PYTHONUTF8="0")["PYTHONUTF8"] == "1"
