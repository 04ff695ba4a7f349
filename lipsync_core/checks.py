"""Is a prepared clip fit for training? Measures against the thresholds of the config."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.timebase import FPS

MIN_FRAMES = 16  # a training window and its reference need more than 15 frames


def loudness(wav: np.ndarray | Iterable[np.ndarray]) -> float:
    """Root-mean-square level in dBFS of a float32 (N,) wave, whole or in blocks; -120 if silent."""
    energy, count = 0.0, 0
    for block in [wav] if isinstance(wav, np.ndarray) else wav:
        energy += float(np.sum(np.square(block, dtype=np.float64)))
        count += len(block)
    rms = math.sqrt(energy / count) if count else 0.0
    return round(20 * math.log10(max(rms, 1e-6)), 2)


def check(measures: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    """Raise ClipError with the first reason for which a clip must be dropped.

    Parameters
    ----------
    measures: `frames` (at 25 fps), `seconds` (picture), `audio_seconds`, `loudness` (dBFS),
        `faces` (frames with a face), `face_px` (median longer side of the face in pixels);
        `span` when the clip is a part of a video.
    limits: `min_seconds`, `max_seconds`, `min_coverage` (0..1), `min_face_px`, `min_loudness`
        (dBFS), `max_length_difference` (seconds between the ends of sound and picture).
    """
    frames, seconds = int(measures["frames"]), float(measures["seconds"])
    audio_seconds = float(measures["audio_seconds"])
    whole = not measures.get("span")  # else a part of a video, whose `seconds` are the video's
    coverage = int(measures["faces"]) / max(frames, 1)
    face_px, level = float(measures["face_px"]), float(measures["loudness"])
    verdicts = (
        (
            frames < MIN_FRAMES or seconds < limits["min_seconds"],
            Reason.TOO_SHORT,
            f"{frames} frames, {seconds:.2f} s; wanted {MIN_FRAMES} frames and "
            f"{limits['min_seconds']} s (check.min_seconds)",
        ),
        (
            seconds > limits["max_seconds"],
            Reason.TOO_LONG,
            f"{seconds:.0f} s; at most {limits['max_seconds']} s (check.max_seconds)",
        ),
        (
            abs(audio_seconds - seconds) > limits["max_length_difference"],
            Reason.LENGTH_MISMATCH,
            f"{seconds:.2f} s of picture, {audio_seconds:.2f} s of sound "
            f"(check.max_length_difference {limits['max_length_difference']})",
        ),
        (
            whole and abs(frames / FPS - seconds) > limits["max_length_difference"],
            Reason.LENGTH_MISMATCH,
            f"{frames} frames could be decoded of {seconds:.2f} s of picture "
            f"(check.max_length_difference {limits['max_length_difference']})",
        ),
        (
            coverage < limits["min_coverage"],
            Reason.LOW_COVERAGE,
            f"a face in {coverage:.0%} of the frames (check.min_coverage "
            f"{limits['min_coverage']:.0%})",
        ),
        (
            face_px < limits["min_face_px"],
            Reason.SMALL_FACE,
            f"face of {face_px:.0f} px (check.min_face_px {limits['min_face_px']})",
        ),
        (
            level < limits["min_loudness"],
            Reason.SILENT,
            f"sound at {level:.0f} dBFS (check.min_loudness {limits['min_loudness']})",
        ),
    )
    for failed, reason, detail in verdicts:
        if failed:
            raise ClipError(reason, detail)
