"""What makes the workflow usable by others: catalog, module import, pinned environment."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.support.media import write_video


@pytest.fixture
def videos(tmp_path):
    for speaker in ("ann", "bob"):
        write_video(tmp_path / "data" / speaker / "1.mp4", 0.2)
    return tmp_path / "data"


def dry_run(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_catalog_finds_what_it_looks_for(root):
    described = yaml.safe_load((root / ".snakemake-workflow-catalog.yml").read_text())
    assert set(described["usage"]) >= {"mandatory-flags", "software-stack-deployment", "report"}
    assert (root / "config/README.md").is_file()
    assert 'include: "../Snakefile"' in (root / "workflow/Snakefile").read_text()


def test_the_workflow_is_imported_as_a_module(root, videos, tmp_path):
    other = tmp_path / "other project"
    other.mkdir()
    config = {"data_root": str(videos), "detector": "centerface"}
    (other / "Snakefile").write_text(
        f'module lipsync:\n    snakefile: "{root}/workflow/Snakefile"\n    config: {config!r}\n\n'
        "use rule * from lipsync as lipsync_*\n"
    )
    done = dry_run(other, "lipsync_all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^lipsync_train_generator +2$", done.stdout + done.stderr, re.M)


def test_the_image_is_built_from_all_that_the_package_names(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    recipe = (root / "workflow/container.def").read_text()
    copied = re.findall(r"^    (\S+) /opt/lipsync/\1$", recipe, re.M)
    needed = {"pyproject.toml", "lipsync_core", project["readme"], *project["license-files"]}
    assert needed <= set(copied)
    assert all((root / name).exists() for name in copied)


def test_the_environment_is_pinned_to_the_last_package(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", pin) for pin in pins)
    for requirement in wanted:
        name, _, version = requirement.partition("==")
        if name.startswith("lipsync-pipeline"):
            continue
        assert f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}" in pins
    assert len(pins) > len(wanted) + 50  # the others are dependencies of dependencies
