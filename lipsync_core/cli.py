"""Command line interface: the console script `lipsync`.

Exit codes: 0 success, 1 the work failed, 2 bad usage, 130 interrupted. Each command imports the
modules that do its work when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_core import __version__
from lipsync_core.errors import LipsyncError

log = logging.getLogger(__name__)
Commands = argparse._SubParsersAction


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Bad usage raises SystemExit(2), as argparse does."""
    options = build_parser().parse_args(argv)
    debug = getattr(options, "debug", False)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    logging.captureWarnings(True)
    try:
        options.run(options)
    except KeyboardInterrupt:
        sys.stderr.write("lipsync: interrupted\n")
        return 130
    except (LipsyncError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"lipsync: error: {' '.join(str(error).split())}\n")
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; each sets `run`, a function of the parsed options."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the whole traceback"
    )
    parser = argparse.ArgumentParser(
        prog="lipsync", description="Lip-sync videos.", parents=[shared], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"lipsync {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_dub(commands, shared)
    _add_fetch(commands, shared)
    _add_export(commands, shared)
    _add_evaluate(commands, shared)
    _add_offset(commands, shared)
    _add_compare(commands, shared)
    return parser


def _add_dub(commands: Commands, shared: argparse.ArgumentParser) -> None:
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
        *_spellings("checkpoint_path", "checkpoint"),
        dest="checkpoint",
        required=True,
        metavar="FILE",
        help="generator weights, such as wav2lip.pth or wav2lip_gan.pth",
    )
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help=_default())
    _add_frame_options(add)
    _add_model_options(add)
    parser.set_defaults(run=_dub)


def _add_frame_options(add: Callable[..., Any]) -> None:
    """Options that choose the frames and the faces in them."""
    sides = {"nargs": 4, "type": int, "metavar": ("TOP", "BOTTOM", "LEFT", "RIGHT")}
    add(
        "--static",
        nargs="?",
        type=_truth,
        const=True,
        default=False,
        metavar="True|False",
        help="use the first frame of a video only",
    )
    add(
        "--fps",
        type=_rate_or_source,
        default="source",
        metavar="source|RATE",
        help=_default("frame rate; source is the video's own, and 25 for a still picture"),
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
        *_spellings("resize_factor"),
        type=_positive,
        default=1,
        metavar="N",
        help=_default("divide width and height by this first"),
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
        help=_default("blend the mouth in softly, or paste the whole rectangle"),
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
        number = {"type": _positive, "default": default, "metavar": "N"}
        add(*_spellings(name), dest=dest, **number, help=_default(text))
    _add_device_options(add)


def _add_device_options(add: Callable[..., Any]) -> None:
    """Options of the detector, the weights and the processor."""
    add(
        "--detector",
        choices=("auto", "s3fd", "centerface"),
        default="auto",
        help=_default("face detector; auto is S3FD where its weights are there, else CenterFace"),
    )
    add("--models", default="models", metavar="DIR", help=_default("folder of public weights"))
    add("--device", default="auto", help=_default("auto, cpu, cuda, cuda:1, mps"))


def _dub(options: argparse.Namespace) -> None:
    from lipsync_core.dubbing.dub import dub

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    files = [given.pop(name) for name in ("face", "audio", "checkpoint", "outfile")]
    stats = dub(*files, **given)
    log.info("%s: %d frames, %.2f s", stats.outfile, stats.frames, stats.seconds)


def _add_fetch(commands: Commands, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "fetch",
        parents=[shared],
        allow_abbrev=False,
        help="download public weights and check them",
        description="Download public weights, check their SHA-256, and put them into a folder. A "
        "file that is there already is kept.",
    )
    parser.add_argument("name", metavar="NAME", help="such as s3fd.pth or wav2lip_gan.pth")
    parser.add_argument("--models", default="models", metavar="DIR", help=_default("the folder"))
    parser.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from lipsync_core.pretrained import fetch_weights

    log.info("%s", fetch_weights(options.name, options.models))


def _add_export(commands: Commands, shared: argparse.ArgumentParser) -> None:
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
    add("--results", default="results", metavar="DIR", help=_default("prepared results"))
    add("--out", required=True, metavar="DIR", help="folder to write to")
    add("--clips", metavar="LIST", help="file of clip ids, one a line (default: all kept clips)")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from lipsync_core.preparation.export import export

    stats = export(options.results, options.out, options.clips)
    log.info(
        "%s: %d clips, %d of them written now (%d frames)",
        *(options.out, stats.clips, stats.written, stats.frames),
    )


def _add_evaluate(commands: Commands, shared: argparse.ArgumentParser) -> None:
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
    add("--results", default="results", metavar="DIR", help=_default("results with SyncNets"))
    add(
        "--outfile",
        default="results/videos/evaluation.json",
        metavar="FILE",
        help=_default("the JSON file; the tables are written beside it"),
    )
    _add_device_options(add)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from lipsync_core.evaluation import videos

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    videos.run(**given)


def _add_offset(commands: Commands, shared: argparse.ArgumentParser) -> None:
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
    add("--results", default="results", metavar="DIR", help=_default("results with a SyncNet"))
    add("--outfile", metavar="FILE", help="write a CSV table as well")
    _add_device_options(add)
    parser.set_defaults(run=_offset)


def _offset(options: argparse.Namespace) -> None:
    from lipsync_core.evaluation import offsets

    given = {name: value for name, value in vars(options).items() if name not in ("run", "debug")}
    offsets.run(given.pop("files"), **given)


def _add_compare(commands: Commands, shared: argparse.ArgumentParser) -> None:
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
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
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


def _spellings(*names: str) -> list[str]:
    """The spellings --a_b and --a-b of every name."""
    return list(dict.fromkeys(f"--{s}" for n in names for s in (n, n.replace("_", "-"))))


def _default(text: str = "result") -> str:
    return f"{text} (default: %(default)s)"


def _number(parse: Callable[[str], Fraction | int], low: int, high: float, wanted: str):
    def convert(text: str) -> Fraction | int:
        try:
            value = parse(text)
        except (ValueError, ZeroDivisionError) as error:
            raise argparse.ArgumentTypeError(f"{text!r}: wanted {wanted}") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: wanted {wanted}")
        return value

    return convert


_rate = _number(Fraction, 1, 120, "source or a rate from 1 to 120, such as 25 or 30000/1001")


def _rate_or_source(text: str) -> Fraction | str:
    return text if text == "source" else _rate(text)


_positive = _number(int, 1, float("inf"), "a whole number from 1")


def _truth(text: str) -> bool:
    # The public script takes any text here; "--static False" must not mean True.
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r}: wanted True or False")
    return text.lower() in ("true", "1", "yes")


if __name__ == "__main__":
    sys.exit(main())
