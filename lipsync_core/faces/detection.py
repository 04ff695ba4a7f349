"""Face detection over many clips: decoding, batching across clips, and the boxes' files.

Knows no particular detector, and nothing of tracks: every face of every frame is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.faces.detectors import Detector, Faces
from lipsync_core.files import atomic_path
from lipsync_core.video import FPS, is_image, probe, read_frames, read_image

LONG_SIDE = 480  # see detect_videos
BATCH_SIZE = 16
DECODERS = 2  # clips decoded at once: the one being detected and the next
COORDINATES = ("x1", "y1", "x2", "y2", "score")
SCHEMA = pa.schema(
    [("frame", pa.int32())]
    + [(name, pa.float32()) for name in COORDINATES]
    + [("landmarks", pa.list_(pa.float32()))]
)
Key = TypeVar("Key", bound=Hashable)
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Detections:
    """Every face found in one clip.

    frames: number of frames at 25 fps. width, height: of the full-size, rotated picture, pixels.
    faces: one row a face, in order of frame and falling score: frame int32; x1, y1, x2, y2, score
        float32 (full-size pixels, not clipped to the picture); landmarks, a list of 10 float32
        (x, y of five points), empty when the detector has none.
    detector: name of the detector.
    """

    frames: int
    width: int
    height: int
    faces: pd.DataFrame
    detector: str = ""


def detect_videos(
    items: Iterable[tuple[Key, PathLike]],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
    fps: Fraction | int = FPS,
) -> Iterator[tuple[Key, Detections | ClipError]]:
    """Find the faces of many clips; yield (key, result) in the order of `items`, each when done.

    Parameters
    ----------
    items: a key of the caller's and the path of a video, or of a still picture (one frame).
    long_side: frames are scaled down to this before detection; None detects at full size. On five
        real talking clips (512 to 1920 pixels, faces of 13 to 62 % of the longer side) CenterFace
        found every face from 256 to 720. Against the mean box of six scales, 480 had the best
        overlap (0.950; 320 had 0.926, 640 had 0.945) and 0.85 % of jitter (0.93 and 0.90 %), at
        twice the speed of 640. Lower it for close-ups only, raise it for faces under 5 %.
    batch_size: frames of one call of the detector. Batches run across clips while the frames keep
        their shape, so that short clips fill a GPU too.

    A clip that cannot be decoded yields its ClipError, and the others go on. Other errors end the
    iteration. Closing the generator stops the decoders.
    """
    batch: list[tuple[_Clip[Key], np.ndarray]] = []
    unfinished: deque[_Clip[Key]] = deque()

    def detect_batch() -> None:
        if batch:
            found = detector.detect_faces(np.stack([frame for _, frame in batch]))
            for (clip, frame), faces in zip(batch, found, strict=True):
                clip.add(faces, frame.shape)
            batch.clear()

    def finished() -> Iterator[tuple[Key, Detections | ClipError]]:
        while unfinished and unfinished[0].complete:
            clip = unfinished.popleft()
            yield clip.key, clip.result(detector.name)

    with contextlib.closing(_decode(items, long_side, fps, depth=2 * batch_size)) as clips:
        for clip, frames in clips:
            unfinished.append(clip)
            for frame in frames:
                if batch and (len(batch) >= batch_size or batch[0][1].shape != frame.shape):
                    detect_batch()
                    yield from finished()
                batch.append((clip, frame))
            yield from finished()
    detect_batch()
    yield from finished()


def detect_image(
    picture: np.ndarray, detector: Detector, long_side: int | None = LONG_SIDE
) -> Faces:
    """Faces of one picture, uint8 (H, W, 3) BGR, in its own pixels, best score first."""
    small = _shrink(picture, long_side)
    faces = detector.detect_faces(small[None])[0]
    return _scaled(faces, picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0])


def detect_frames(
    frames: Iterable[np.ndarray],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
) -> Detections:
    """Faces of frames that are read already, uint8 (H, W, 3) BGR of one size, none too many."""
    clip = _Clip(None)
    pictures = iter(frames)
    while batch := list(itertools.islice(pictures, batch_size)):
        clip.size = (batch[0].shape[1], batch[0].shape[0])
        small = np.stack([_shrink(picture, long_side) for picture in batch])
        for faces in detector.detect_faces(small):
            clip.add(faces, small.shape[1:])
    return clip.detections(detector.name)


def picture_source(
    path: PathLike, long_side: int | None = None, fps: Fraction | int = FPS
) -> tuple[int, int, Iterator[np.ndarray]]:
    """Full width and height of a video or still picture, and its frames (one for a still).

    Raises ClipError when it cannot be read; the frames come as from `video.read_frames`.
    """
    if is_image(path):
        picture = read_image(path)
        if picture is None:
            raise ClipError(Reason.UNREADABLE, f"{path}: a picture that cannot be decoded")
        return picture.shape[1], picture.shape[0], iter([_shrink(picture, long_side)])
    size = probe(path)
    return size.width, size.height, read_frames(path, fps=fps, long_side=long_side)


def write_boxes(path: PathLike, detections: Detections) -> None:
    """Write `detections` to a Parquet file, atomically; equal detections give equal bytes."""
    faces = detections.faces
    columns = {name: faces[name].to_numpy() for name in ("frame", *COORDINATES)}
    columns["landmarks"] = [np.asarray(row, np.float32) for row in faces["landmarks"]]
    table = pa.table(columns, schema=SCHEMA).replace_schema_metadata(
        {
            "frames": str(detections.frames),
            "width": str(detections.width),
            "height": str(detections.height),
            "detector": detections.detector,
        }
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_boxes(path: PathLike) -> Detections:
    """Read what `write_boxes` wrote. Raises LipsyncError when the file is missing or broken."""
    try:
        table = pq.read_table(Path(path))
        metadata = table.schema.metadata or {}
        notes = {key.decode(): value.decode() for key, value in metadata.items()}
        return Detections(
            frames=int(notes["frames"]),
            width=int(notes["width"]),
            height=int(notes["height"]),
            faces=table.cast(SCHEMA).to_pandas(),
            detector=notes["detector"],
        )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise LipsyncError(
            f"{path}: not a whole file of face boxes ({error}); delete it and run again"
        ) from error


class _Clip(Generic[Key]):
    """A clip under way: how many frames are decoded and detected, and the faces so far."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.size = (0, 0)
        self.decoded: int | None = None  # known when decoding has ended
        self.error: ClipError | None = None
        self.detected = 0
        self._rows: list[np.ndarray] = []
        self._landmarks: list[np.ndarray] = []

    @property
    def complete(self) -> bool:
        return self.error is not None or self.decoded == self.detected

    def add(self, faces: Faces, shape: tuple[int, ...]) -> None:
        faces = _scaled(faces, self.size[0] / shape[1], self.size[1] / shape[0])
        frame = np.full((len(faces.boxes), 1), self.detected, np.float32)
        self._rows.append(np.hstack((frame, faces.boxes)))
        self._landmarks.extend(faces.landmarks)
        self.detected += 1

    def result(self, detector: str) -> Detections | ClipError:
        return self.error or self.detections(detector)

    def detections(self, detector: str) -> Detections:
        rows = np.concatenate([np.zeros((0, 6), np.float32), *self._rows])
        faces = pd.DataFrame({"frame": rows[:, 0].astype(np.int32)})
        for column, name in enumerate(COORDINATES, start=1):
            faces[name] = rows[:, column]
        faces["landmarks"] = pd.Series(self._landmarks, dtype=object)
        return Detections(self.detected, *self.size, faces, detector)


