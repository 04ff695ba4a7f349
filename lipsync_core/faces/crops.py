"""Face crops: cutting them from frames, storing a clip's crops, and reading them back fast.

A clip's crops are one ZIP archive of stored (not compressed) JPEG pictures named <frame>.jpg,
numbered at 25 fps; a frame without a face has no member. What the crops are for is left to others.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.faces.decoding import part_source
from lipsync_core.faces.tracks import Track
from lipsync_core.files import atomic_path

SIZE = 256
QUALITY = 95
EPOCH = (1980, 1, 1, 0, 0, 0)  # the archive's earliest date: equal crops give equal bytes
LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of a member's name and extra field
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class CropStats:
    """What `write_crops` stored: how many crops, and the median of the boxes' longer sides.

    face_px is in full-size pixels, without pads; 0 when there is no crop.
    """

    frames: int
    face_px: float


def bounds(
    box: Sequence[float], shape: Sequence[int], pads: Sequence[float] = (0, 0, 0, 0)
) -> tuple[int, int, int, int]:
    """The box in whole pixels x1, y1, x2, y2, grown by `pads` and clipped to the picture.

    Parameters
    ----------
    box: x1, y1, x2, y2 in pixels.
    shape: height, width (and more) of the picture.
    pads: pixels added at top, bottom, left, right; the public `--pads`.
    """
    x1, y1, x2, y2 = (round(float(side)) for side in box[:4])
    top, bottom, left, right = (round(pad) for pad in pads)
    height, width = shape[:2]
    x1, x2 = (min(max(x, 0), width) for x in (x1 - left, x2 + right))
    y1, y2 = (min(max(y, 0), height) for y in (y1 - top, y2 + bottom))
    return x1, y1, max(x1, x2), max(y1, y2)


def cut(
    frame: np.ndarray, box: Sequence[float], pads: Sequence[float] = (0, 0, 0, 0)
) -> np.ndarray:
    """The part of `frame`, uint8 (H, W, 3), inside the box: a view, uint8 (h, w, 3).

    See `bounds`; h or w is 0 when the box lies outside of the frame.
    """
    x1, y1, x2, y2 = bounds(box, frame.shape, pads)
    return frame[y1:y2, x1:x2]


def write_crops(
    video_path: PathLike,
    track: Track,
    zip_path: PathLike,
    pads: Sequence[float] = (0, 0, 0, 0),
    size: int = SIZE,
    quality: int = QUALITY,
    long_side: int | None = None,
) -> CropStats:
    """Read a video (or still) again and store the crops of `track`, atomically.

    Parameters
    ----------
    pads: pixels at full size added at top, bottom, left, right, as the public `--pads`.
    size: crops with a longer side above this are scaled down to it; none is scaled up.
    quality: of the JPEG pictures, 1 to 100.
    long_side: read the video scaled down to this, faster where faces are large.

    Equal inputs give equal bytes. An empty track gives an empty archive.
    Raises ClipError when the video cannot be read.
    """
    boxes = dict(zip(track.frames.tolist(), track.boxes, strict=True))
    top, bottom, left, right = pads
    grown = track.boxes + np.array([-left, -top, right, bottom], np.float32)
    sides: list[float] = []
    with atomic_path(zip_path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        if boxes:
            around = (*(grown[:, :2].min(axis=0) - 1), *(grown[:, 2:].max(axis=0) + 1))
            part = part_source(video_path, around, long_side)
            corner = np.array([part.left, part.top] * 2, np.float32)
            last = max(boxes)
            for index, frame in enumerate(part.frames):
                if index in boxes:
                    x, y = frame.shape[1] / part.width, frame.shape[0] / part.height
                    near = [pad * scale for pad, scale in zip(pads, (y, y, x, x), strict=True)]
                    crop = cut(frame, (boxes[index] - corner) * np.array([x, y, x, y]), near)
                    if crop.size:
                        archive.writestr(_member(index), _encode(crop, size, quality))
                        x1, y1, x2, y2 = boxes[index]
                        sides.append(float(max(x2 - x1, y2 - y1)))
                if index >= last:
                    break
    return CropStats(len(sides), float(np.median(sides)) if sides else 0.0)


def _member(frame: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{frame}.jpg", EPOCH)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3  # Unix, whatever this machine is
    info.external_attr = 0o644 << 16
    return info


def _encode(crop: np.ndarray, size: int, quality: int) -> bytes:
    height, width = crop.shape[:2]
    scale = size / max(height, width)
    if scale < 1:
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        crop = cv2.resize(crop, smaller, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class CropArchive:
    """A clip's crops, read one by one.

    The file is opened on first use, its directory is read once. Reading keeps no position, so
    threads and forked processes may share an archive; a pickled copy opens the file anew.
    Every method raises ClipError (unreadable) when the archive is missing, cut short or not ours.
    """

    def __init__(self, zip_path: PathLike) -> None:
        self.path = Path(zip_path)
        self._stream: io.BufferedReader | None = None

    @property
    def frames(self) -> np.ndarray:
        """The frames that have a crop: int32 (n,), rising."""
        return self._index[:, 0].astype(np.int32)

    def decode(self, frame: int, size: int) -> np.ndarray:
        """The crop of `frame`, resized to uint8 (size, size, 3) BGR. KeyError when it has none."""
        crop = _square(self._read(int(frame)), size)
        if crop is None:
            raise self._broken(f"{frame}.jpg is no picture")
        return crop

    def close(self) -> None:
        """Close the file; the next `decode` opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_stream": None}

    def _read(self, frame: int) -> bytes:
        row = int(np.searchsorted(self._index[:, 0], frame))
        if row == len(self._index) or self._index[row, 0] != frame:
            raise KeyError(f"{self.path} has no frame {frame}")
        _, start, length = self._index[row].tolist()
        file = self._open().fileno()
        header = os.pread(file, LOCAL_HEADER.size, start)
        if len(header) < LOCAL_HEADER.size:
            raise self._broken(f"{frame}.jpg is missing")
        name_length, extra_length = LOCAL_HEADER.unpack(header)
        data = os.pread(file, length, start + len(header) + name_length + extra_length)
        if len(data) < length:
            raise self._broken(f"{frame}.jpg is cut short")
        return data

    @functools.cached_property
    def _index(self) -> np.ndarray:
        """int64 (n, 3): frame, offset of the member's header, bytes; in order of frame."""
        try:
            with zipfile.ZipFile(self._open()) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise self._broken(str(error)) from error
        rows = []
        for member in members:
            number = member.filename.removesuffix(".jpg")
            if not number.isdecimal() or member.compress_type != zipfile.ZIP_STORED:
                raise self._broken(f"{member.filename} is no stored <frame>.jpg")
            rows.append((int(number), member.header_offset, member.file_size))
        return np.array(sorted(rows), np.int64).reshape(-1, 3)

    def _open(self) -> io.BufferedReader:
        if self._stream is None:
            try:
                self._stream = open(self.path, "rb")  # noqa: SIM115  (held open between reads)
            except OSError as error:
                raise self._broken(str(error.strerror)) from error
        return self._stream

    def _broken(self, why: str) -> ClipError:
        return ClipError(
            Reason.UNREADABLE,
            f"{self.path}: not a whole archive of face crops ({why}); "
            "run the workflow again to make it anew",
        )


def _square(data: bytes, size: int) -> np.ndarray | None:
    shortest = min(_jpeg_size(data))
    # JPEG decodes to a half or a quarter at a fraction of the cost.
    flag = cv2.IMREAD_COLOR
    if shortest >= 4 * size:
        flag = cv2.IMREAD_REDUCED_COLOR_4
    elif shortest >= 2 * size:
        flag = cv2.IMREAD_REDUCED_COLOR_2
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if picture is None or picture.shape[:2] == (size, size):
        return picture
    shrinks = min(picture.shape[:2]) >= size
    return cv2.resize(
        picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width in a JPEG's frame header, (0, 0) when there is none."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        length, height, width = struct.unpack_from(">HxHH", data, position + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return height, width
        position += 2 + length
    return 0, 0
