"""What can go wrong, in words a user can act on. Light: imported by every other module."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """Why a clip was dropped: the reason codes of every table."""

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
    SEVERAL_PEOPLE = "several_people"
    UNSTEADY = "unsteady"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    CLIPPED = "clipped"
    OUT_OF_SYNC = "out_of_sync"
    DUPLICATE = "duplicate"


class LipsyncError(Exception):
    """A failure to show to the user as one line: the file, the reason, the remedy."""

    exit_code = 1


class ClipError(LipsyncError):
    """One clip cannot be used. The stage records it as dropped and goes on with the others.

    `measures` is what was found out of it all the same (its length, its frame rate).
    """

    def __init__(
        self, reason: Reason, detail: str, measures: Mapping[str, float | int | str] | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.measures = dict(measures or {})
