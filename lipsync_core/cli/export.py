"""`lipsync export`."""

from __future__ import annotations

import argparse
import logging

from lipsync_core.cli.arguments import Commands, with_default

log = logging.getLogger(__name__)


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        parents=[shared],
        allow_abbrev=False,
        help="write prepared clips as folders of frames and audio",
        description="Write prepared clips as <speaker>/<clip>/<frame>.jpg and audio.wav, the "
        "layout that other tools train from, and the lists of the splits. Clips that are there "
        "already and have not changed are left alone.",
    )
    add = parser.add_argument
    add("--results", default="results", metavar="DIR", help=with_default("prepared results"))
    add("--out", required=True, metavar="DIR", help="folder to write to")
    add("--clips", metavar="LIST", help="file of clip ids, one a line (default: all kept clips)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.preparation.export import export

    stats = export(options.results, options.out, options.clips)
    log.info(
        "%s: %d clips, %d of them written now (%d frames)",
        *(options.out, stats.clips, stats.written, stats.frames),
    )
