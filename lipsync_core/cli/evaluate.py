"""`lipsync evaluate`."""

from __future__ import annotations

import argparse

from lipsync_core.cli.arguments import Commands, add_device_options, with_default


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        parents=[shared],
        allow_abbrev=False,
        help="measure sync and the mouth of videos",
        description="Measure dubbed or real videos: sync by syncnet_v2 (LSE-D, LSE-C) where its "
        "weights are there and by the SyncNets given, mouth and motion, with 95 % intervals. The "
        "videos of a folder are one system. Writes a JSON, two CSV files and a text table.",
    )
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="video files with audio")
    add(
        "--reference",
        nargs="+",
        default=[],
        metavar="VIDEO",
        help="the real videos, one for each and in the same order",
    )
    add(
        "--checkpoint",
        nargs="+",
        metavar="FILE",
        help="SyncNets that judge (default: those of --results)",
    )
    add("--results", default="results", metavar="DIR", help=with_default("results with SyncNets"))
    add(
        "--outfile",
        default="results/videos/evaluation.json",
        metavar="FILE",
        help=with_default("the JSON file; the tables are written beside it"),
    )
    add_device_options(add)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.evaluation import videos

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    videos.run(**given)
