"""`lipsync serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lipsync_core.cli.arguments import (
    Commands,
    add_device_options,
    port,
    positive,
    spellings,
    with_default,
)


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        parents=[shared],
        allow_abbrev=False,
        help="serve a page for dubbing in a browser",
        description="Serve a page: drop a face and a sound, click on the face, play and download "
        "the dubbing. One dubbing runs at a time, the others wait. The files of a visit are "
        "removed when its page is closed. Needs the extra serve.",
    )
    add = parser.add_argument
    add(
        *spellings("checkpoint_path", "checkpoint"),
        dest="checkpoint",
        required=True,
        type=Path,
        metavar="FILE",
        help="generator weights, or their export to ONNX",
    )
    add(
        "--host",
        default="127.0.0.1",
        help=with_default("address to listen on; only this machine reaches the default"),
    )
    add("--port", type=port, default=7860, help=with_default("0 takes a free one"))
    add(
        *spellings("max_mb"),
        type=positive,
        default=500,
        metavar="N",
        help=with_default("largest file that is taken, in MB"),
    )
    add(
        *spellings("max_seconds"),
        type=positive,
        default=600,
        metavar="N",
        help=with_default("longest video and sound that are taken"),
    )
    add("--label", default="", metavar="TEXT", help="draw this visible mark on every result")
    for name, what in (("sign_cert", "certificate chain"), ("sign_key", "its private key")):
        text = f"{what} (PEM), which signs every result; see docs/provenance.md"
        add(*spellings(name), default="", metavar="FILE", help=text)
    add_device_options(add, detector=None)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.serve.server import run
    from lipsync_core.serve.settings import ServeSettings
    from lipsync_core.serve.uploads import Limits

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    limits = Limits(given.pop("max_mb") << 20, given.pop("max_seconds"))
    run(ServeSettings(**given, limits=limits))
