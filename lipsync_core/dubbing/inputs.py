"""Checks of what a dubbing is given: files and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipsync_core.config import DubOptions
from lipsync_core.errors import LipsyncError
from lipsync_core.media import content_credentials
from lipsync_core.runtime.files import PathLike

AUTO_BOX = [-1, -1, -1, -1]  # the public script's word for none


def checked_options(given: Mapping[str, Any]) -> DubOptions:
    """The options of a dubbing. Raises LipsyncError that names the first wrong one."""
    values = {key: _plain(value) for key, value in given.items()}
    if values.get("box") == AUTO_BOX:
        values["box"] = None
    try:
        options = DubOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "options"
        message = first["msg"].removeprefix("Value error, ")
        got = f" {values[name]!r}" if name in values else ""
        raise LipsyncError(f"{name}{got}: {message}") from error
    if bool(options.sign_cert) != bool(options.sign_key):
        raise LipsyncError("sign_cert and sign_key: give both, or none")
    return options


def _plain(value: Any) -> Any:
    """A value as a config file would hold it."""
    if isinstance(value, Fraction):
        return float(value) if value.denominator == 1 else str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    return value


def rate_of(options: DubOptions) -> Fraction | None:
    """The constant frame rate that is asked for, exactly; None for the source's own times."""
    return None if options.fps == "source" else Fraction(str(options.fps))


def input_file(path: PathLike, role: str) -> Path:
    """`path`. Raises LipsyncError unless it is a file."""
    if not Path(path).exists():
        raise LipsyncError(f"{path}: no such {role} file; check the name")
    if not Path(path).is_file():  # a pipe could block, and cannot be read twice
        raise LipsyncError(f"{path}: the {role} is no file; write it to one first")
    return Path(path)


def output_file(path: PathLike, inputs: Sequence[Path]) -> Path:
    """`path`. Raises LipsyncError when it is no file name, or that of an input."""
    target = Path(path)
    if target.is_dir() or not target.suffix:
        raise LipsyncError(f"{target}: the result needs a file name such as result_voice.mp4")
    if any(target.exists() and target.samefile(file) for file in inputs):
        raise LipsyncError(f"{target}: the result would replace an input; choose another name")
    return target


def signing_key(options: DubOptions, outfile: Path) -> content_credentials.SigningKey | None:
    """The key that signs the result, None where it is not signed.

    Raises LipsyncError for a wrong key or certificate, and for a result that cannot be signed.
    """
    if not options.sign_cert:
        return None
    content_credentials.media_type(outfile)
    return content_credentials.load_signing_key(options.sign_cert, options.sign_key)
