"""`lipsync dub`: the options are those of the config's `dub` (`config.DubOptions`)."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from lipsync_core.cli.arguments import (
    Commands,
    add_device_options,
    natural,
    positive,
    rate_or_source,
    seconds,
    spellings,
    truth,
)
from lipsync_core.config import DubOptions

log = logging.getLogger(__name__)
SIDES = {"nargs": 4, "type": int, "metavar": ("TOP", "BOTTOM", "LEFT", "RIGHT")}
TRUTH = {"nargs": "?", "type": truth, "const": True, "metavar": "True|False"}
# How the value of an option is read; its default and its text are the config's.
OPTIONS: dict[str, dict[str, Any]] = {
    "face_select": {"metavar": "FACE"},
    "fps": {"type": rate_or_source, "metavar": "source|RATE"},
    "length": {"choices": ("loop", "ping-pong", "hold", "trim")},
    "start": {"type": seconds, "metavar": "SECONDS"},
    "end": {"type": seconds, "metavar": "SECONDS"},
    "final_audio": {"metavar": "FILE"},
    "pads": SIDES,
    "box": SIDES,
    "resize_factor": {"type": positive, "metavar": "N"},
    "rotate": TRUTH,
    "crop": SIDES,
    "static": TRUTH,
    "max_gap": {"type": natural, "metavar": "N"},
    "blend": {"choices": ("soft", "poisson", "hard")},
    "occluder": {"choices": ("keep", "ignore")},
    "enhancer": {"metavar": "FILE.onnx"},
    "silence": {"choices": ("rest", "follow")},
    "crf": {"type": natural, "metavar": "N"},
    "label": {"metavar": "TEXT"},
    "sign_cert": {"metavar": "FILE.pem"},
    "sign_key": {"metavar": "FILE.pem"},
    "long_side": {"type": positive, "metavar": "N"},
    "batch_size": {"type": positive, "metavar": "N"},
    "face_det_batch_size": {"type": natural, "metavar": "N"},
    "precision": {"choices": ("auto", "float32", "bf16")},
}
PUBLIC_NAMES = {"batch_size": "wav2lip_batch_size"}  # as the public script calls them


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    # Each option's `dest` is the name of an argument of `dubbing.dub.dub`.
    parser = commands.add_parser(
        "dub",
        parents=[shared],
        allow_abbrev=False,
        help="make the lips of a face follow an audio file",
        description="Make the lips of a face (video or still picture) follow an audio file.",
        epilog="A file name that begins with a dash is given as --face=-name.mp4. Frames without "
        "the face, and other people, are kept as they are.",
    )
    add = parser.add_argument
    add("--face", required=True, metavar="FILE", help="video or still picture of the face")
    sound = parser.add_mutually_exclusive_group(required=True)
    sound.add_argument("--audio", metavar="FILE", help="audio file, or a video with audio")
    sound.add_argument(
        "--voice",
        nargs=2,
        action="append",
        dest="voices",
        metavar=("FACE", "FILE"),
        help="a face, as for --face_select, and the audio that it speaks; once for each face",
    )
    add(
        *spellings("checkpoint_path", "checkpoint"),
        dest="checkpoint",
        required=True,
        metavar="FILE",
        help="generator weights, such as wav2lip.pth or wav2lip_gan.pth, or an ONNX file of "
        "`lipsync export-onnx`",
    )
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help="the result, an MP4")
    for name, reading in OPTIONS.items():
        field = DubOptions.model_fields[name]
        text = (field.description or "").replace("\n", " ").replace("%", "%%")
        shown = "" if field.default in (None, "", False) else " (default: %(default)s)"
        flags = spellings(PUBLIC_NAMES.get(name, name))
        add(*flags, dest=name, default=field.default, help=text + shown, **reading)
    smooth = DubOptions.model_fields["smooth"].description
    add("--nosmooth", dest="smooth", action="store_false", help=f"not: {smooth}")
    add(
        *spellings("faces_dir"),
        metavar="DIR",
        help="where the faces that were found are kept for the next audio (default: in the user's "
        "cache)",
    )
    add_device_options(add, detector=None)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.dubbing.dub import dub

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    face, audio, checkpoint, outfile = (
        given.pop(name) for name in ("face", "audio", "checkpoint", "outfile")
    )
    voices = given.pop("voices")
    stats = dub(face, dict(voices) if voices else audio, checkpoint, outfile, **given)
    log.info(
        "%s: %d frames, %.2f s, audio %s", stats.outfile, stats.frames, stats.seconds, stats.sound
    )
