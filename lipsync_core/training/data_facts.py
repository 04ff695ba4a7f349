"""What is measured of the training clips: minutes of speech, speakers, sync, pose, sharpness.

Light: reads the columns of clips.csv; the data check stores the facts in data_check.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.runtime.tables import Row, read_lines

UNKNOWN, NOT_MEASURED, UNTRUSTED, MEASURED = "unknown", "not measured", "untrusted", "measured"
MIN_AGREEMENT = 0.5  # of a clip whose offset counts; see docs/sync.md
MIN_SYNC_CLIPS = 8  # with such an offset, to tell anything about the others
MAX_IN_SYNC = 1  # frames
# A median turn beyond which the mouth is seen from the side (`check: talkvid` drops from 45 on),
# and a sharpness below all of 153 real clips (29 to 676).
TURNED_DEGREES, BLURRED = 45.0, 25.0


@dataclass(frozen=True)
class DataFacts:
    """What is known about the training clips.

    speakers, minutes: their number and minutes of video; minutes 0: unknown.
    seen: the validation speakers are among the training speakers.
    speech_minutes: of speech according to the voice activity detection; None: not measured.
    sync: "measured"; "not measured" (`sync.correct: off`, or too few clips with a certain offset);
    "untrusted" (the network that should measure it was too weak, sync_auc is its AUC); "unknown".
    sync_clips: clips with a certain offset. in_sync: their share within one frame, 0..1.
    drifting: share of the measured clips whose offset grows. turned, blurred: share of clips whose
    face is turned away or blurred; 0 where it is not measured.
    """

    speakers: int = 0
    minutes: float = 0.0
    seen: bool = False
    speech_minutes: float | None = None
    sync: str = UNKNOWN
    sync_auc: float | None = None
    sync_clips: int = 0
    in_sync: float = 0.0
    drifting: float = 0.0
    turned: float = 0.0
    blurred: float = 0.0

    @property
    def amount(self) -> float:
        """Minutes of speech, or of video where speech is not measured."""
        return self.minutes if self.speech_minutes is None else self.speech_minutes

    @property
    def alone(self) -> bool:
        """Whether there is one speaker, who is also the validation speaker."""
        return self.speakers == 1 and self.seen

    @property
    def people(self) -> str:
        """ "109 speakers" """
        return f"{self.speakers} speaker{'s' * (self.speakers != 1)}"

    @property
    def text(self) -> str:
        """ "10 min of speech of 109 speakers" """
        kind = "video" if self.speech_minutes is None else "speech"
        known = f"{duration(self.amount)} of {kind} of {self.people}"
        return known if self.minutes else self.people

    @property
    def sync_text(self) -> str:
        """Sync of the clips in words; "" where nothing is known."""
        if self.sync == MEASURED:
            return (
                f"{self.in_sync:.0%} of {self.sync_clips} measured clips are in sync within one "
                "frame"
            )
        if self.sync == UNTRUSTED:
            return f"sync could not be measured (the network's AUC is {self.sync_auc or 0.5:.2f})"
        return "sync of the clips is not measured" if self.sync == NOT_MEASURED else ""


def duration(minutes: float) -> str:
    """ "44 min", "4.1 min" or "2.0 h" """
    if minutes >= 100:
        return f"{minutes / 60:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.1f} min"


def known_facts(data_check: Mapping[str, Any]) -> DataFacts | None:
    """The facts in a data_check.json; None where it has none."""
    return DataFacts(**data_check["data"]) if data_check.get("data") else None


def measured_facts(
    results: str | Path, clips: Iterable[tuple[str, float]], speakers: int, seen: bool
) -> DataFacts:
    """The facts of training clips.

    Parameters
    ----------
    results: folder of the prepared data; without a clips.csv in it only the amount is known.
    clips: id and seconds of each training clip, or part of one.
    """
    listed = list(clips)
    minutes = sum(seconds for _, seconds in listed) / 60
    path = Path(results) / "filelists" / "clips.csv"
    if not path.is_file():
        return DataFacts(speakers, minutes, seen)
    rows = read_columns(path, {clip for clip, _ in listed})
    heard = [(_number(rows[clip], "speech_ratio"), sec) for clip, sec in listed if clip in rows]
    heard = [(ratio, seconds) for ratio, seconds in heard if not np.isnan(ratio)]
    total = sum(seconds for _, seconds in heard)
    # Clips without the measure count as having as much speech as the others.
    share = sum(ratio * seconds for ratio, seconds in heard) / total if total else None
    used = list(rows.values())
    return DataFacts(
        speakers,
        minutes,
        seen,
        speech_minutes=None if share is None else share * minutes,
        **_sync_facts(Path(results), used),
        turned=_share_of([abs(_number(row, "yaw_median")) for row in used], above=TURNED_DEGREES),
        blurred=_share_of([-_number(row, "sharpness") for row in used], above=-BLURRED),
    )


COLUMNS = (
    *("clip", "speech_ratio", "sync_offset", "sync_agreement", "sync_drift"),
    *("yaw_median", "sharpness"),
)


def read_columns(path: Path, ids: set[str]) -> dict[str, Row]:
    """Clip -> the columns of clips.csv that `measured_facts` uses, of the clips `ids`.

    The whole table of a large corpus, with its fingerprints, would take gigabytes.
    """
    lines = read_lines(path)
    header = next(lines, [])
    places = {name: header.index(name) for name in COLUMNS if name in header}
    rows = ({name: cells[k] for name, k in places.items() if k < len(cells)} for cells in lines)
    return {row["clip"]: row for row in rows if row.get("clip") in ids}


def _sync_facts(results: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """The fields about sync."""
    summary = results / "sync" / "bootstrap" / "summary.json"
    measured = [row for row in rows if row.get("sync_offset")]
    if not measured and summary.is_file():
        found = json.loads(summary.read_text(encoding="utf-8"))
        if not found.get("trusted", True):
            return {"sync": UNTRUSTED, "sync_auc": found.get("auc")}
    offsets = certain_offsets(measured)
    if len(offsets) < MIN_SYNC_CLIPS:
        return {"sync": NOT_MEASURED}
    return {
        "sync": MEASURED,
        "sync_clips": len(offsets),
        "in_sync": float(np.mean(np.abs(offsets) <= MAX_IN_SYNC)),
        "drifting": _share_of([abs(_number(row, "sync_drift")) for row in measured], above=0),
    }


def certain_offsets(rows: Iterable[Row]) -> list[int]:
    """The offsets in frames of the rows of clips.csv in which they are certain."""
    return [
        round(float(row["sync_offset"]))
        for row in rows
        if row.get("sync_offset") and not _number(row, "sync_agreement") < MIN_AGREEMENT
    ]


def _share_of(values: Sequence[float], above: float) -> float:
    """Share of the numbers above a bound among those that are known; 0 if none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(np.array(known) > above)) if known else 0.0


def _number(row: Row, name: str) -> float:
    """A cell as a number, nan where it is empty or missing."""
    return float(row.get(name) or "nan")
