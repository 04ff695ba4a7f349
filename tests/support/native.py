"""Small videos of every kind, made with ffmpeg, and what PyAV finds in a video."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from lipsync_core.media.ffmpeg import ffmpeg_exe


def run(*arguments: object) -> None:
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def pattern(size: str = "96x64", rate: object = 25, seconds: float = 1) -> list[object]:
    """Input arguments of a moving test pattern."""
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def tone(seconds: float = 1, rate: int = 48_000) -> list[object]:
    return ["-f", "lavfi", "-i", f"sine=d={seconds}:r={rate}"]


class Seen(NamedTuple):
    """The frames of a file by PyAV: their times in seconds, and their samples as stored."""

    times: list[Fraction]
    frames: list[np.ndarray]


def seen(path: Path, layout: str = "yuv420p") -> Seen:
    """Frames as (H * 3 // 2, W) I420 (or another layout); undecodable packets are skipped."""
    times, frames = [], []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in decoded:
                times.append(frame.pts * frame.time_base)
                frames.append(frame.to_ndarray(format=layout))
    return Seen(times, frames)


def packets(path: Path) -> list[bytes]:
    """The packets of the first audio track."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def spans(path: Path) -> dict[str, float]:
    """Where each track ends, in seconds: "video", "audio"."""
    with av.open(str(path)) as container:
        return {
            stream.type: float((stream.start_time + stream.duration) * stream.time_base)
            for stream in container.streams
        }
