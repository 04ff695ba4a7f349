"""Checks of prepared clips: their measures against the thresholds of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lipsync_core.config import CheckConfig, SyncConfig
from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.timestamps import FPS

MAX_CORRECTED_OFFSET = 1  # frames that may remain after a correction
MIN_FRAMES = 16  # a training window and its reference need more than 15 frames


class Threshold(NamedTuple):
    """Drop a clip whose `measure` is below (or, for a key "max_...", above) the threshold `key`.

    `text`: the measure in words, "{0}" for its value. A clip that lacks the measure passes.
    """

    measure: str
    key: str
    reason: Reason
    text: str


# In the order of how much a user can do about them; the first one that fails is the reason.
THRESHOLDS = tuple(
    Threshold(*values)
    for values in (
        ("seconds", "min_seconds", Reason.TOO_SHORT, "{0:.2f} s"),
        ("seconds", "max_seconds", Reason.TOO_LONG, "{0:.0f} s"),
        (
            *("length_difference", "max_length_difference", Reason.LENGTH_MISMATCH),
            "audio and video differ by {0:.2f} s",
        ),
        (
            *("undecoded_seconds", "max_length_difference", Reason.LENGTH_MISMATCH),
            "{0:.2f} s of the video could not be decoded",
        ),
        ("coverage", "min_coverage", Reason.LOW_COVERAGE, "a face in {0:.0%} of the frames"),
        ("face_px", "min_face_px", Reason.SMALL_FACE, "face of {0:.0f} px"),
        ("tracks", "max_tracks", Reason.MULTIPLE_FACES, "{0:.0f} tracks of faces"),
        (
            *("head_speed", "max_head_speed", Reason.EXCESSIVE_MOTION),
            "{0:.1f} face widths a second",
        ),
        ("yaw_p95", "max_yaw", Reason.HEAD_POSE, "the head turns by {0:.0f} degrees"),
        ("pitch_p95", "max_pitch", Reason.HEAD_POSE, "the head nods by {0:.0f} degrees"),
        ("roll_p95", "max_roll", Reason.HEAD_POSE, "the head tilts by {0:.0f} degrees"),
        ("size_change", "max_size_change", Reason.SIZE_CHANGE, "the face's size varies by {0:.0%}"),
        ("sharpness", "min_sharpness", Reason.BLURRED, "sharpness {0:.1f}"),
        ("brightness", "min_brightness", Reason.TOO_DARK, "mean brightness {0:.0f}"),
        ("brightness", "max_brightness", Reason.TOO_BRIGHT, "mean brightness {0:.0f}"),
        ("loudness", "min_loudness", Reason.SILENT, "audio at {0:.0f} dBFS"),
        ("silence_ratio", "max_silence", Reason.SILENT, "{0:.0%} of the audio is silence"),
        ("speech_seconds", "min_speech", Reason.NO_SPEECH, "{0:.2f} s of speech"),
        ("speech_ratio", "min_speech_ratio", Reason.NO_SPEECH, "speech in {0:.0%} of the audio"),
        ("longest_pause", "max_pause", Reason.LONG_PAUSE, "{0:.1f} s without speech"),
        ("signal_mos", "min_signal_mos", Reason.NOISY, "the speech is rated {0:.2f}"),
        ("background_mos", "min_background_mos", Reason.NOISY, "the background is rated {0:.2f}"),
        ("overall_mos", "min_overall_mos", Reason.NOISY, "the audio is rated {0:.2f}"),
        ("clipping_ratio", "max_clipping", Reason.CLIPPED, "{0:.1%} of the samples are clipped"),
        ("sync_distance", "max_sync_offset", Reason.OUT_OF_SYNC, "{0:.0f} frames out of sync"),
        ("sync_confidence", "min_sync_confidence", Reason.OUT_OF_SYNC, "sync confidence {0:.2f}"),
    )
)


def derived(measures: Mapping[str, Any]) -> dict[str, float]:
    """Measures that need two stages.

    measures: `frames` (at 25 fps), `faces` (frames with a face), `seconds` (of the video),
    `audio_seconds`; `num_frames` when the clip is one person's part of a video. Numbers or their
    texts.

    Returns coverage (0..1); length_difference, of audio and video in seconds; undecoded_seconds, of
    video that gave no frames. Of a part also its own frames and seconds.
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


def check(measures: Mapping[str, Any], config: CheckConfig, sync: SyncConfig | None = None) -> None:
    """Raise ClipError with the first reason for which a clip must be dropped.

    Parameters
    ----------
    measures: `frames` (at 25 fps) and the measures of `THRESHOLDS`, numbers or their texts.
    config: the section with the `THRESHOLDS`; one that is None does not count.
    sync: the section `sync`; where it corrects, a clip must be in sync after that.
    """
    frames = int(measures["frames"])
    if frames < MIN_FRAMES:
        raise ClipError(Reason.TOO_SHORT, f"{frames} frames; training needs {MIN_FRAMES}")
    values = dict(measures)
    if values.get("sync_offset") not in (None, ""):
        values["sync_distance"] = abs(float(values["sync_offset"]))
    for threshold in THRESHOLDS:
        value, bound = values.get(threshold.measure), getattr(config, threshold.key)
        if value in (None, "") or bound is None:
            continue
        number = float(value)
        if number > bound if threshold.key.startswith("max_") else number < bound:
            text = threshold.text.format(number)
            raise ClipError(threshold.reason, f"{text} (check.{threshold.key} {bound})")
    if sync is not None and sync.correct == "correct":
        _check_sync(values, config, sync)


def _check_sync(values: Mapping[str, Any], config: CheckConfig, sync: SyncConfig) -> None:
    """Raise ClipError for a clip whose sync could not be corrected, or not be told."""
    if values.get("sync_offset") in (None, ""):
        return  # nothing can be measured: the weights are too weak, which is in the log
    drift, agreement = float(values["sync_drift"]), float(values["sync_agreement"])
    if drift:
        raise ClipError(Reason.SYNC_DRIFT, f"the offset grows by {drift:+.1f} frames in the clip")
    if agreement < sync.min_agreement:
        text = f"{agreement:.0%} of its resamples agree on an offset"
        raise ClipError(Reason.SYNC_UNCERTAIN, f"{text} (sync.min_agreement {sync.min_agreement})")
    if config.max_sync_offset is None and values["sync_distance"] > MAX_CORRECTED_OFFSET:
        text = f"{values['sync_distance']:.0f} frames out of sync after the correction"
        raise ClipError(Reason.OUT_OF_SYNC, text)
