"""Face detection over many clips, batched across clips, and the Parquet files of boxes.

Works with any detector of `detectors`. Every face of every frame is kept; tracks are built later by
`tracking`. `keyframes` chooses the frames that the detector sees.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lipsync_core.errors import ClipError, DamagedFile
from lipsync_core.faces.batching import BatchedDetector
from lipsync_core.faces.decoding import FrameStream, SizeOf, decode_clips
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.keyframes import Request, StridedFaces
from lipsync_core.runtime.files import PathLike, atomic_path

LONG_SIDE = 480  # pixels; see detect_videos
BATCH_SIZE = 16
MAX_MOTION = 0.15  # see detect_videos
PREFETCH_FRAMES = 128  # decoded ahead in each of the two clips that are being decoded
MAX_PENDING_FRAMES = 512  # scaled-down frames that wait for the detections beside them
COORDINATES = ("x1", "y1", "x2", "y2", "score")
SCHEMA = pa.schema(
    [("frame", pa.int32())]
    + [(name, pa.float32()) for name in COORDINATES]
    + [("landmarks", pa.list_(pa.float32())), ("detected", pa.bool_())]
)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Detections:
    """Every face found in one clip.

    frames: number of frames at 25 fps. width, height: of the full-size, rotated frame, pixels.
    faces: one row a face, in order of frame and falling score: frame int32; x1, y1, x2, y2, score
        float32 (full-size pixels, not clipped to the frame); landmarks, a list of 10 float32
        (x, y of five points), empty when the detector has none; detected, False where the face
        is interpolated between two frames that the detector saw (all True when left out).
    detector: name of the detector. detected_frames: number of frames that the detector saw.
    cuts: first frames of all shots but the first.
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
    long_side: frames are scaled down to this before detection; None detects at full size. With
        CenterFace at 480, tracks of real clips are best; faces of 20 pixels and more in the
        scaled frame (4 % of its longer side) are found.
    batch_size, stride, motion, on_frame: as for `detect_streams`.
    size_of: width and height of a clip by its key, where they are known; saves a probe.
    threads: of each decoder, 0 for all cores. On a CPU, whose other cores run the detector and
        other jobs, more than one gain little and cost a tenth of the decoding time.

    A clip that cannot be decoded yields its ClipError, and the others go on. Other errors end the
    iteration. Closing the generator stops the decoders. Memory does not grow with the clips'
    length, but for the boxes.
    """
    depth = min(PREFETCH_FRAMES, 2 * batch_size * stride)
    with contextlib.closing(decode_clips(items, long_side, depth, size_of, threads)) as clips:
        yield from detect_streams(clips, detector, batch_size, stride, motion, on_frame)


def detect_streams(
    streams: Iterable[tuple[FrameStream[Key], Iterable[np.ndarray]]],
    detector: Detector,
    batch_size: int = BATCH_SIZE,
    stride: int = 1,
    motion: float = MAX_MOTION,
    on_frame: Callable[[Key, np.ndarray], None] | None = None,
) -> Iterator[tuple[Key, Detections | ClipError]]:
    """`detect_videos` for frames that the caller decodes and scales down.

    Parameters
    ----------
    streams: each with its frames, uint8 (H, W, 3) BGR of one size; read in turn.
    batch_size: frames of one call of the detector. Batches run across clips while the frames keep
        their shape, so that short clips fill a GPU too.
    stride, motion: which frames the detector sees; see `keyframes.StridedFaces`. With 5 and 0.15,
        tracks overlap those of every frame by 0.975 for a fifth of the work.
    on_frame: is called with each frame and its clip's key, in order.
    """
    batches = _Batches(detector, max(1, min(batch_size, MAX_PENDING_FRAMES // stride)))
    for stream, frames in streams:
        clip = _ClipState(stream, StridedFaces(stride, motion))
        batches.clips.append(clip)
        for frame in frames:
            clip.shape = frame.shape
            while batches.full(frame.shape):
                batches.detect()
                yield from batches.finished()
            if on_frame is not None:
                on_frame(stream.key, frame)
            batches.add(clip, clip.faces.push(frame))
        batches.add(clip, clip.faces.end())
        clip.ended = True
        yield from batches.finished()
    while batches.queue:
        batches.detect()
        yield from batches.finished()
    yield from batches.finished()


class _ClipState(Generic[Key]):
    """A clip in progress: what is found in it so far. `shape` is that of its decoded frames."""

    def __init__(self, stream: FrameStream[Key], faces: StridedFaces) -> None:
        self.stream = stream
        self.faces = faces
        self.shape: tuple[int, ...] = (1, 1)
        self.ended = False


class _Batches(Generic[Key]):
    """Frames that wait for the detector (`queue`), and the unfinished `clips`, in order."""

    def __init__(self, detector: Detector, size: int) -> None:
        self.size = size
        self.queue: deque[tuple[_ClipState[Key], int, np.ndarray]] = deque()
        self.clips: deque[_ClipState[Key]] = deque()
        self._detector = BatchedDetector(detector, size)
        self._name = detector.name

    def add(self, clip: _ClipState[Key], requests: Iterable[Request]) -> None:
        """Queue the frames that `clip` requests."""
        self.queue.extend((clip, *request) for request in requests)

    def full(self, shape: tuple[int, ...]) -> bool:
        """True when a batch must be detected before a frame of `shape` is added."""
        return bool(self.queue) and (
            len(self.queue) >= self.size or self.queue[0][2].shape != shape
        )

    def detect(self) -> None:
        """Detect the frames at the head of the queue that have one shape."""
        shape = self.queue[0][2].shape
        same = itertools.takewhile(lambda request: request[2].shape == shape, self.queue)
        batch = list(itertools.islice(same, self.size))
        for _ in batch:
            self.queue.popleft()
        results = self._detector.detect_faces(np.stack([frame for _, _, frame in batch]))
        for (clip, index, _), faces in zip(batch, results, strict=True):
            self.add(clip, clip.faces.add_faces(index, faces))

    def finished(self) -> Iterator[tuple[Key, Detections | ClipError]]:
        """Remove and yield the clips at the head that need no more detections."""
        while self.clips and self.clips[0].ended and self.clips[0].faces.complete:
            clip = self.clips.popleft()
            yield clip.stream.key, clip.stream.error or _detections(clip, self._name)


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


def _detections(clip: _ClipState, detector: str) -> Detections:
    """The faces of a clip, scaled to the pixels of the full-size frame."""
    stream, rows = clip.stream, clip.faces.table()
    factors = np.array([stream.width / clip.shape[1], stream.height / clip.shape[0]], np.float32)
    faces = pd.DataFrame({"frame": rows[:, 0].astype(np.int32)})
    for column, name in enumerate(COORDINATES[:4], start=2):
        faces[name] = rows[:, column] * factors[column % 2]
    faces["score"] = rows[:, 6]
    landmarks = rows[:, 7:] * np.tile(factors, (rows.shape[1] - 7) // 2)
    faces["landmarks"] = pd.Series(list(landmarks), dtype=object)
    faces["detected"] = rows[:, 1] > 0
    counts = clip.faces.frames, stream.width, stream.height
    return Detections(*counts, faces, detector, clip.faces.detected_frames)
