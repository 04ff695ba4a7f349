"""`lipsync dub`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import Any

from lipsync_core.cli.arguments import (
    Commands,
    add_device_options,
    positive,
    rate_or_source,
    spellings,
    truth,
    with_default,
)

log = logging.getLogger(__name__)


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
        "a face are kept as they are. A video keeps its frame rate; one that is shorter than the "
        "audio starts again from its beginning.",
    )
    add = parser.add_argument
    add("--face", required=True, metavar="FILE", help="video or still picture of the face")
    add("--audio", required=True, metavar="FILE", help="audio file, or a video with audio")
    add(
        *spellings("checkpoint_path", "checkpoint"),
        dest="checkpoint",
        required=True,
        metavar="FILE",
        help="generator weights, such as wav2lip.pth or wav2lip_gan.pth",
    )
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help=with_default())
    _add_frame_options(add)
    _add_model_options(add)
    parser.set_defaults(run=_run)


def _add_frame_options(add: Callable[..., Any]) -> None:
    """Options that choose the frames and the faces in them."""
    sides = {"nargs": 4, "type": int, "metavar": ("TOP", "BOTTOM", "LEFT", "RIGHT")}
    add(
        "--static",
        nargs="?",
        type=truth,
        const=True,
        default=False,
        metavar="True|False",
        help="use the first frame of a video only",
    )
    add(
        "--fps",
        type=rate_or_source,
        default="source",
        metavar="source|RATE",
        help=with_default("frame rate; source is the video's own, and 25 for a still picture"),
    )
    add(
        "--pads",
        **sides,
        default=(0, 10, 0, 0),
        help="pixels added to the detected face box; include the chin (default: 0 10 0 0)",
    )
    add(
        "--box",
        **sides,
        help="use this constant face box and detect nothing, for a face that cannot be found and "
        "hardly moves; in the pixels left by the options below",
    )
    add(
        *spellings("resize_factor"),
        type=positive,
        default=1,
        metavar="N",
        help=with_default("divide width and height by this first"),
    )
    add("--rotate", action="store_true", help="then turn by 90 degrees clockwise")
    add(
        "--crop",
        **sides,
        help="then cut this region out, for one of several faces; -1 is the frame's own edge",
    )


def _add_model_options(add: Callable[..., Any]) -> None:
    """Options of the detector, the generator and the blending."""
    add(
        "--nosmooth",
        dest="smooth",
        action="store_false",
        help="do not smooth the face boxes over time",
    )
    add(
        "--blend",
        choices=("soft", "hard"),
        default="soft",
        help=with_default("blend the mouth in softly, or paste the whole rectangle"),
    )
    for name, dest, default, text in (
        ("wav2lip_batch_size", "batch_size", 128, "largest batch of the generator"),
        ("face_det_batch_size", "face_det_batch_size", 16, "batch of the face detector"),
        (
            "long_side",
            "long_side",
            480,
            "scale frames down to this to find faces; more finds smaller",
        ),
    ):
        number = {"type": positive, "default": default, "metavar": "N"}
        add(*spellings(name), dest=dest, **number, help=with_default(text))
    add_device_options(add)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.dubbing.dub import dub

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    files = [given.pop(name) for name in ("face", "audio", "checkpoint", "outfile")]
    stats = dub(*files, **given)
    log.info("%s: %d frames, %.2f s", stats.outfile, stats.frames, stats.seconds)
