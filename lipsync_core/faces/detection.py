"""Face detection over many clips: batching across clips, and the files of boxes.

Knows no particular detector, and nothing of tracks: every face of every frame is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lipsync_core.errors import ClipError, LipsyncError
from lipsync_core.faces.decoding import Clip, decode_clips, shrink
from lipsync_core.faces.detectors import Detector, Faces
from lipsync_core.files import atomic_path
from lipsync_core.video import FPS

LONG_SIDE = 480  # see detect_videos
BATCH_SIZE = 16
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
    detector: name of the detector. cuts: first frames of all shots but the first.
    """

    frames: int
    width: int
    height: int
    faces: pd.DataFrame
    detector: str = ""
    cuts: tuple[int, ...] = ()


def detect_videos(
    items: Iterable[tuple[Key, PathLike]],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
    fps: Fraction | int = FPS,
    observe: Callable[[Key, np.ndarray], None] | None = None,
) -> Iterator[tuple[Key, Detections | ClipError]]:
    """Find the faces of many clips; yield (key, result) in the order of `items`, each when done.

    Parameters
    ----------
    items: a key of the caller's and the path of a video, or of a still picture (one frame).
    long_side: frames are scaled down to this before detection; None detects at full size. On five
        real talking clips (512 to 1920 pixels, faces of 13 to 62 % of the longer side) CenterFace
        found every face from 256 to 720. Against the mean box of six scales, 480 had the best
        overlap (0.950; 320 had 0.926, 640 had 0.945) and 0.85 % of jitter (0.93 and 0.90 %), at
        1.8 times the speed of 640. Lower it for close-ups only, raise it for faces under 5 %.
    batch_size: frames of one call of the detector. Batches run across clips while the frames keep
        their shape, so that short clips fill a GPU too.
    observe: is shown each frame, scaled down, with its clip's key: all of a clip's, in order.

    A clip that cannot be decoded yields its ClipError, and the others go on. Other errors end the
    iteration. Closing the generator stops the decoders.
    """
    batch: list[tuple[Clip[Key], np.ndarray]] = []
    unfinished: deque[Clip[Key]] = deque()
    found: dict[int, _Found] = defaultdict(_Found)  # by the clip's number

    def detect_batch() -> None:
        if batch:
            results = detector.detect_faces(np.stack([frame for _, frame in batch]))
            for (clip, frame), faces in zip(batch, results, strict=True):
                found[clip.number].add(faces, frame.shape, clip.width, clip.height)
            batch.clear()

    def finished() -> Iterator[tuple[Key, Detections | ClipError]]:
        while unfinished:
            clip = unfinished[0]
            if clip.error is None and clip.frames != found[clip.number].frames:
                return
            unfinished.popleft()
            faces = found.pop(clip.number, _Found())
            whole = clip.error or faces.detections(clip.width, clip.height, detector.name)
            yield clip.key, whole

    with contextlib.closing(decode_clips(items, long_side, fps, depth=2 * batch_size)) as clips:
        for clip, frames in clips:
            unfinished.append(clip)
            for frame in frames:
                if batch and (len(batch) >= batch_size or batch[0][1].shape != frame.shape):
                    detect_batch()
                    yield from finished()
                if observe is not None:
                    observe(clip.key, frame)
                batch.append((clip, frame))
            yield from finished()
    detect_batch()
    yield from finished()


def detect_image(
    picture: np.ndarray, detector: Detector, long_side: int | None = LONG_SIDE
) -> Faces:
    """Faces of one picture, uint8 (H, W, 3) BGR, in its own pixels, best score first."""
    small = shrink(picture, long_side)
    faces = detector.detect_faces(small[None])[0]
    return _scaled(faces, picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0])


def detect_frames(
    frames: Iterable[np.ndarray],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
) -> Detections:
    """Faces of frames that are read already, uint8 (H, W, 3) BGR of one size, none too many."""
    found, width, height = _Found(), 0, 0
    pictures = iter(frames)
    while batch := list(itertools.islice(pictures, batch_size)):
        height, width = batch[0].shape[:2]
        small = np.stack([shrink(picture, long_side) for picture in batch])
        for faces in detector.detect_faces(small):
            found.add(faces, small.shape[1:], width, height)
    return found.detections(width, height, detector.name)


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
            "cuts": " ".join(map(str, detections.cuts)),
        }
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_boxes(path: PathLike) -> Detections:
    """Read what `write_boxes` wrote. Raises LipsyncError when the file is missing or broken."""
    try:
        # Not read_table: it would take folders such as "name=x" for columns.
        with pq.ParquetFile(Path(path)) as file:
            table = file.read()
        metadata = table.schema.metadata or {}
        notes = {key.decode(): value.decode() for key, value in metadata.items()}
        return Detections(
            frames=int(notes["frames"]),
            width=int(notes["width"]),
            height=int(notes["height"]),
            faces=table.cast(SCHEMA).to_pandas(),
            detector=notes["detector"],
            cuts=tuple(map(int, notes.get("cuts", "").split())),
        )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise LipsyncError(
            f"{path}: not a whole file of face boxes ({error}); delete it and run again"
        ) from error


class _Found:
    """The faces of a clip so far."""

    def __init__(self) -> None:
        self.frames = 0
        self._rows: list[np.ndarray] = []
        self._landmarks: list[np.ndarray] = []

    def add(self, faces: Faces, shape: tuple[int, ...], width: int, height: int) -> None:
        """Take the next frame's faces, found in a picture of `shape` that is one of full size."""
        faces = _scaled(faces, width / shape[1], height / shape[0])
        frame = np.full((len(faces.boxes), 1), self.frames, np.float32)
        self._rows.append(np.hstack((frame, faces.boxes)))
        self._landmarks.extend(faces.landmarks)
        self.frames += 1

    def detections(self, width: int, height: int, detector: str) -> Detections:
        rows = np.concatenate([np.zeros((0, 6), np.float32), *self._rows])
        faces = pd.DataFrame({"frame": rows[:, 0].astype(np.int32)})
        for column, name in enumerate(COORDINATES, start=1):
            faces[name] = rows[:, column]
        faces["landmarks"] = pd.Series(self._landmarks, dtype=object)
        return Detections(self.frames, width, height, faces, detector)


def _scaled(faces: Faces, x: float, y: float) -> Faces:
    factors = np.array([x, y, x, y, 1], np.float32)
    points = np.tile(np.array([x, y], np.float32), faces.landmarks.shape[1] // 2)
    return Faces(faces.boxes * factors, faces.landmarks * points)
