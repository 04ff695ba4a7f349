"""Frames of many clips, videos and stills alike, decoded by threads ahead of their use."""

from __future__ import annotations

import itertools
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

import cv2
import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.video import FPS, is_image, probe, read_frames, read_image

NUM_DECODERS = 2  # clips decoded at once: the one in use and the next
Key = TypeVar("Key")
PathLike = str | os.PathLike[str]
SizeOf = Callable[[Key], tuple[int, int] | None]


def open_frames(
    path: PathLike,
    long_side: int | None = None,
    fps: Fraction | int = FPS,
    size: tuple[int, int] | None = None,
    threads: int = 0,
) -> tuple[int, int, Iterator[np.ndarray]]:
    """Full width and height of a video or still picture, and its frames (one for a still).

    `size`: of a video, where it is known already; looking it up means to start a decoder.
    `threads`: of the decoder, 0 for all cores.
    Raises ClipError when it cannot be read; the frames come as from `video.read_frames`.
    """
    if is_image(path):
        picture = read_image(path)
        if picture is None:
            raise ClipError(Reason.UNREADABLE, f"{path}: a picture that cannot be decoded")
        return picture.shape[1], picture.shape[0], iter([downscale(picture, long_side)])
    return *(size or _size(path)), read_frames(path, fps, long_side, threads=threads)


def _size(path: PathLike) -> tuple[int, int]:
    looked = probe(path)
    return looked.width, looked.height


def downscale(picture: np.ndarray, long_side: int | None) -> np.ndarray:
    """A picture (H, W, 3) scaled down, never up, to `long_side` pixels of its longer side."""
    height, width = picture.shape[:2]
    scale = min(1.0, long_side / max(height, width)) if long_side else 1.0
    if scale == 1.0:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def open_region(
    path: PathLike,
    box: Sequence[float],
    long_side: int | None = None,
    size: tuple[int, int] | None = None,
) -> Region:
    """The part of a video or still picture around `box` (x1, y1, x2, y2 in full-size pixels).

    The part holds the box, as far as it lies in the picture; `long_side` is still that of the whole
    picture; `size` its width and height, where they are known already. Raises ClipError when the
    file cannot be read.
    """
    if is_image(path):
        width, height, frames = open_frames(path, long_side)
        return Region(0, 0, width, height, frames)
    whole = size or _size(path)
    # Even corners: colour is stored for blocks of 2 x 2 pixels.
    left, top = (max(0, math.floor(side / 2) * 2) for side in box[:2])
    right, bottom = (
        min(math.ceil(side / 2) * 2, most - most % 2)
        for side, most in zip(box[2:], whole, strict=True)
    )
    width, height = right - left, bottom - top
    if min(width, height) < 2:  # nothing of the box is in the picture
        left, top, width, height = 0, 0, 2, 2
    part_side = None
    if long_side and long_side < max(whole):
        part_side = round(long_side * max(width, height) / max(whole))
    frames = read_frames(path, FPS, part_side, region=(left, top, width, height))
    return Region(left, top, width, height, frames)


@dataclass(frozen=True)
class Region:
    """A part of each frame of a video: its place in full-size pixels, and its pictures, BGR."""

    left: int
    top: int
    width: int
    height: int
    frames: Iterator[np.ndarray]


class ClipStream(Generic[Key]):
    """A clip being decoded.

    key: the caller's. number: its place in the order, from 0. width, height: full size in pixels,
    known with the first frame. Once its frames are used up, either frames (their number) is set or
    error (why there are none, or no more).
    """

    def __init__(
        self,
        key: Key,
        number: int,
        depth: int,
        size: tuple[int, int] | None = None,
        threads: int = 0,
    ) -> None:
        self.key = key
        self._size = size
        self._threads = threads
        self.number = number
        self.width = self.height = 0
        self.frames: int | None = None
        self.error: ClipError | None = None
        self._ready: queue.Queue[np.ndarray | None] = queue.Queue(depth)

    def fill(
        self, path: PathLike, long_side: int | None, fps: Fraction | int, stop: threading.Event
    ) -> None:
        """Decode into the queue until the end, an error or `stop`; runs in a thread."""
        try:
            self.width, self.height, pictures = open_frames(
                path, long_side, fps, self._size, self._threads
            )
            for picture in pictures:
                if not self._put(picture, stop):
                    return
        finally:
            self._put(None, stop)

    def drain(self, job: Future[None]) -> Iterator[np.ndarray]:
        """The frames, as they come; errors of the thread, other than ClipError, are raised."""
        count = 0
        while (frame := self._ready.get()) is not None:
            count += 1
            yield frame
        try:
            job.result()
        except ClipError as error:
            self.error = error
        else:
            self.frames = count

    def _put(self, picture: np.ndarray | None, stop: threading.Event) -> bool:
        while not stop.is_set():
            try:
                self._ready.put(picture, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def decode_clips(
    items: Iterable[tuple[Key, PathLike]],
    long_side: int | None,
    fps: Fraction | int,
    depth: int,
    size_of: SizeOf[Key] | None = None,
    threads: int = 0,
) -> Iterator[tuple[ClipStream[Key], Iterator[np.ndarray]]]:
    """Clips in the order of `items`, each with its frames uint8 (H, W, 3) BGR, to be used in turn.

    While one clip's frames are used, the rest of it and the next clip are decoded, at most `depth`
    frames ahead in each. `size_of` gives a video's width and height, or None, by its key;
    `threads` is the number of each decoder's, 0 for all cores.
    Closing the generator stops the threads.
    """
    stop = threading.Event()
    waiting = enumerate(items)
    started: deque[tuple[ClipStream[Key], Future[None]]] = deque()
    with ThreadPoolExecutor(NUM_DECODERS, thread_name_prefix="decode") as pool:
        try:
            while True:
                for number, (key, path) in itertools.islice(waiting, NUM_DECODERS - len(started)):
                    clip = ClipStream(
                        key, number, depth, size_of(key) if size_of else None, threads
                    )
                    started.append((clip, pool.submit(clip.fill, path, long_side, fps, stop)))
                if not started:
                    return
                clip, job = started[0]
                yield clip, clip.drain(job)
                started.popleft()
        finally:
            stop.set()
