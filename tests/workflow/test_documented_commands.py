"""Every command that the documentation names is tried: with `-n` or `--help` where it is long."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lipsync_core import cli
from lipsync_core.media import ffmpeg_binary
from lipsync_core.pretrained import KNOWN_WEIGHTS
from tests.support.media import write_video

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "data_root/README.md", "models/README.md"]
DOCUMENTS += ["README.ru.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
DOCUMENTS += ["config/README.md", "workflow/container.def"]
COMMENTED = [*sorted((ROOT / "config").glob("*.yaml")), *sorted(ROOT.glob("profiles/*/*.yaml"))]
ELSEWHERE = {"git", "wsl"}  # programs of others, with "..." for an address, or not for Linux
# What stands for something of the user's, and what stands in for it here.
PLACEHOLDERS = {
    "/my/videos": "{work}/videos",
    "/my/results": "{work}/my results",
    "/content/drive/MyDrive/lipsync": "{work}/My Drive/lipsync",
    "[--clips LIST]": "--clips LIST",
    "<output>": "result_voice.mp4",
    "verify FILE": "verify clip.mp4",
}
PROGRAMS = "apptainer|make|snakemake|lipsync|pip|ffmpeg|git|wsl|python3?|bash"
COMMAND = re.compile(rf"(!|\.venv/bin/|\./)\S|({PROGRAMS}) +\S")
OF_SNAKEMAKE = ("--config", "--configfile", "--workflow-profile", "--retries", "--sdm")


def documented() -> dict[str, str]:
    """Command or lone option -> the document that names it."""
    found: dict[str, str] = {}
    for name in [*DOCUMENTS, *(str(path.relative_to(ROOT)) for path in COMMENTED)]:
        text = (ROOT / name).read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
        spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
        for each in (" ".join(each.split()) for each in lines + spans):
            if COMMAND.match(each) or each.startswith("--"):
                found.setdefault(each, name)
    return found


ALL = documented()
OPTIONS = [each for each in ALL if each.startswith("--")]
COMMANDS = {each: shlex.split(each.removeprefix("!")) for each in ALL if each not in OPTIONS}


def by_program(*names: str) -> list[str]:
    """The commands that start one of these programs."""
    return [each for each, words in COMMANDS.items() if Path(words[0]).name in names]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A copy of the project without results, in a folder with a space, and videos beside it."""
    work = tmp_path_factory.mktemp("a user's")
    for name in ("rules", "workflow", "profiles", "config", "data_root", "models"):
        ignored = shutil.ignore_patterns("*.mp4", "*.pth", "*.json", "*.model")
        shutil.copytree(ROOT / name, work / "repo" / name, ignore=ignored)
    for name in ("Snakefile", "Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, work / "repo")
    write_video(work / "videos" / "anna" / "01.mp4", 0.4)
    return work


def filled(text: str, work: Path) -> list[str]:
    """The words of a command, with what stands in for the user's own files."""
    for name, stand_in in PLACEHOLDERS.items():
        path = "{work}" in stand_in
        text = text.replace(name, shlex.quote(stand_in.format(work=work)) if path else stand_in)
    return shlex.split(text.removeprefix("!"))


def has_cores(words: list[str], repo: Path) -> bool:
    """Does a Snakemake command say how many jobs may run? Only a real run asks for it."""
    if "--workflow-profile" in words:
        (profile,) = (repo / words[words.index("--workflow-profile") + 1]).glob("*.yaml")
        if "jobs" in yaml.safe_load(profile.read_text(encoding="utf-8")):
            return True
    return "--cores" in words or "--unlock" in words


def test_every_command_is_known():
    known = by_program(
        "snakemake",
        "lipsync",
        "make",
        "pip",
        "ffmpeg",
        "tensorboard",
        *ELSEWHERE,
        "apptainer",
        "python",
    )
    assert sorted(COMMANDS) == sorted(known)
    assert len(COMMANDS) > 15 and by_program("snakemake") and by_program("lipsync")


def test_python_commands_name_modules():
    for words in map(shlex.split, by_program("python")):
        assert words[1] == "-m" and importlib.util.find_spec(words[2]), words


def test_snakemake_commands_and_presets_plan_their_jobs(work):
    lone = [each for each in OPTIONS if each.split()[0] in OF_SNAKEMAKE and " " in each]
    if not (shutil.which("apptainer") or shutil.which("singularity")):
        lone.remove("--sdm apptainer")  # Snakemake wants the program, even for a dry run
    texts = [*by_program("snakemake"), *(f"snakemake all --cores 8 {each}" for each in lone)]
    presets = sorted(path.stem for path in (ROOT / "config/presets").glob("*.yaml"))
    texts += [f"snakemake all --cores 8 --config preset={name}" for name in presets]
    commands = [filled(text, work)[1:] for text in texts]
    tried = [words if "--unlock" in words else ["-n", *words] for words in commands]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.dry_runs", str(work / "repo")],
        input=json.dumps(tried),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for text, words, (status, said) in zip(texts, commands, json.loads(done.stdout), strict=True):
        assert status == 0, f"{text}\n{said}"
        assert has_cores(words, work / "repo"), f"{text}: on how many cores?"


@pytest.mark.parametrize("text", by_program("lipsync"))
def test_lipsync_commands_are_understood(text, work):
    words = filled(text, work)[1:]
    if len(words) == 1:  # the command's name alone
        with pytest.raises(SystemExit, match="0"):
            cli.build_parser().parse_args([*words, "--help"])
        return
    options = cli.build_parser().parse_args(words)
    if "fetch" in COMMANDS[text]:
        assert options.name in KNOWN_WEIGHTS


def test_lone_options_exist(capsys):
    for command in ("dub", "serve"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
    known = re.findall(r"--[\w-]+", capsys.readouterr().out)
    for each, document in ALL.items():
        if each in OPTIONS:
            assert each.split()[0] in (*known, *OF_SNAKEMAKE), f"{each} in {document}"


@pytest.mark.parametrize("text", by_program("make"))
def test_make_knows_its_targets(text, work):
    if shutil.which("make") is None:
        pytest.skip("no make here")
    done = subprocess.run(
        ["make", "-n", *COMMANDS[text][1:]], cwd=work / "repo", capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize("text", by_program("pip"))
def test_pip_is_given_what_there_is(text):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = re.fullmatch(r"pip install (?:-e )?\.(?:\[([\w,]+)\])?", " ".join(COMMANDS[text]))
    if ours:
        assert ours[1] is None or {*ours[1].split(",")} <= {*project["optional-dependencies"]}
    else:
        extras = itertools.chain(*project["optional-dependencies"].values())
        pinned = {name.partition("==")[0] for name in (*project["dependencies"], *extras)}
        assert COMMANDS[text][-1].removesuffix("-gpu") in pinned


@pytest.mark.parametrize("text", by_program("apptainer"))
def test_an_image_has_its_recipe(text):
    assert (ROOT / COMMANDS[text][-1]).is_file()


@pytest.mark.parametrize("text", by_program("ffmpeg"))
def test_ffmpeg_commands_work(text, tmp_path):
    write_video(tmp_path / "clip.mp4", 0.2).rename(tmp_path / "clip")
    command = [ffmpeg_binary.chosen().path, "-v", "error", *COMMANDS[text][1:]]
    subprocess.run(command, cwd=tmp_path, check=True)


@pytest.mark.parametrize("text", by_program("tensorboard"))
def test_tensorboard_is_installed(text):
    scripts = importlib.metadata.entry_points(group="console_scripts")
    assert "tensorboard" in scripts.names
