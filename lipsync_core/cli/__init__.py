"""Command line interface: the console script `lipsync`.

Exit codes: 0 success, 1 the work failed, 2 bad usage, 130 interrupted. Each command imports the
modules that do its work when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from lipsync_core import __version__
from lipsync_core.cli import (
    compare,
    dub,
    evaluate,
    export,
    export_onnx,
    fetch,
    offset,
    serve,
    verify,
)
from lipsync_core.errors import LipsyncError

# In the order of the help.
COMMANDS = (dub, serve, export_onnx, fetch, export, evaluate, offset, compare, verify)
# Packages that an installation may lack -> the extra that brings them.
EXTRAS = {
    "torch": "train",
    "face_alignment": "train",
    "onnxruntime": "onnx",
    "onnx": "onnx",
    "gradio": "serve",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Bad usage raises SystemExit(2), as argparse does."""
    options = build_parser().parse_args(argv)
    debug = getattr(options, "debug", False)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    logging.captureWarnings(True)
    try:
        status = options.run(options)
    except KeyboardInterrupt:
        sys.stderr.write("lipsync: interrupted\n")
        return 130
    except (LipsyncError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"lipsync: error: {' '.join(str(error).split())}\n")
        return 1
    except ModuleNotFoundError as error:
        if debug or error.name not in EXTRAS:
            raise
        remedy = f"run `pip install 'lipsync-pipeline[{EXTRAS[error.name]}]'`"
        sys.stderr.write(f"lipsync: error: {error.name} is not installed; {remedy}\n")
        return 1
    return status or 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; each sets `run`, a function of the parsed options.

    It returns the exit code, or None for 0.
    """
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the whole traceback"
    )
    parser = argparse.ArgumentParser(
        prog="lipsync", description="Lip-sync videos.", parents=[shared], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"lipsync {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_command(commands, shared)
    return parser
