"""`lipsync verify`."""

from __future__ import annotations

import argparse
import json
import sys

from lipsync_core.cli.arguments import Commands


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "verify",
        parents=[shared],
        allow_abbrev=False,
        help="tell whether a file is marked as synthetic, and by whom",
        description="Tell what a media file says about its origin: the metadata that dubbings "
        "carry, and its C2PA manifest (needs the extra c2pa). Exit code 0 when it is validly "
        "marked as synthetic, else 1.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="a video, or any other media file")
    add("--json", action="store_true", help="print everything found as JSON")
    add(
        "--trust",
        metavar="FILE",
        help="PEM file of certificates: ask for a manifest whose signer one of these vouches for",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from lipsync_core.dubbing.verify import verify

    found = verify(options.file, options.trust)
    text = json.dumps(found.as_dict(), indent=2) if options.json else "\n".join(found.lines())
    sys.stdout.write(text + "\n")
    return 0 if found.passed else 1
