"""`lipsync compare`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lipsync_core.cli.arguments import Commands


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        parents=[shared],
        allow_abbrev=False,
        help="compare the evaluations of two runs",
        description="Compare the evaluations of two results folders: each metric with the 95 % "
        "interval of the difference, paired by clip where both were evaluated on the same clips.",
    )
    add = parser.add_argument
    add("run_a", metavar="RUN_A", help="results folder with an evaluation")
    add("run_b", metavar="RUN_B", help="the other one")
    add("--json", metavar="FILE", help="write the comparison as JSON, too")
    add("--csv", metavar="FILE", help="write the comparison as a table, too")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.evaluation import compare
    from lipsync_core.evaluation.output import rounded
    from lipsync_core.runtime.files import write_text
    from lipsync_core.runtime.tables import write_table

    runs = [compare.read_run(Path(folder)) for folder in (options.run_a, options.run_b)]
    found = compare.compare(*runs)
    sys.stdout.write(compare.text_table(*runs, found) + "\n")
    if options.json:
        write_text(options.json, json.dumps(compare.as_json(*runs, found), indent=2) + "\n")
    if options.csv:
        rows = [rounded(row._asdict()) for row in found]
        write_table(options.csv, [{k: "" if v is None else v for k, v in r.items()} for r in rows])
