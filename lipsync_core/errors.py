"""Exceptions with messages for users, and the drop reasons. Light: imported by every module."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

# Control characters, line separators, and surrogates, which stand for the bytes of a file name that
# is not UTF-8. None of them fits a line of a UTF-8 table or log.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Reason(StrEnum):
    """Reasons for dropping a clip, as in the column `reason` of every table."""

    UNREADABLE = "unreadable"
    NO_VIDEO = "no_video"
    NO_AUDIO = "no_audio"
    SILENT = "silent"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NO_FACE = "no_face"
    LOW_COVERAGE = "low_coverage"
    SMALL_FACE = "small_face"
    LENGTH_MISMATCH = "length_mismatch"
    TIMED_OUT = "timed_out"
    MULTIPLE_FACES = "multiple_faces"
    EXCESSIVE_MOTION = "excessive_motion"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    CLIPPED = "clipped"
    NO_SPEECH = "no_speech"
    NOISY = "noisy"
    LONG_PAUSE = "long_pause"
    HEAD_POSE = "head_pose"
    SIZE_CHANGE = "size_change"
    OUT_OF_SYNC = "out_of_sync"
    SYNC_DRIFT = "sync_drift"
    SYNC_UNCERTAIN = "sync_uncertain"
    DUPLICATE = "duplicate"


def printable(text: str) -> str:
    """`text` as one line that any UTF-8 file can hold: the rest is written \\xNN or \\uNNNN."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        if 0xDC80 <= code <= 0xDCFF:  # the byte that the file name has
            return f"\\x{code - 0xDC00:02x}"
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return UNPRINTABLE.sub(escape, text)


class LipsyncError(Exception):
    """A failure shown to the user as one line: the file, the reason, the remedy.

    File names may contain any bytes, so each line of the message is made `printable`.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(printable, message.split("\n"))))


class ClipError(LipsyncError):
    """One clip cannot be used. The stage records it as dropped and goes on with the others.

    `measures` are those that were found before (its length, its frame rate).
    """

    def __init__(
        self, reason: Reason, detail: str, measures: Mapping[str, float | int | str] | None = None
    ) -> None:
        self.reason = reason
        self.detail = printable(detail)
        super().__init__(f"{reason}: {self.detail}")
        self.measures = dict(measures or {})


@contextlib.contextmanager
def add_measures(measures: Mapping[str, float | int | str]) -> Iterator[None]:
    """Add `measures` to a ClipError that the block raises."""
    try:
        yield
    except ClipError as error:
        raise ClipError(error.reason, error.detail, measures) from error


class DamagedFile(ClipError):
    """A file that the pipeline wrote for a clip is missing or damaged.

    `path` is that file. `lipsync_core.corpus.journal.report_damage` has the next run make it again.
    """

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(Reason.UNREADABLE, f"{path}: {why}; run again to make it anew")
        self.path = path
