"""`lipsync fetch`."""

from __future__ import annotations

import argparse
import logging

from lipsync_core.cli.arguments import Commands, with_default

log = logging.getLogger(__name__)


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fetch",
        parents=[shared],
        allow_abbrev=False,
        help="download public weights and check them",
        description="Download public weights, check their SHA-256, and put them into a folder. A "
        "file that is there already is kept.",
    )
    parser.add_argument("name", metavar="NAME", help="such as s3fd.pth or wav2lip_gan.pth")
    parser.add_argument(
        "--models", default="models", metavar="DIR", help=with_default("the folder")
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.pretrained import fetch_weights

    log.info("%s", fetch_weights(options.name, options.models))
