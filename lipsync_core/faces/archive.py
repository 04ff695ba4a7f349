"""A clip's face crops as one file: a ZIP archive of stored (not compressed) JPEG pictures.

Members are named <frame>.jpg, numbered at 25 fps; a frame without a face has no member. The
archive's comment holds the cuts, the first frames of further shots ("cuts 50 80"). Any unzip
program reads the archive. What the pictures show is left to others.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from lipsync_core.errors import ClipError, DamagedFile, Reason
from lipsync_core.runtime.files import atomic_path

# The layouts of APPNOTE.TXT, the ZIP specification. Versions: 2.0, 4.5 for large archives.
LOCAL = struct.Struct("<4s5H3I2H")
LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of a member's name and extra field
CENTRAL = struct.Struct("<4s6H3I5H2I")
CENTRAL_FIELDS = (
    *("mark", "made", "needed", "flags", "method", "time", "date", "checksum", "stored", "size"),
    *("name", "extra", "note", "disk", "internal"),
)
CENTRAL_OFFSET = struct.Struct("<HHQ")  # extra field of a member beyond 4 GiB
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")
DATE = (1 << 5) | 1  # 1 January 1980, the archive's earliest: equal crops give equal bytes
MODE = 0o100644 << 16
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
END_MARK = b"PK\x05\x06"
CUTS = "cuts"  # begins the comment
PathLike = str | os.PathLike[str]


class _Writer:
    """Appends members; keeps about 60 bytes of each in memory, where `zipfile` keeps 700."""

    def __init__(self, stream: BinaryIO, cuts: Sequence[int] = ()) -> None:
        self._stream = stream
        self._comment = _comment(cuts)
        self._directory = bytearray()
        self._offset = 0
        self.members = 0

    def add(self, frame: int, data: bytes) -> None:
        """Append the JPEG picture of a frame."""
        name = f"{frame}.jpg".encode()
        far = self._offset >= FULL32
        version = 45 if far else 20
        facts = (0, 0, 0, DATE, zlib.crc32(data), len(data), len(data), len(name))
        header = LOCAL.pack(b"PK\x03\x04", version, *facts, 0)
        extra = CENTRAL_OFFSET.pack(1, 8, self._offset) if far else b""
        self._directory += CENTRAL.pack(
            *(b"PK\x01\x02", 3 << 8 | version, version, *facts, len(extra)),
            *(0, 0, 0, MODE, min(self._offset, FULL32)),
        )
        self._directory += name + extra
        self._stream.write(header + name)
        self._stream.write(data)
        self._offset += len(header) + len(name) + len(data)
        self.members += 1

    def finish(self) -> None:
        """Write the directory, in the 64-bit form where the counts need it."""
        size, start, count = len(self._directory), self._offset, self.members
        self._stream.write(self._directory)
        if count >= FULL16 or start + size >= FULL32:
            self._stream.write(
                END64.pack(
                    *(b"PK\x06\x06", END64.size - 12, 3 << 8 | 45, 45, 0, 0),
                    *(count, count, size, start),
                )
            )
            self._stream.write(LOCATOR64.pack(b"PK\x06\x07", 0, start + size, 1))
        count, size, start = min(count, FULL16), min(size, FULL32), min(start, FULL32)
        numbers = (0, 0, count, count, size, start, len(self._comment))
        self._stream.write(END.pack(END_MARK, *numbers) + self._comment)


def _comment(cuts: Sequence[int]) -> bytes:
    """The archive's comment. Its 64 KiB hold some ten thousand cuts."""
    comment = " ".join((CUTS, *map(str, cuts))).encode() if len(cuts) else b""
    if len(comment) > FULL16:
        raise ClipError(
            Reason.TOO_LONG, f"{len(cuts)} cuts, more cuts than a clip may have; split the video"
        )
    return comment


