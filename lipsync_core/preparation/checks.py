"""Is a prepared clip fit for training? Measures against the thresholds of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lipsync_core.config import Check
from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.timestamps import FPS

MIN_FRAMES = 16  # a training window and its reference need more than 15 frames


class Threshold(NamedTuple):
    """Drop a clip whose `measure` is below (or, with `upper`, above) the threshold `key`.

    `text`: the measure in words, "{0}" for its value. A clip that lacks the measure passes.
    """

    measure: str
    key: str
    upper: bool
    reason: Reason
    text: str


# In the order of how much a user can do about them; the first one that fails is the reason.
THRESHOLDS = (
    Threshold("seconds", "min_seconds", False, Reason.TOO_SHORT, "{0:.2f} s"),
    Threshold("seconds", "max_seconds", True, Reason.TOO_LONG, "{0:.0f} s"),
    Threshold(
        "length_difference",
        "max_length_difference",
        True,
        Reason.LENGTH_MISMATCH,
        "sound and picture differ by {0:.2f} s",
    ),
    Threshold(
        "undecoded_seconds",
        "max_length_difference",
        True,
        Reason.LENGTH_MISMATCH,
        "{0:.2f} s of the picture could not be decoded",
    ),
    Threshold(
        "coverage", "min_coverage", False, Reason.LOW_COVERAGE, "a face in {0:.0%} of the frames"
    ),
    Threshold("face_px", "min_face_px", False, Reason.SMALL_FACE, "face of {0:.0f} px"),
    Threshold("tracks", "max_tracks", True, Reason.MULTIPLE_FACES, "{0:.0f} tracks of faces"),
    Threshold(
        "head_speed",
        "max_head_speed",
        True,
        Reason.EXCESSIVE_MOTION,
        "{0:.1f} face widths a second",
    ),
    Threshold("sharpness", "min_sharpness", False, Reason.BLURRED, "sharpness {0:.1f}"),
    Threshold("brightness", "min_brightness", False, Reason.TOO_DARK, "mean brightness {0:.0f}"),
    Threshold("brightness", "max_brightness", True, Reason.TOO_BRIGHT, "mean brightness {0:.0f}"),
    Threshold("loudness", "min_loudness", False, Reason.SILENT, "sound at {0:.0f} dBFS"),
    Threshold("silence_ratio", "max_silence", True, Reason.SILENT, "{0:.0%} of it is silence"),
    Threshold(
        "clipping_ratio", "max_clipping", True, Reason.CLIPPED, "{0:.1%} of the samples are clipped"
    ),
    Threshold(
        "sync_distance", "max_sync_offset", True, Reason.OUT_OF_SYNC, "{0:.0f} frames out of sync"
    ),
    Threshold(
        "sync_confidence",
        "min_sync_confidence",
        False,
        Reason.OUT_OF_SYNC,
        "sync confidence {0:.2f}",
    ),
)


def derived(measures: Mapping[str, Any]) -> dict[str, float]:
    """Measures that need two stages.

    measures: `frames` (at 25 fps), `faces` (frames with a face), `seconds` (of the picture),
    `audio_seconds`; `num_frames` when the clip is one person's part of a video. Numbers or their
    texts.

    Returns coverage (0..1); length_difference, of audio and video in seconds; undecoded_seconds, of
    video that gave no frames. A part counts for itself: its frames and seconds come too.
    """
    frames, seconds = int(measures["frames"]), float(measures["seconds"])
    found: dict[str, float] = {
        "length_difference": round(abs(float(measures["audio_seconds"]) - seconds), 3),
        "undecoded_seconds": round(abs(frames / FPS - seconds), 3),
    }
    if measures.get("num_frames"):
        frames = int(measures["num_frames"])
        found |= {"frames": frames, "seconds": round(frames / FPS, 3)}
    return found | {"coverage": round(int(measures["faces"]) / max(frames, 1), 4)}


def check(measures: Mapping[str, Any], limits: Check) -> None:
    """Raise ClipError with the first reason for which a clip must be dropped.

    Parameters
    ----------
    measures: `frames` (at 25 fps) and the measures of `THRESHOLDS`, numbers or their texts.
    limits: the thresholds that `THRESHOLDS` name; one that is None does not count.
    """
    frames = int(measures["frames"])
    if frames < MIN_FRAMES:
        raise ClipError(Reason.TOO_SHORT, f"{frames} frames; training needs {MIN_FRAMES}")
    values = dict(measures)
    if values.get("sync_offset") not in (None, ""):
        values["sync_distance"] = abs(float(values["sync_offset"]))
    for threshold in THRESHOLDS:
        value, bound = values.get(threshold.measure), getattr(limits, threshold.key)
        if value in (None, "") or bound is None:
            continue
        number = float(value)
        if number > bound if threshold.upper else number < bound:
            said = f"{threshold.text.format(number)} (check.{threshold.key} {bound})"
            raise ClipError(threshold.reason, said)
