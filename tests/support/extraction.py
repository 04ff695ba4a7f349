"""Measures of a video by one run of ffmpeg a question: what a single run must agree with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lipsync_core.media.audio import extract_audio
from lipsync_core.media.timestamps import read_timeline
from lipsync_core.media.video import probe


def separate_runs(source: Path, wav_path: Path) -> dict[str, Any]:
    """Probe, timeline and audio, each from a run of its own; writes the audio to `wav_path`.

    The measures are those of `extraction.extract`: pixels, frames a second, seconds, frames.
    """
    seen, timeline = probe(source), read_timeline(source)
    return {
        "width": seen.width,
        "height": seen.height,
        "fps_in": round(float(timeline.fps), 3),
        "seconds": round(timeline.seconds, 3),
        "frames_dropped": timeline.dropped,
        "frames_duplicated": timeline.duplicated,
        "audio_seconds": round(extract_audio(source, wav_path), 3),
    }
