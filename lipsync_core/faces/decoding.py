"""Frames of many clips (videos and still pictures), decoded ahead of their use by threads."""

from __future__ import annotations

import functools
import itertools
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.video import FPS, is_image, probe, read_frames, read_image
from lipsync_core.runtime.files import PathLike

NUM_DECODERS = 2  # clips decoded at once: the one in use and the next
Key = TypeVar("Key")
SizeOf = Callable[[Key], tuple[int, int] | None]


def open_frames(
    path: PathLike,
    long_side: int | None = None,
    size: tuple[int, int] | None = None,
    threads: int = 0,
) -> tuple[int, int, Iterator[np.ndarray]]:
    """Full width and height of a video or still picture, and its frames (one for a still).

    `size`: width and height of a video, where they are known; saves a probe.
    `threads`: of the decoder, 0 for all cores.
    Raises ClipError when the file cannot be read; the frames come as from `video.read_frames`.
    """
    if is_image(path):
        image = read_image(path)
        if image is None:
            raise ClipError(Reason.UNREADABLE, f"{path}: a still picture that cannot be decoded")
        return image.shape[1], image.shape[0], (each for each in [downscale(image, long_side)])
    return *(size or _probe_size(path)), read_frames(path, FPS, long_side, threads=threads)


def _probe_size(path: PathLike) -> tuple[int, int]:
    found = probe(path)
    return found.width, found.height


def downscale(image: np.ndarray, long_side: int | None) -> np.ndarray:
    """An image (H, W, 3) scaled down, never up, to `long_side` pixels of its longer side."""
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width)) if long_side else 1.0
    if scale == 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Region:
    """A region of each frame of a video: its place in full-size pixels, and the frames, BGR."""

    left: int
    top: int
    width: int
    height: int
    frames: Iterator[np.ndarray]


def open_region(
    path: PathLike,
    box: Sequence[float],
    long_side: int | None = None,
    size: tuple[int, int] | None = None,
) -> Region:
    """The region of a video or still picture around `box` (x1, y1, x2, y2, full-size pixels).

    The region contains the box as far as it lies in the frame; `long_side` is still that of the
    whole frame; `size` its width and height, where they are known. Raises ClipError when the file
    cannot be read.
    """
    if is_image(path):
        width, height, frames = open_frames(path, long_side)
        return Region(0, 0, width, height, frames)
    whole = size or _probe_size(path)
    # Even corners: color is stored for blocks of 2 x 2 pixels.
    left, top = (max(0, math.floor(side / 2) * 2) for side in box[:2])
    right, bottom = (
        min(math.ceil(side / 2) * 2, limit - limit % 2)
        for side, limit in zip(box[2:], whole, strict=True)
    )
    width, height = right - left, bottom - top
    if min(width, height) < 2:  # the box lies outside of the frame
        left, top, width, height = 0, 0, 2, 2
    region_side = None
    if long_side and long_side < max(whole):
        region_side = round(long_side * max(width, height) / max(whole))
    frames = read_frames(path, FPS, region_side, region=(left, top, width, height))
    return Region(left, top, width, height, frames)


@dataclass
class FrameStream(Generic[Key]):
    """A clip whose frames are read in turn.

    key: the caller's. width, height: full size in pixels, known with the first frame. error: why
    there are no frames, or no more; known after the last one.
    """

    key: Key
    width: int = 0
    height: int = 0
    error: ClipError | None = None


class _DecodingClip(FrameStream[Key]):
    """A clip that a thread decodes into a queue of at most `depth` frames."""

    def __init__(self, key: Key, depth: int) -> None:
        super().__init__(key)
        self._ready: queue.Queue[np.ndarray | None] = queue.Queue(depth)

    def decode(
        self, opened: Callable[[], tuple[int, int, Iterator[np.ndarray]]], stop: threading.Event
    ) -> None:
        """Decode into the queue until the end, an error or `stop`; runs in a thread."""
        try:
            self.width, self.height, frames = opened()
            for frame in frames:
                if not self._put(frame, stop):
                    return
        finally:
            self._put(None, stop)

    def drain(self, job: Future[None]) -> Iterator[np.ndarray]:
        """The frames, as they come; errors of the thread, other than ClipError, are raised."""
        while (frame := self._ready.get()) is not None:
            yield frame
        try:
            job.result()
        except ClipError as error:
            self.error = error

    def _put(self, frame: np.ndarray | None, stop: threading.Event) -> bool:
        while not stop.is_set():
            try:
                self._ready.put(frame, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def decode_clips(
    items: Iterable[tuple[Key, PathLike]],
    long_side: int | None,
    depth: int,
    size_of: SizeOf[Key] | None = None,
    threads: int = 0,
) -> Iterator[tuple[FrameStream[Key], Iterator[np.ndarray]]]:
    """Clips in the order of `items`, each with its frames uint8 (H, W, 3) BGR, to be used in turn.

    While one clip's frames are used, the rest of it and the next clip are decoded, at most `depth`
    frames ahead in each. `size_of` gives a video's width and height, or None, by its key;
    `threads` is the number of each decoder's, 0 for all cores.
    Closing the generator stops the threads.
    """
    stop = threading.Event()
    waiting = iter(items)
    started: deque[tuple[_DecodingClip[Key], Future[None]]] = deque()
    with ThreadPoolExecutor(NUM_DECODERS, thread_name_prefix="decode") as pool:
        try:
            while True:
                for key, path in itertools.islice(waiting, NUM_DECODERS - len(started)):
                    clip = _DecodingClip(key, depth)
                    size = size_of(key) if size_of else None
                    opened = functools.partial(open_frames, path, long_side, size, threads)
                    started.append((clip, pool.submit(clip.decode, opened, stop)))
                if not started:
                    return
                clip, job = started[0]
                yield clip, clip.drain(job)
                started.popleft()
        finally:
            stop.set()
