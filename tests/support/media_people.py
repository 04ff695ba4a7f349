"""A made-up video of two people in three shots, and where each of them truly is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.demo.photos import photo_path
from lipsync_core.faces.crops import crop_box
from lipsync_core.media.video import VideoWriter
from tests.support.media import write_wav

SIZE = (384, 216)  # width, height of the video
SIDE = 96  # pixels of a pasted portrait
CUTS = (50, 80)
FRAMES = 120
# Where a person's way in a shot leads: centers of the pasted portrait, x and y.
Paths = dict[str, dict[int, tuple[tuple[float, float], ...]]]
PATHS: Paths = {
    "collins": {0: ((62, 92), (322, 100)), 2: ((322, 116), (300, 110))},
    "hopper": {0: ((322, 120), (62, 112)), 1: ((322, 100), (310, 104)), 2: ((66, 100), (84, 106))},
}


@cache
def portraits() -> dict[str, np.ndarray]:
    """Two public-domain faces, uint8 (SIDE, SIDE, 3) BGR."""
    files = {
        "collins": (photo_path("collins"), (0, 230, 110, 340)),
        "hopper": (
            photo_path("hopper"),
            (10, 350, 90, 430),
        ),
    }
    pictures = {}
    for name, (path, (top, bottom, left, right)) in files.items():
        cut = cv2.imread(str(path))[top:bottom, left:right]
        pictures[name] = cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return pictures


# One shot each in which one covers the other for a while.
SLOW_PASS: Paths = {
    "collins": {0: ((132, 100), (228, 100))},
    "hopper": {0: ((250, 104), (120, 104))},
}
TURN_BACK: Paths = {
    "collins": {0: ((62, 100), (192, 100), (62, 100))},
    "hopper": {0: ((322, 100), (192, 100), (322, 100))},
}


def place(person: str, frame: int, paths: Paths = PATHS) -> tuple[float, float] | None:
    """The center of a person's portrait in a frame; None when they are not in the shot."""
    edges = (0, *CUTS, FRAMES)
    shot = sum(frame >= cut for cut in CUTS)
    if shot not in paths[person]:
        return None
    points = np.array(paths[person][shot])
    share = (frame - edges[shot]) / (edges[shot + 1] - edges[shot] - 1)
    x, y = (np.interp(share, np.linspace(0, 1, len(points)), axis) for axis in points.T)
    return float(x), float(y)


def draw(frame: int, paths: Paths = PATHS) -> np.ndarray:
    """One frame, uint8 (216, 384, 3) BGR. The second person passes in front of the first."""
    shot = sum(frame >= cut for cut in CUTS)
    width, height = SIZE
    ramp = np.linspace(0, 60, width, dtype=np.float32)[None, :, None]
    base = np.float32([(90, 60, 40), (40, 90, 60), (60, 50, 110)][shot])
    picture = (np.zeros((height, width, 3), np.float32) + base + ramp).astype(np.uint8)
    for person, portrait in portraits().items():
        center = place(person, frame, paths)
        if center is not None:
            move = np.float32([[1, 0, center[0] - SIDE / 2], [0, 1, center[1] - SIDE / 2]])
            cv2.warpAffine(portrait, move, SIZE, dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def write_people(path: Path, paths: Paths = PATHS, frames: int = FRAMES) -> Path:
    """The video with a tone, as MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voice = write_wav(path.parent / ".voice.wav", frames / 25)
    with VideoWriter(path, SIZE, audio=voice, threads=1) as writer:
        for frame in range(frames):
            writer.write(draw(frame, paths))
    voice.unlink()
    return path


def crops_from(frames: np.ndarray) -> Callable[..., Iterator[tuple[int, int, np.ndarray]]]:
    """A stand-in for `crops.iter_crops` that cuts boxes from frames (n, H, W, 3) in memory."""

    def iter_crops(_path, tracks, *_args, **_options):
        for index, frame in enumerate(frames):
            for number, track in enumerate(tracks):
                for row in np.flatnonzero(track.frames == index).tolist():
                    yield number, row, crop_box(frame, track.boxes[row]).copy()

    return iter_crops
