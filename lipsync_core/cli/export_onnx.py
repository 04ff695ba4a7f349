"""`lipsync export-onnx`."""

from __future__ import annotations

import argparse
import logging

from lipsync_core.cli.arguments import Commands, spellings

log = logging.getLogger(__name__)


def add_command(commands: Commands, shared: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export-onnx",
        parents=[shared],
        allow_abbrev=False,
        help="write a generator as an ONNX file",
        description="Write the generator of a checkpoint as an ONNX file, which `lipsync dub "
        "--checkpoint` takes where torch is not installed. Its metadata names the checkpoint, the "
        "sizes and the licence.",
    )
    add = parser.add_argument
    add(
        *spellings("checkpoint_path", "checkpoint"),
        dest="checkpoint",
        required=True,
        metavar="FILE",
        help="generator weights, such as wav2lip_gan.pth",
    )
    add("--outfile", required=True, metavar="FILE", help="ONNX file to write")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lipsync_core.dubbing.onnx_export import export_onnx

    facts = export_onnx(options.checkpoint, options.outfile)
    log.info("%s: %s pixels, width %s", options.outfile, facts["image_size"], facts["width"])
