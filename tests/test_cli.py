"""`lipsync`: options under the names users know, exit codes, one-line errors."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from lipsync_core import __version__, cli, pretrained
from lipsync_core.config import DubOptions
from lipsync_core.dubbing import dub, verify
from lipsync_core.dubbing.faces import FaceSettings
from lipsync_core.errors import LipsyncError
from lipsync_core.media.content_credentials import Credentials

NEEDED = ["dub", "--face", "f.mp4", "--audio", "a.wav", "--checkpoint_path", "c.pth"]


@pytest.fixture
def called(monkeypatch):
    """Replace `dub`; the list of (positional, keyword) arguments it was called with."""
    calls = []

    def stub(*args, **kwargs):
        calls.append((args, kwargs))
        return SimpleNamespace(outfile=args[3], frames=1, seconds=0.04, sound="copied")

    monkeypatch.setattr(dub, "dub", stub)
    return calls


def test_defaults_are_those_of_the_public_script(called):
    assert cli.main(NEEDED) == 0
    (args, options) = called[0]
    assert args == ("f.mp4", "a.wav", "c.pth", "results/result_voice.mp4")
    assert options["pads"] is None  # as in training; 0 10 0 0 for other models
    assert FaceSettings().crop.pads == [0, 10, 0, 0]
    assert options["batch_size"] == 128 and options["face_det_batch_size"] == 0
    assert options["fps"] == "source" and options["resize_factor"] == 1
    assert options["box"] is None and options["crop"] is None
    assert options["smooth"] is True
    assert options["static"] is False and options["rotate"] is False


@pytest.mark.parametrize(
    "extra, name, value",
    [
        (["--pads", "1", "-2", "3", "4"], "pads", [1, -2, 3, 4]),
        (["--box", "-1", "-1", "-1", "-1"], "box", [-1, -1, -1, -1]),
        (["--crop", "0", "-1", "5", "-1"], "crop", [0, -1, 5, -1]),
        (["--fps", "30000/1001"], "fps", Fraction(30000, 1001)),
        (["--fps", "29.97"], "fps", Fraction(2997, 100)),
        (["--fps", "source"], "fps", "source"),
        (["--static"], "static", True),
        (["--static", "True"], "static", True),
        (["--static", "False"], "static", False),
        (["--rotate"], "rotate", True),
        (["--nosmooth"], "smooth", False),
        (["--resize_factor", "2"], "resize_factor", 2),
        (["--resize-factor", "2"], "resize_factor", 2),
        (["--wav2lip_batch_size", "8"], "batch_size", 8),
        (["--face-det-batch-size", "4"], "face_det_batch_size", 4),
        (["--blend", "hard"], "blend", "hard"),
        (["--detector", "s3fd"], "detector", "s3fd"),
    ],
)
def test_option(called, extra, name, value):
    assert cli.main(NEEDED + extra) == 0
    assert called[0][1][name] == value


def test_every_option_is_a_key_of_the_config(called):
    assert cli.main(NEEDED) == 0
    own = {"detector", "models", "device", "faces_dir"}  # top-level keys, and a folder
    assert called[0][1].keys() - own == DubOptions.model_fields.keys()
    for name, field in DubOptions.model_fields.items():
        assert called[0][1][name] == field.default


def test_voices(called):
    argv = [word for word in NEEDED if word not in ("--audio", "a.wav")]
    argv += ["--voice", "index 1", "a.wav", "--voice", "nearest 3,4", "b.wav"]
    assert cli.main(argv) == 0
    assert called[0][0][1] == {"index 1": "a.wav", "nearest 3,4": "b.wav"}


@pytest.mark.parametrize("spelling", ["--checkpoint", "--checkpoint_path", "--checkpoint-path"])
def test_every_spelling_of_the_checkpoint(called, spelling):
    assert cli.main([*NEEDED[:-2], f"{spelling}=-c.pth", "--outfile=-o.mp4"]) == 0
    assert called[0][0][2:] == ("-c.pth", "-o.mp4")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nothing"],
        ["dub"],
        NEEDED[:-2],
        [*NEEDED, "--fps", "0"],
        [*NEEDED, "--fps", "1/0"],
        [*NEEDED, "--fps", "fast"],
        [*NEEDED, "--resize_factor", "0"],
        [*NEEDED, "--wav2lip_batch_size", "x"],
        [*NEEDED, "--pads", "1", "2"],
        [*NEEDED, "--static", "maybe"],
        [*NEEDED, "--blend", "glue"],
        ["fetch"],
    ],
)
def test_bad_usage_is_2(called, argv, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 2
    assert "usage: lipsync" in capsys.readouterr().err
    assert not called


@pytest.mark.parametrize(
    "error", [LipsyncError("a.wav: broken\n  twice"), OSError(28, "disk full")]
)
def test_failure_is_1_and_one_line(monkeypatch, capsys, error):
    monkeypatch.setattr(dub, "dub", _raising(error))
    assert cli.main(NEEDED) == 1
    said = capsys.readouterr().err
    assert said.startswith("lipsync: error: ") and said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("argv", [["--debug", *NEEDED], [*NEEDED, "--debug"]])
def test_debug_shows_the_traceback(monkeypatch, argv):
    monkeypatch.setattr(dub, "dub", _raising(LipsyncError("broken")))
    with pytest.raises(LipsyncError):
        cli.main(argv)


def test_interrupt_is_130(monkeypatch):
    monkeypatch.setattr(dub, "dub", _raising(KeyboardInterrupt()))
    assert cli.main(NEEDED) == 130


def test_missing_input_names_the_file(tmp_path, capsys):
    face = tmp_path / "nobody's face.mp4"
    assert cli.main(["dub", "--face", str(face), "--audio", "a", "--checkpoint", "c"]) == 1
    assert f"{face}: no such face file" in capsys.readouterr().err


def test_fetch(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(pretrained, "fetch_weights", lambda *args: calls.append(args) or tmp_path)
    assert cli.main(["fetch", "s3fd.pth", "--models", str(tmp_path)]) == 0
    assert calls == [("s3fd.pth", str(tmp_path))]


def test_fetch_of_an_unknown_name_fails(tmp_path, capsys):
    assert cli.main(["fetch", "nothing.pth", "--models", str(tmp_path)]) == 1
    assert "nothing.pth" in capsys.readouterr().err


def test_help_needs_no_heavy_module():
    program = (
        "import sys; from lipsync_core.cli import main\n"
        "try: main(['dub', '--help'])\n"
        "finally: print([m for m in ('torch', 'cv2', 'numpy', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--wav2lip_batch_size" in done.stdout and done.stdout.strip().endswith("[]")


def test_version(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert __version__ in capsys.readouterr().out


def _raising(error):
    def stub(*args, **kwargs):
        raise error

    return stub


@pytest.mark.parametrize("passed", [True, False])
def test_the_exit_code_of_verify_tells_what_was_found(monkeypatch, capsys, passed):
    found = verify.Findings(Path("a.mp4"), {"synthetic": True}, Credentials("none"), passed)
    asked = []
    monkeypatch.setattr(verify, "verify", lambda *given: asked.append(given) or found)
    assert cli.main(["verify", "a.mp4"]) == (0 if passed else 1)
    assert capsys.readouterr().out.splitlines() == found.lines()
    cli.main(["verify", "a.mp4", "--trust", "ca.pem", "--json"])
    assert json.loads(capsys.readouterr().out)["passed"] is passed
    assert asked == [("a.mp4", None), ("a.mp4", "ca.pem")]


def test_verify_of_no_media_is_one_line(tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("x")
    assert cli.main(["verify", str(tmp_path / "text.mp4")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
