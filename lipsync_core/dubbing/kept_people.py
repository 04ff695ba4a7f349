"""Which tracks of a file show one person: kept for the next audio, as telling decodes the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import reidentification
from lipsync_core.runtime.files import PathLike, digest, write_text

log = logging.getLogger(__name__)


def merged_tracks(
    path: PathLike, tracks: Sequence[Track], cuts: Sequence[int], kept: Path | None
) -> list[Track]:
    """`reidentification.merge_tracks`, read from `kept` where these tracks were merged before.

    kept: a JSON file, {"tracks": digest, "people": [[numbers of tracks], ...]}; None: nothing is
    kept. One that cannot be written costs the next search only. Raises as `merge_tracks`.
    """
    if len(tracks) < 2 or kept is None:
        return reidentification.merge_tracks(path, tracks, cuts)
    tracks_digest = digest([(track.frames.tolist(), track.boxes.tolist()) for track in tracks])
    groups = _read(kept, tracks_digest)
    if groups is not None:
        return reidentification.joined(tracks, groups)
    merged = reidentification.merge_tracks(path, tracks, cuts)
    content = {"tracks": tracks_digest, "people": _groups(tracks, merged)}
    try:
        write_text(kept, json.dumps(content))
    except OSError as error:  # such as a home folder that cannot be written
        log.info("%s: not kept for the next audio (%s)", kept, error.strerror)
    return merged


def _read(kept: Path, tracks_digest: str) -> list[list[int]] | None:
    """The groups in a file that is about these tracks, else None."""
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        return content["people"] if content["tracks"] == tracks_digest else None
    except (OSError, ValueError, KeyError, TypeError):  # missing, damaged, or another thing
        return None


def _groups(tracks: Sequence[Track], merged: Sequence[Track]) -> list[list[int]]:
    """For each merged track the numbers of the tracks in it."""
    owners = {
        (int(frame), box.tobytes()): number
        for number, person in enumerate(merged)
        for frame, box in zip(person.frames, person.boxes, strict=True)
    }
    groups: list[list[int]] = [[] for _ in merged]
    for number, track in enumerate(tracks):
        groups[owners[int(track.frames[0]), track.boxes[0].tobytes()]].append(number)
    return groups
