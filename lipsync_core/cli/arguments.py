"""Parsers of values, and options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Commands = argparse._SubParsersAction


def add_device_options(add: Callable[..., Any], detector: str | None = "auto") -> None:
    """Options of the detector (with its default), the weights and the processor."""
    add(
        "--detector",
        choices=("auto", "s3fd", "centerface"),
        default=detector,
        help=with_default(
            "face detector; auto is S3FD where its weights are there, else CenterFace"
        ),
    )
    add("--models", default="models", metavar="DIR", help=with_default("folder of public weights"))
    add("--device", default="auto", help=with_default("auto, cpu, cuda, cuda:1, mps"))


def spellings(*names: str) -> list[str]:
    """The spellings --a_b and --a-b of every name."""
    return list(dict.fromkeys(f"--{s}" for n in names for s in (n, n.replace("_", "-"))))


def with_default(text: str = "result") -> str:
    """A help text with the default value behind it."""
    return f"{text} (default: %(default)s)"


def _number(parse: Callable[[str], Fraction | int | float], low: int, high: float, wanted: str):
    def convert(text: str) -> Fraction | int | float:
        try:
            value = parse(text)
        except (ValueError, ZeroDivisionError) as error:
            raise argparse.ArgumentTypeError(f"{text!r}: wanted {wanted}") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: wanted {wanted}")
        return value

    return convert


_rate = _number(Fraction, 1, 120, "source or a rate from 1 to 120, such as 25 or 30000/1001")


def rate_or_source(text: str) -> Fraction | str:
    """A frame rate from 1 to 120, or "source"."""
    return text if text == "source" else _rate(text)


seconds = _number(float, 0, float("inf"), "seconds")
natural = _number(int, 0, float("inf"), "a whole number from 0")
positive = _number(int, 1, float("inf"), "a whole number from 1")
port = _number(int, 0, 65535, "a port from 0 to 65535")


def truth(text: str) -> bool:
    """A truth value, spelled in one of the usual ways."""
    # The public script takes any text here; "--static False" must not mean True.
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r}: wanted True or False")
    return text.lower() in ("true", "1", "yes")
