"""Claim: cuts are found where the track of a face is cut, and nowhere else.

a. Clips of one shot each, unchanged: every cut found is false.
b. Joins of two different people, half of them within one corpus (one background).
c. Joins of one person with another place: the same clip later on, mirrored, zoomed and moved.
d. Jump cuts: 0.5 to 2 s removed from one clip; those that move the face by more than a quarter of
   its width (few clips have any, because face tracks keep faces centered; so there are also clips
   that sway before a still background), and those that do not, without a bar: a head moves as far
   by itself.

The videos are encoded once, in a temporary folder.

    python benchmarks/shots.py --clips DIR [--count 120] [--corpora grid lrs3 ...]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.corpus.clips import discover
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.boxes import area
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.tracking.shots import ShotDetector
from lipsync_core.media.video import FPS, VideoWriter, read_frames

CORPORA = ("grid", "lrs3", "lrw", "voxceleb2", "hdtf", "mead", "ravdess")  # one shot each
PART = 40  # frames of a made video on either side of its cut
AWAY = 2  # frames that a cut may be off
FAR = 0.25  # of the face's width
STRIDE = 5  # detect.stride, as shipped


class Made(NamedTuple):
    """A video with one cut: what it is made of, and where the cut is."""

    name: str
    frames: list[np.ndarray]
    cut: int = PART


def frames_of(path: Path, first: int, count: int) -> list[np.ndarray]:
    pictures = read_frames(path, FPS, detection.LONG_SIDE)
    return list(itertools.islice(pictures, first, first + count))


def covering(frames: Sequence[np.ndarray], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Frames scaled and cut to (H, W, 3) `shape`, nothing left free."""
    height, width = shape[:2]
    scale = max(height / frames[0].shape[0], width / frames[0].shape[1])
    move = np.float32([[scale, 0, 0], [0, scale, 0]])
    move[:, 2] = (np.array([width, height]) - scale * np.array(frames[0].shape[1::-1])) / 2
    return [
        cv2.warpAffine(f, move, (width, height), borderMode=cv2.BORDER_REPLICATE) for f in frames
    ]