@contextlib.contextmanager
def write_archive(path: PathLike, cuts: Sequence[int] = ()) -> Iterator[_Writer]:
    """A writer whose `add(frame, data)` appends a picture; the file appears whole or not at all.

    `cuts`: first frames of further shots, rising. Equal pictures in equal order, and equal cuts,
    give equal bytes.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        writer = _Writer(stream, cuts)
        yield writer
        writer.finish()
        stream.close()  # before it is renamed


class CropArchive:
    """A clip's crops, read one by one.

    The file is opened on first use, its directory is read once. Reading keeps no position, so
    threads and forked processes may share an archive; a pickled copy opens the file anew.
    Every method raises DamagedFile when the archive is missing, cut short or not ours.
    """

    def __init__(self, zip_path: PathLike) -> None:
        self.path = Path(zip_path)
        self._stream: io.BufferedReader | None = None

    @property
    def frames(self) -> np.ndarray:
        """The frames that have a crop: int32 (n,), rising."""
        return self._index[:, 0].astype(np.int32)

    @functools.cached_property
    def cuts(self) -> tuple[int, ...]:
        """First frames of all shots of the video but the first, rising.

        Empty for an archive that says nothing of them.
        """
        file = self._open().fileno()
        word, *numbers = _ending(file)[END.size :].decode("ascii", "replace").split() or ("",)
        if word != CUTS:
            return ()
        if not all(number.isdecimal() for number in numbers):
            raise self._broken("its comment is damaged")
        return tuple(map(int, numbers))

    def decode(self, frame: int, size: int) -> np.ndarray:
        """The crop of `frame`, resized to uint8 (size, size, 3) BGR. KeyError when it has none."""
        crop = _square(self.read(int(frame)), size)
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

    def read(self, frame: int) -> bytes:
        """The JPEG picture of `frame` as stored. KeyError when it has none."""
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
        found = _quick_directory(self._open().fileno())
        if found is not None:
            return found[np.argsort(found[:, 0])]
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

    def _broken(self, why: str) -> DamagedFile:
        return DamagedFile(self.path, f"not a whole archive of face crops ({why})")


@functools.cache
def _record(digits: int) -> np.dtype:
    """The directory's entry of a member whose frame number has so many digits."""
    fields = zip(CENTRAL_FIELDS, ("S4", *["<u2"] * 6, *["<u4"] * 3, *["<u2"] * 5), strict=False)
    last = [("attributes", "<u4"), ("offset", "<u4"), ("frame", f"S{digits}"), ("suffix", "S4")]
    return np.dtype([*fields, *last])


def _ending(file: int) -> bytes:
    """The record that ends an archive, and its comment; nothing when it has none."""
    size = os.fstat(file).st_size
    for most in (END.size, END.size + FULL16):  # most archives have no comment
        tail = os.pread(file, most, max(0, size - most))
        place = tail.rfind(END_MARK)
        if place >= 0 and len(tail) >= place + END.size:
            comment = END.unpack(tail[place : place + END.size])[-1]
            if place + END.size + comment == len(tail):
                return tail[place:]
    return b""


def _quick_directory(file: int) -> np.ndarray | None:
    """int64 (n, 3): frame, offset and bytes of each member, of an archive as `_Writer` leaves it.

    None for any other archive, which may be as good: `zipfile` reads all, many times slower.
    """
    end = _ending(file)
    if not end:
        return None
    *_, count, length, start, _ = END.unpack(end[: END.size])
    if start + length + len(end) != os.fstat(file).st_size:
        return None
    data, place, rows = os.pread(file, length, start), 0, [np.zeros((0, 3), np.int64)]
    for digits in range(1, 8):  # in order of frame, so of digits
        if place == length:
            break
        record = _record(digits)
        part = np.frombuffer(data, record, (length - place) // record.itemsize, place)
        good = (part["mark"] == b"PK\x01\x02") & (part["suffix"] == b".jpg")
        good &= (part["name"] == digits + 4) & np.char.isdigit(part["frame"])
        good &= (part["method"] == zipfile.ZIP_STORED) & (part["extra"] + part["note"] == 0)
        part = part[: len(part) if good.all() else int(good.argmin())]
        rows.append(np.stack((part["frame"].astype(np.int64), part["offset"], part["size"]), 1))
        place += part.nbytes
    found = np.concatenate(rows)
    return found if place == length and len(found) == count else None


def _square(data: bytes, size: int) -> np.ndarray | None:
    shortest = min(_jpeg_size(data))
    # JPEG decodes to a half or a quarter at a fraction of the cost.
    flag = cv2.IMREAD_COLOR
    if shortest >= 4 * size:
        flag = cv2.IMREAD_REDUCED_COLOR_4
    elif shortest >= 2 * size:
        flag = cv2.IMREAD_REDUCED_COLOR_2
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
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