def _decode(
    items: Iterable[tuple[Key, PathLike]], long_side: int | None, fps: Fraction | int, depth: int
) -> Iterator[tuple[_Clip[Key], Iterator[np.ndarray]]]:
    """Clips in order, each with its frames, decoded by threads a few clips ahead."""
    stop = threading.Event()
    waiting = iter(items)
    started: deque[tuple[_Clip[Key], queue.Queue[np.ndarray | None], Future[None]]] = deque()
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        try:
            while True:
                for key, path in itertools.islice(waiting, DECODERS - len(started)):
                    clip, frames = _Clip(key), queue.Queue[np.ndarray | None](depth)
                    job = pool.submit(_decode_clip, clip, path, long_side, fps, frames, stop)
                    started.append((clip, frames, job))
                if not started:
                    return
                clip, frames, job = started[0]
                yield clip, _drain(clip, frames, job)
                started.popleft()
        finally:
            stop.set()


def _decode_clip(
    clip: _Clip[Key],
    path: PathLike,
    long_side: int | None,
    fps: Fraction | int,
    frames: queue.Queue[np.ndarray | None],
    stop: threading.Event,
) -> None:
    try:
        width, height, pictures = picture_source(path, long_side, fps)
        clip.size = (width, height)
        for picture in pictures:
            if not _put(frames, picture, stop):
                return
    finally:
        _put(frames, None, stop)


def _put(
    frames: queue.Queue[np.ndarray | None], picture: np.ndarray | None, stop: threading.Event
) -> bool:
    while not stop.is_set():
        try:
            frames.put(picture, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def _drain(
    clip: _Clip[Key], frames: queue.Queue[np.ndarray | None], job: Future[None]
) -> Iterator[np.ndarray]:
    count = 0
    while (frame := frames.get()) is not None:
        count += 1
        yield frame
    try:
        job.result()
    except ClipError as error:
        clip.error = error
    clip.decoded = count


def _shrink(picture: np.ndarray, long_side: int | None) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = min(1.0, long_side / max(height, width)) if long_side else 1.0
    if scale == 1.0:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _scaled(faces: Faces, x: float, y: float) -> Faces:
    factors = np.array([x, y, x, y, 1], np.float32)
    points = np.tile(np.array([x, y], np.float32), faces.landmarks.shape[1] // 2)
    return Faces(faces.boxes * factors, faces.landmarks * points)