def elsewhere(frames: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Frames mirrored, zoomed by 1.2 to 1.6 and moved: the same person in another place."""
    height, width = frames[0].shape[:2]
    zoom = rng.uniform(1.2, 1.6)
    left, top = rng.uniform(0.2, 0.8, 2) * (1 - 1 / zoom)
    right = zoom * width * (1 - left) - 1  # mirrored: `left` counts from the other side
    move = np.float32([[-zoom, 0, right], [0, zoom, -zoom * top * height]])
    return [
        cv2.warpAffine(f, move, (width, height), borderMode=cv2.BORDER_REPLICATE) for f in frames
    ]


Found = dict[Path, detection.Detections]


def two_people(found: Found, count: int, rng: np.random.Generator) -> Iterator[Made]:
    paths = [path for path, result in found.items() if result.frames >= PART]
    for number in range(count):
        one = paths[rng.integers(len(paths))]
        others = [path for path in paths if path.parent != one.parent]
        if number % 2:
            others = [path for path in others if corpus(path) == corpus(one)] or others
        other = others[rng.integers(len(others))]
        first, last = (
            frames_of(path, _start(rng, found[path], PART), PART) for path in (one, other)
        )
        yield Made(f"{one.parent.name} {other.parent.name}", first + covering(last, first[0].shape))


def two_places(found: Found, count: int, rng: np.random.Generator) -> Iterator[Made]:
    paths = [path for path, result in found.items() if result.frames >= PART + 20]
    for _ in range(count):
        path = paths[rng.integers(len(paths))]
        length = min(found[path].frames, 3 * PART)
        frames = frames_of(path, _start(rng, found[path], length), length)
        yield Made(path.parent.name, frames[:PART] + elsewhere(frames[-PART:], rng))


def jump_cuts(found: Found, count: int, rng: np.random.Generator, far: bool) -> Iterator[Made]:
    """Of each clip, at most four, of the clip as it is."""
    choices = []
    for path, result in found.items():
        places, own = faces_of(result), []
        for gap in range(FPS // 2, 2 * FPS + 1):
            for start in range(0, result.frames - PART - gap + 1, 2):
                moved = distance(places[start + PART // 2 - 1], places[start + PART // 2 + gap])
                if moved == moved and (moved > FAR) == far:
                    own.append((path, start, gap))
        choices += [own[at] for at in rng.permutation(len(own))[:4]]
    for at in rng.permutation(len(choices))[:count].tolist():
        path, start, gap = choices[at]
        half = PART // 2
        frames = frames_of(path, start, PART + gap)
        yield Made(f"{path.parent.name} {start} {gap}", frames[:half] + frames[-half:], half)


def swaying_jump_cuts(found: Found, count: int, rng: np.random.Generator) -> Iterator[Made]:
    """Clips that sway before a still background, like people in uncropped videos."""
    paths = [path for path, result in found.items() if result.frames >= PART + FPS]
    half = PART // 2
    while count:
        path = paths[rng.integers(len(paths))]
        result = found[path]
        gap = int(rng.integers(FPS // 2, min(2 * FPS, result.frames - PART) + 1))
        start = _start(rng, result, PART + gap)
        places = faces_of(result)[start : start + PART + gap]
        width = float(np.nanmedian(places[:, 2]))
        turns = np.arange(PART + gap) / FPS / rng.uniform(3, 5) + rng.random()
        sway = 0.5 * width * np.sin(2 * np.pi * turns)
        places[:, 0] += sway
        if not distance(places[half - 1], places[half + gap]) > FAR:
            continue
        count -= 1
        scale = 0.6 * min(1.0, detection.LONG_SIDE / max(result.width, result.height))
        frames = swaying(frames_of(path, start, PART + gap), sway * scale)
        yield Made(f"{path.parent.name} sways {gap}", frames[:half] + frames[-half:], half)


def swaying(frames: Sequence[np.ndarray], sway: np.ndarray) -> list[np.ndarray]:
    """Frames at 0.6 of their size, moved by `sway` pixels, on a blurred still of the first one."""
    height, width = frames[0].shape[:2]
    still = cv2.GaussianBlur(frames[0], (0, 0), height / 20)
    inside = cv2.copyMakeBorder(
        np.full((height - 24, width - 24), 255, np.uint8), 12, 12, 12, 12, cv2.BORDER_CONSTANT
    )
    soft = cv2.GaussianBlur(inside, (0, 0), 6)
    made = []
    for frame, shift in zip(frames, sway.tolist(), strict=True):
        move = np.float32([[0.6, 0, 0.2 * width + shift], [0, 0.6, 0.3 * height]])
        moved, mask = (cv2.warpAffine(part, move, (width, height)) for part in (frame, soft))
        share = mask[..., None].astype(np.float32) / 255
        made.append((share * moved + (1 - share) * still).round().astype(np.uint8))
    return made


def corpus(path: Path) -> str:
    return path.parent.name.partition("_")[0]


def _start(rng: np.random.Generator, result: detection.Detections, count: int) -> int:
    return int(rng.integers(max(1, result.frames - count + 1)))


def faces_of(result: detection.Detections) -> np.ndarray:
    """The largest face of each frame, x, y of its center and its width: (n, 3), NaN without one."""
    table = result.faces
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    places = np.full((result.frames, 3), np.nan)
    for row in np.argsort(area(boxes)):  # the largest one last
        x1, y1, x2, y2 = boxes[row]
        places[table["frame"].iloc[row]] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1
    return places


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far a face moved, in its widths."""
    return float(np.hypot(*(other[:2] - one[:2])) / min(one[2], other[2]))


def found_in(path: Path, detector: Detector) -> detection.Detections:
    """The faces and cuts of a video, as preparation finds them with the default settings."""
    finder = ShotDetector()
    ((_, result),) = detection.detect_videos(
        [(path, path)], detector, stride=STRIDE, on_frame=lambda _, frame: finder.add(frame)
    )
    if not isinstance(result, detection.Detections):
        raise result
    return replace(result, cuts=finder.cuts(result))


def tally(kind: str, videos: Iterator[Made], detector: Detector, folder: Path) -> str:
    """The table's row of one kind of video: write each, and detect its cut."""
    hits = wrong = 0
    seconds, missed, count = 0.0, [], 0
    for made in videos:
        count += 1
        path = folder / "made.mp4"
        with VideoWriter(path, made.frames[0].shape[1::-1], threads=1) as writer:
            for frame in made.frames:
                writer.write(frame)
        cuts = found_in(path, detector).cuts
        hit = any(abs(cut - made.cut) <= AWAY for cut in cuts)
        hits += hit
        wrong += len(cuts) - hit
        seconds += len(made.frames) / FPS
        if not hit:
            missed.append(made.name)
    for name in missed:
        print(f"missed: {kind}: {name}", file=sys.stderr)
    return row(kind, count, seconds, f"{hits} of {count}", hits / max(count, 1), wrong, hits)


def row(
    kind: str, count: int, seconds: float, found: str, recall: float, wrong: int, hits: int
) -> str:
    precision = f"{hits / (hits + wrong):.1%}" if hits else "-"
    share = f"{recall:.1%}" if recall == recall else "-"
    return (
        f"| {kind} | {count} | {seconds / 60:.1f} | {found} | {share} | {wrong} | {precision} "
        f"| {600 * wrong / max(seconds, 1e-6):.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="<corpus>_<speaker>/<clip>")
    parser.add_argument("--count", type=int, default=120, help="made videos of each kind")
    parser.add_argument("--corpora", nargs="*", default=CORPORA, help="those of one shot a clip")
    options = parser.parse_args()
    detector = detectors.build("centerface", "cpu")
    every: Found = {}
    for clip in discover(options.clips, 1):
        path = clip.source(options.clips)
        every[path] = found_in(path, detector)
    single = {path: result for path, result in every.items() if corpus(path) in options.corpora}
    print("| kind | videos | minutes | cuts found | recall | false | precision | false in 10 min |")
    print("|---|---|---|---|---|---|---|---|")
    seconds = sum(result.frames for result in single.values()) / FPS
    wrong = sum(len(result.cuts) for result in single.values())
    print(row("a. single shots", len(single), seconds, "-", float("nan"), wrong, 0), flush=True)
    for path, result in every.items():
        if result.cuts:
            print(f"cuts: {path}: {result.cuts}", file=sys.stderr)
    numbers = (np.random.default_rng(seed) for seed in itertools.count(1))
    count, whole = options.count, {path: r for path, r in every.items() if not r.cuts}
    kinds = {
        "b. two people": two_people(single, count, next(numbers)),
        "c. two places": two_places(single, count, next(numbers)),
        "d. jump cuts, far": jump_cuts(whole, count, next(numbers), far=True),
        "d. jump cuts, far, made to sway": swaying_jump_cuts(single, count, next(numbers)),
        "d. jump cuts, near (no bar)": jump_cuts(single, count // 2, next(numbers), far=False),
    }
    with tempfile.TemporaryDirectory() as folder:
        for kind, videos in kinds.items():
            print(tally(kind, videos, detector, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
