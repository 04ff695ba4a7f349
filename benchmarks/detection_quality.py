"""Claim: detection of every few frames, scaled down, gives the track of dense full-size detection.

The mean IoU of the final track with the dense one is at least 0.88, and its jitter is no larger.

    python benchmarks/detection_quality.py --clips a.mp4 b.mp4 [--sweep]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lipsync_core.config import Config
from lipsync_core.faces import batching, detection, detectors
from lipsync_core.faces.boxes import iou
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, tracks
from lipsync_core.runtime import threads

ROOT = Path(__file__).parents[1]
SIDES, STRIDES = (320, 400, 480, 640), (1, 3, 5, 8, 12)


def jitter(track: Track) -> float:
    """Mean absolute second difference of the box's center, in widths of the face, percent."""
    steps = []
    breaks = np.flatnonzero(np.diff(track.frames) > 1) + 1
    for run in np.split(track.boxes.astype(np.float64), breaks):
        if len(run) > 2:
            center = (run[:, :2] + run[:, 2:]) / 2
            width = (run[1:-1, 2] - run[1:-1, 0])[:, None]
            steps.append(np.abs(np.diff(center, 2, axis=0)) / width)
    return 100 * float(np.concatenate(steps).mean()) if steps else 0.0


def agreement(track: Track, dense: Track) -> float:
    """Mean overlap of the two, in the frames that either has; 0 where one has none."""
    ours = dict(zip(track.frames.tolist(), track.boxes, strict=True))
    theirs = dict(zip(dense.frames.tolist(), dense.boxes, strict=True))
    both = ours.keys() & theirs.keys()
    common = sum(iou(ours[frame][None], theirs[frame][None])[0, 0] for frame in both)
    return float(common) / len(ours.keys() | theirs.keys())


def table(clips: list[Path], detector: str, models: Path, sweep: bool) -> Iterator[str]:
    """The lines to print."""
    options = Config()
    detect, track = options.detect.model_dump(), options.track.model_dump()
    engine = detectors.build(detector, "auto", models, threshold=detect["threshold"])
    settings = [(detect["long_side"], detect["stride"])]
    if sweep:
        settings = sorted({*settings, *itertools.product(SIDES, STRIDES)})
    names = "clip", "long side", "stride", "looked at", "IoU", "jitter %", "of dense", "smoothed"
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    sums: dict[tuple[int, int], list[tuple[float, float, float, float]]] = {}
    for clip in clips:
        dense = found(clip, engine, None, 1, detect["motion"])
        raw = main_track(dense, track["max_gap"], 0)
        even = main_track(dense, track["max_gap"], track["smooth"])
        for side, stride in settings:
            ours = found(clip, engine, side, stride, detect["motion"])
            final = main_track(ours, track["max_gap"], track["smooth"])
            row = agreement(final, raw), jitter(final), jitter(raw), jitter(even)
            sums.setdefault((side, stride), []).append(row)
            share = f"{ours.detected_frames}/{ours.frames}"
            yield line(clip.name, side, stride, share, row)
    for (side, stride), rows in sums.items():
        yield line("**mean**", side, stride, "", tuple(np.mean(rows, axis=0)))


def main_track(found: detection.Detections, max_gap: int, smooth: int) -> Track:
    """The largest track, gaps filled and boxes smoothed; empty when there is no face."""
    if not (linked := association.link(found)):
        return Track(np.zeros(0, np.int32), np.zeros((0, 4), np.float32))
    return tracks.fill_and_smooth(tracks.select_track(linked), max_gap, smooth)


def found(
    clip: Path, engine: Detector, side: int | None, stride: int, motion: float
) -> detection.Detections:
    """The faces of one clip; its error is raised."""
    [(_, result)] = detection.detect_videos(
        [(0, clip)], engine, side, batching.CPU_BATCH, stride=stride, motion=motion
    )
    if isinstance(result, Exception):
        raise result
    return result


def line(name: str, side: int, stride: int, share: str, row: tuple[float, ...]) -> str:
    """One row of the table."""
    numbers = " | ".join(f"{value:.3f}" for value in row)
    return f"| {name} | {side} | {stride} | {share} | {numbers} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="talking heads")
    parser.add_argument("--detector", default="centerface", choices=["centerface", "s3fd"])
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sweep", action="store_true", help="other sizes and strides, too")
    options = parser.parse_args()
    threads.limit(options.threads)
    for text in table(options.clips, options.detector, options.models, options.sweep):
        print(text, flush=True)


if __name__ == "__main__":
    main()
