"""`lipsync offset`."""

from __future__ import annotations

import argparse

from lipsync_core.cli.arguments import Commands, add_device_options, with_default


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "offset",
        parents=[shared],
        allow_abbrev=False,
        help="tell by how much sound and picture are apart",
        description="Tell for each face of videos by how many frames its picture comes late or "
        "early, how sure that is, and whether it grows along the video (drift). Measured by "
        "--model, else by syncnet_v2.model, else by a SyncNet of --results.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="video files with audio")
    add("--model", metavar="FILE", help="syncnet_v2.model or a SyncNet checkpoint")
    add("--results", default="results", metavar="DIR", help=with_default("results with a SyncNet"))
    add("--outfile", metavar="FILE", help="write a CSV table as well")
    add_device_options(add)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.evaluation import offsets

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    offsets.run(given.pop("files"), **given)
