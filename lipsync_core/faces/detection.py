"""Face detection over many clips: batching across clips, and the files of boxes.

Knows no particular detector, and nothing of tracks: every face of every frame is kept. Which frames
are looked at is decided by `keyframes`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lipsync_core.errors import ClipError, DamagedFile
from lipsync_core.faces.batching import BatchedDetector
from lipsync_core.faces.decoding import ClipStream, SizeOf, decode_clips, downscale
from lipsync_core.faces.detectors.base import Detector, Faces
from lipsync_core.faces.keyframes import StridedFaces
from lipsync_core.media.video import FPS
from lipsync_core.runtime.files import atomic_path

LONG_SIDE = 480  # see detect_videos
BATCH_SIZE = 16
MAX_MOTION = 0.15  # see detect_videos
PREFETCH_FRAMES = 128  # frames of each of the two clips being decoded, at most
MAX_PENDING_FRAMES = 512  # frames that wait for the detections beside them, at most
COORDINATES = ("x1", "y1", "x2", "y2", "score")
SCHEMA = pa.schema(
    [("frame", pa.int32())]
    + [(name, pa.float32()) for name in COORDINATES]
    + [("landmarks", pa.list_(pa.float32())), ("detected", pa.bool_())]
)
Key = TypeVar("Key", bound=Hashable)
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Detections:
    """Every face found in one clip.

    frames: number of frames at 25 fps. width, height: of the full-size, rotated picture, pixels.
    faces: one row a face, in order of frame and falling score: frame int32; x1, y1, x2, y2, score
        float32 (full-size pixels, not clipped to the picture); landmarks, a list of 10 float32
        (x, y of five points), empty when the detector has none; detected, False where the face
        is interpolated between two frames that the detector looked at (all True when left out).
    detector: name of the detector. looked: number of frames it looked at. cuts: first frames of
    all shots but the first.
    """

    frames: int
    width: int
    height: int
    faces: pd.DataFrame
    detector: str = ""
    detected_frames: int = 0
    cuts: tuple[int, ...] = ()


def detect_videos(
    items: Iterable[tuple[Key, PathLike]],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
    fps: Fraction | int = FPS,
    stride: int = 1,
    motion: float = MAX_MOTION,
    on_frame: Callable[[Key, np.ndarray], None] | None = None,
    size_of: SizeOf[Key] | None = None,
    threads: int = 0,
) -> Iterator[tuple[Key, Detections | ClipError]]:
    """Find the faces of many clips; yield (key, result) in the order of `items`, each when done.

    Parameters
    ----------
    items: a key of the caller's and the path of a video, or of a still picture (one frame).
    long_side: frames are scaled down to this before detection; None detects at full size. On four
        real talking clips (512 to 1920 pixels) CenterFace's tracks at 480 overlap the mean of seven
        scales by 0.953, the best of all (256: 0.948, 320: 0.929, 400: 0.922, 640: 0.947, full:
        0.951), and those at full size by 0.924. It finds faces of 20 pixels and more in the scaled
        picture (recall 0.97; 0.83 of 16, 0.38 of 12): 4 % of the longer side at 480, 8 % at 256.
    batch_size: frames of one call of the detector. Batches run across clips while the frames keep
        their shape, so that short clips fill a GPU too.
    stride, motion: which frames are looked at; see `keyframes.StridedFaces`. On the same clips the
        track with 5 and 0.15 overlaps that of every frame by 0.975 and has half its jitter, for a
        fifth of the work (3: 0.985, a third; 8: 0.967, a seventh; a motion of 0.06 doubles the work
        of 5 for 0.98).
    observe: is shown each frame, scaled down, with its clip's key: all of a clip's, in order.
    size_of: width and height of a clip's pictures by its key, where they are known; saves looking.
    threads: of each decoder, 0 for all cores. On a CPU, whose other cores are the detector's and
        other jobs', more than one gain little and cost a tenth of the decoding.

    A clip that cannot be decoded yields its ClipError, and the others go on. Other errors end the
    iteration. Closing the generator stops the decoders. Memory does not grow with the clips'
    length, but for the boxes.
    """
    batch_size = max(1, min(batch_size, MAX_PENDING_FRAMES // stride))
    batches = BatchedDetector(detector, batch_size)
    queue: deque[tuple[_ClipState[Key], int, np.ndarray]] = deque()  # frames to look at
    unfinished: deque[_ClipState[Key]] = deque()

    def detect_batch() -> None:
        shape = queue[0][2].shape
        same = itertools.takewhile(lambda request: request[2].shape == shape, queue)
        batch = list(itertools.islice(same, batch_size))
        for _ in batch:
            queue.popleft()
        results = batches.detect_faces(np.stack([frame for _, _, frame in batch]))
        for (part, index, _), faces in zip(batch, results, strict=True):
            queue.extend((part, *request) for request in part.faces.add_faces(index, faces))

    def finished() -> Iterator[tuple[Key, Detections | ClipError]]:
        while unfinished and unfinished[0].done:
            part = unfinished.popleft()
            yield part.clip.key, part.clip.error or part.detections(detector.name)

    depth = min(PREFETCH_FRAMES, 2 * batch_size * stride)
    with contextlib.closing(decode_clips(items, long_side, fps, depth, size_of, threads)) as clips:
        for clip, frames in clips:
            part = _ClipState(clip, StridedFaces(stride, motion))
            unfinished.append(part)
            for frame in frames:
                part.shape = frame.shape
                while queue and (len(queue) >= batch_size or queue[0][2].shape != frame.shape):
                    detect_batch()
                    yield from finished()
                if on_frame is not None:
                    on_frame(clip.key, frame)
                queue.extend((part, *request) for request in part.faces.push(frame))
            queue.extend((part, *request) for request in part.faces.end())
            part.ended = True
            yield from finished()
    while queue:
        detect_batch()
        yield from finished()
    yield from finished()


def detect_image(
    picture: np.ndarray, detector: Detector, long_side: int | None = LONG_SIDE
) -> Faces:
    """Faces of one picture, uint8 (H, W, 3) BGR, in its own pixels, best score first."""
    small = downscale(picture, long_side)
    faces = detector.detect_faces(small[None])[0]
    return _scaled(faces, picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0])


def detect_frames(
    frames: Iterable[np.ndarray],
    detector: Detector,
    long_side: int | None = LONG_SIDE,
    batch_size: int = BATCH_SIZE,
) -> Detections:
    """Faces of frames that are read already, uint8 (H, W, 3) BGR of one size, none too many."""
    found, shape, width, height = StridedFaces(1, MAX_MOTION), (1, 1), 0, 0
    batches = BatchedDetector(detector, batch_size)
    pictures = iter(frames)
    while batch := list(itertools.islice(pictures, batch_size)):
        height, width = batch[0].shape[:2]
        small = np.stack([downscale(picture, long_side) for picture in batch])
        shape = small.shape[1:]
        requests = [request for picture in small for request in found.push(picture)]
        for (index, _), faces in zip(requests, batches.detect_faces(small), strict=True):
            found.add_faces(index, faces)
    return _detections(found, shape, width, height, detector.name)


def write_boxes(path: PathLike, detections: Detections) -> None:
    """Write `detections` to a Parquet file, atomically; equal detections give equal bytes."""
    faces = detections.faces
    columns = {name: faces[name].to_numpy() for name in ("frame", *COORDINATES)}
    columns["landmarks"] = [np.asarray(row, np.float32) for row in faces["landmarks"]]
    columns["detected"] = faces.get("detected", pd.Series(True, faces.index)).to_numpy(bool)
    table = pa.table(columns, schema=SCHEMA).replace_schema_metadata(
        {
            "frames": str(detections.frames),
            "width": str(detections.width),
            "height": str(detections.height),
            "detector": detections.detector,
            "detected_frames": str(detections.detected_frames),
            "cuts": " ".join(map(str, detections.cuts)),
        }
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_boxes(path: PathLike) -> Detections:
    """Read what `write_boxes` wrote. Raises DamagedFile when it is missing or anything else."""
    try:
        # Not read_table: it would take folders such as "name=x" for columns.
        with pq.ParquetFile(Path(path), page_checksum_verification=True) as file:
            table = file.read()
        metadata = table.schema.metadata or {}
        notes = {key.decode(): value.decode() for key, value in metadata.items()}
        return Detections(
            frames=int(notes["frames"]),
            width=int(notes["width"]),
            height=int(notes["height"]),
            faces=table.cast(SCHEMA).to_pandas(),
            detector=notes["detector"],
            detected_frames=int(notes["detected_frames"]),
            cuts=tuple(map(int, notes.get("cuts", "").split())),
        )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedFile(path, f"not a whole file of face boxes ({error})") from error


class _ClipState(Generic[Key]):
    """A clip on its way: what is found in it so far. `shape` is that of its decoded frames."""

    def __init__(self, clip: ClipStream[Key], faces: StridedFaces) -> None:
        self.clip = clip
        self.faces = faces
        self.shape: tuple[int, ...] = (1, 1)
        self.ended = False

    @property
    def done(self) -> bool:
        """True when nothing more will be found."""
        return self.ended and self.faces.complete

    def detections(self, detector: str) -> Detections:
        return _detections(self.faces, self.shape, self.clip.width, self.clip.height, detector)


def _detections(
    found: StridedFaces, shape: tuple[int, ...], width: int, height: int, detector: str
) -> Detections:
    """Faces found in pictures of `shape`, in the pixels of pictures of full size."""
    rows = found.table()
    factors = np.array([width / shape[1], height / shape[0]], np.float32)
    faces = pd.DataFrame({"frame": rows[:, 0].astype(np.int32)})
    for column, name in enumerate(COORDINATES[:4], start=2):
        faces[name] = rows[:, column] * factors[column % 2]
    faces["score"] = rows[:, 6]
    landmarks = rows[:, 7:] * np.tile(factors, (rows.shape[1] - 7) // 2)
    faces["landmarks"] = pd.Series(list(landmarks), dtype=object)
    faces["detected"] = rows[:, 1] > 0
    return Detections(found.frames, width, height, faces, detector, found.detected_frames)


def _scaled(faces: Faces, x: float, y: float) -> Faces:
    factors = np.array([x, y, x, y, 1], np.float32)
    points = np.tile(np.array([x, y], np.float32), faces.landmarks.shape[1] // 2)
    return Faces(faces.boxes * factors, faces.landmarks * points)
