"""Dubbings beside their source: one small video, the source on the left, the dubbing on the right.

One video instead of two players: both halves are in step in every browser, without scripts.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.media.video import VideoWriter, is_image, probe, read_frames
from lipsync_core.preparation.splits import dubbing_files

log = logging.getLogger(__name__)
HEIGHT, MAX_SECONDS = 360, 10
MAX_FPS = 30


def beside(dub: Mapping[str, object], output: Path, results: Path, data_root: Path) -> bytes:
    """The first 10 s of a dubbing beside its source, an MP4 with the dubbed sound.

    dub: an entry of the config's `dub`; output: its video. b"" for a still picture and where a file
    cannot be read. A source that is shorter than the dubbing starts again, as in the dubbing.
    """
    try:
        entry = {key: str(dub[key]) for key in ("face", "audio")}
        face = dubbing_files(entry, results, data_root)[0]
        if not face.is_file() or is_image(face):
            return b""
        return _encode(face, output)
    except (LipsyncError, OSError, KeyError) as error:
        log.warning("%s: not shown beside its source: %s", output, error)
        return b""


def _encode(face: Path, output: Path) -> bytes:
    found = probe(output)
    fps = min(Fraction(found.fps).limit_denominator(1001), Fraction(MAX_FPS))
    seconds = min(found.seconds, MAX_SECONDS)
    total = max(1, round(seconds * fps))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        video = Path(folder) / "beside.mp4"
        sides = [
            stack.enter_context(contextlib.closing(frames))
            for frames in (_looped(face, fps), read_frames(output, fps, 2 * HEIGHT))
        ]
        writer = None
        for _, (source, ours) in zip(range(total), zip(*sides, strict=False), strict=False):
            frame = np.concatenate([_scaled(source), _scaled(ours)], axis=1)
            if writer is None:
                size = frame.shape[1], frame.shape[0]
                writer = VideoWriter(video, size, fps, output, seconds=seconds, threads=1)
                stack.enter_context(writer)
            writer.write(frame)
        stack.close()
        return video.read_bytes()


def _looped(face: Path, fps: Fraction) -> Iterator[np.ndarray]:
    while True:
        yield from read_frames(face, fps, 2 * HEIGHT)


def _scaled(frame: np.ndarray) -> np.ndarray:
    """The frame at a height of 360 pixels (less where it is smaller), its width even."""
    height = HEIGHT
    width = max(2, round(frame.shape[1] * height / frame.shape[0] / 2) * 2)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
