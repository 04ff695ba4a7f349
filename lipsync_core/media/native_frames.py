"""Decode every frame of a video once, with its own time stamp and in its own pixels.

For dubbing, where nothing but the mouth may change: no frame is dropped or repeated, and planar
4:2:0 frames of 8 bits come out bit for bit as the decoder made them. `video.read_frames` resamples
to a constant rate instead.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.color import UNKNOWN, ColorTags
from lipsync_core.media.ffmpeg import Decoder
from lipsync_core.media.timestamps import CLOCK_OUTPUT, PACKET_OUTPUT, parse_stamps
from lipsync_core.runtime.files import PathLike

# Facts about the first frame go to ffmpeg's log; the output's name follows.
FIRST_FRAME = ("-map", "0:V:0", "-vf", "showinfo=checksum=0", "-frames:v", "1", "-f", "null", "-")
SHOWINFO = re.compile(r"^\[Parsed_showinfo_\d+ @ \w+\] (.*)$", re.MULTILINE)
FIELD = re.compile(r"(\w+): ?(\S+)")
DEEP_FORMAT = re.compile(r"(9|10|12|14|16)(?:le|be)$")  # bits of a sample
WIDE_FORMAT = re.compile(r"(?:rgb|bgr)48|(?:rgba|bgra|ayuv)64")  # bits of a pixel: 16 of a sample
UNCHANGED_FORMATS = ("yuv420p", "yuvj420p")  # planar 4:2:0 of 8 bits: passed through
RGB_FORMAT = re.compile(r"rgb|bgr|gbr|pal8|argb|abgr|0rgb|0bgr")
SEEK_SECONDS = 20.0  # starts before this are decoded from the beginning
SEEK_MARGIN = 10.0  # seconds: a seek lands this much before the start, for containers that miss
DEFAULT_TICKS = 25  # frames a second of a file that does not state how long a frame is


@dataclass(frozen=True)
class SourceFormat:
    """How a video's frames look and when they are shown.

    width, height: of the frames that `read_native_frames` yields, in pixels: upright and even.
    shown_width, shown_height: before a last column or row was repeated to make them even.
    pixel_aspect: width of a pixel by its height, after rotation. tick: seconds of one unit of a
    time stamp. stamps: int64 (n,), sorted, of the packets in ticks; their number is an estimate of
    the number of frames, for progress. duration: of the last frame, in ticks, estimated where the
    file does not state it. color: tags of the yielded frames. bits: of a sample in the source; the
    frames have 8. pixel_format: of the source, in ffmpeg's name.
    """

    width: int
    height: int
    shown_width: int
    shown_height: int
    pixel_aspect: Fraction
    tick: Fraction
    stamps: np.ndarray
    duration: int
    color: ColorTags
    bits: int
    pixel_format: str

    @property
    def seconds(self) -> float:
        """From the clock's zero to the end of the last frame."""
        return float((int(self.stamps[-1]) + self.duration) * self.tick)

    def scaled(self, long_side: int | None) -> tuple[int, int]:
        """(width, height), even, with the longer side at most `long_side` pixels; never larger."""
        if long_side is None or long_side >= max(self.width, self.height):
            return self.width, self.height
        scale = long_side / max(self.width, self.height)
        width, height = (max(2, 2 * round(scale * side / 2)) for side in (self.width, self.height))
        return width, height


def read_format(path: PathLike) -> SourceFormat:
    """The format of the first video stream of `path`, from its packets and its first frame.

    The packets are read to their end, which takes the time of reading the file; one frame is
    decoded. Raises ClipError: unreadable, no_video, timed_out.
    """
    with Decoder(path, [*FIRST_FRAME, *PACKET_OUTPUT], "info") as decoder:
        try:
            found = parse_stamps(decoder)
        except ClipError as error:
            raise _explained(decoder, error) from error
        facts = [dict(FIELD.findall(line)) for line in SHOWINFO.findall(decoder.stderr_head())]
        frame = next((fields for fields in facts if "fmt" in fields), None)
        tags = next((fields for fields in facts if "color_space" in fields), {})
        if frame is None:
            raise decoder.failure("no frame could be decoded")
    stamps = np.sort(found.stamps)
    gaps = np.diff(stamps)
    gaps = gaps[gaps > 0]
    usual = int(np.median(gaps)) if len(gaps) else round(1 / (found.tick * DEFAULT_TICKS))
    width, height = map(int, frame["s"].split("x"))
    sample_aspect = [int(part) for part in re.split("[:/]", frame.get("sar", "1:1"))]
    return SourceFormat(
        width=width + width % 2,
        height=height + height % 2,
        shown_width=width,
        shown_height=height,
        pixel_aspect=Fraction(*sample_aspect) if all(sample_aspect) else Fraction(1),
        tick=found.tick,
        stamps=stamps,
        duration=found.duration or max(1, usual),
        color=_color(frame["fmt"], tags),
        bits=_bits(frame["fmt"]),
        pixel_format=frame["fmt"],
    )


def read_native_frames(
    path: PathLike,
    source: SourceFormat,
    start: float = 0.0,
    end: float | None = None,
    long_side: int | None = None,
    threads: int = 0,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every frame of a video once, with its time stamp.

    Parameters
    ----------
    source: `read_format` of `path`.
    start, end: seconds on the file's clock; frames with start <= time stamp < end are yielded.
    long_side: scale down (by area, never up) so that the longer side has at most so many pixels.
    threads: as for `ffmpeg.Decoder`.

    Yields (stamp, frame). stamp: in `source.tick`s on the clock that begins with the earlier of
    audio and video; strictly increasing: a frame without a time stamp, or with one that is not
    after the one before, gets the next free one. frame: uint8 (H * 3 // 2, W) I420, upright,
    deinterlaced where flagged, a new array each time. Frames of another kind than planar 4:2:0 of 8
    bits are converted once, in the source's matrix and range (full range stays full). Frames that
    change their size are scaled to that of the first. Memory does not grow with length; closing
    the generator stops ffmpeg. Raises ClipError: unreadable, timed_out.
    """
    size = source.scaled(long_side)
    stamps_in, stamps_out = os.pipe()
    before = ["-reinit_filter", "0"]
    if start > SEEK_SECONDS:
        at = f"{start - SEEK_MARGIN:.6f}"
        before += ["-copyts", "-start_at_zero", "-noaccurate_seek", "-ss", at]
    with open(stamps_in, "rb") as lines:
        try:
            filters = ",".join(_filters(source, size, start, stamps_out))
            frames = ["-map", "0:V:0", "-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo"]
            outputs = [*frames, "pipe:1", *CLOCK_OUTPUT]
            decoder = Decoder(path, outputs, pass_fds=[stamps_out], threads=threads, before=before)
        finally:
            os.close(stamps_out)
        with decoder:
            yield from _stamped(decoder, lines, source, size, end)


def _filters(
    source: SourceFormat, size: tuple[int, int], start: float, descriptor: int
) -> Iterator[str]:
    whole = size == (source.width, source.height)
    # Odd sizes stay odd here, so that nothing is scaled.
    width, height = (source.shown_width, source.shown_height) if whole else size
    flags = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp" if whole else "area"
    scale = f"scale=w={width}:h={height}:flags={flags}"
    # First: frames that change their size, later on, take that of the first before other filters
    # see them (the graph is not built anew, by which `bwdif` would lose a frame).
    yield scale
    yield "bwdif=mode=send_frame:deint=interlaced"
    if source.pixel_format not in UNCHANGED_FORMATS:
        scale += f":out_range={'pc' if source.color.full_range else 'tv'}"
        if RGB_FORMAT.match(source.pixel_format):
            scale += f":out_color_matrix={source.color.effective_matrix}"
        yield scale
    # A format of the list is passed on as it is: -pix_fmt would convert full range to limited.
    yield "format=pix_fmts=" + "|".join(UNCHANGED_FORMATS)
    yield f"settb={source.tick.numerator}/{source.tick.denominator}"
    if start > 0:
        yield f"trim=start_pts={_tick_at(start, source.tick)}"
    # A line for each frame, written before the frame itself: the time stamps of the decoder, which
    # skips damaged packets and sorts the others.
    yield "metadata=mode=add:key=shown:value=1"
    yield rf"metadata=mode=print:key=shown:direct=1:file=pipe\\:{descriptor}"


def _tick_at(seconds: float, tick: Fraction) -> int:
    """The first tick at or after a time; a float a rounding error after a tick is that tick."""
    return math.ceil(Fraction(seconds) / tick - Fraction(1, 1000))


def _stamped(
    decoder: Decoder,
    lines: IO[bytes],
    source: SourceFormat,
    size: tuple[int, int],
    end: float | None,
) -> Iterator[tuple[int, np.ndarray]]:
    width, height = size
    odd = size == (source.width, source.height) and (source.width, source.height) != (
        source.shown_width,
        source.shown_height,
    )
    shape = (source.shown_height, source.shown_width) if odd else (height, width)
    raw = np.empty(_frame_bytes(*shape), np.uint8)
    last = None
    while True:
        frame = raw if odd else np.empty((height * 3 // 2, width), np.uint8)
        if decoder.fill(memoryview(frame).cast("B")) < frame.nbytes:
            break
        stamp = _next_stamp(lines)
        if stamp is None:
            stamp = 0 if last is None else last + source.duration
        if last is not None:
            stamp = max(stamp, last + 1)
            decoder.extend_deadline(min(1.0, float((stamp - last) * source.tick)))
        if end is not None and stamp >= _tick_at(end, source.tick):
            return
        last = stamp
        yield stamp, _padded(frame, shape, size) if odd else frame
    decoder.finish()
    if last is None:
        raise decoder.failure("no frame could be decoded")


def _frame_bytes(height: int, width: int) -> int:
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


def _padded(raw: np.ndarray, shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """I420 of odd sides -> I420 of even ones: the last column or row of luma is repeated."""
    (height, width), (even_width, even_height) = shape, size
    frame = np.empty((even_height * 3 // 2, even_width), np.uint8)
    luma = raw[: height * width].reshape(height, width)
    frame[:height, :width] = luma
    frame[:height, width:] = luma[:, -1:]
    frame[height:even_height] = frame[height - 1 : height]
    # Chroma planes of odd frames are rounded up: they have the even frame's size already.
    frame.reshape(-1)[even_height * even_width :] = raw[height * width :]
    return frame


def _next_stamp(lines: IO[bytes]) -> int | None:
    """The time stamp of the next frame; None when the decoder knows none.

    Raises ValueError when the line is missing, which cannot be: ffmpeg writes it before the frame.
    """
    while line := lines.readline():
        if line.startswith(b"frame:"):
            stamp = dict(FIELD.findall(line.decode()))["pts"]
            return None if stamp == "NOPTS" else int(stamp)
    raise ValueError("a frame without a line about its time stamp")


def _explained(decoder: Decoder, error: ClipError) -> ClipError:
    """A file without a video stream says so."""
    log = decoder.stderr_head()
    has_audio = re.search(r"^ +Stream #0:\d.*: Audio: ", log, re.MULTILINE) is not None
    if error.reason == Reason.UNREADABLE and has_audio and "matches no streams" in log:
        return ClipError(Reason.NO_VIDEO, f"{decoder.source}: it has audio, but no video")
    return error


def _color(pixel_format: str, tags: dict[str, str]) -> ColorTags:
    """Tags of the frames as they are yielded: of RGB, those of the conversion."""
    names = "color_space", "color_primaries", "color_trc", "color_range"
    matrix, primaries, transfer, levels = (_tag(tags.get(name)) for name in names)
    if RGB_FORMAT.match(pixel_format):
        return ColorTags(ColorTags().effective_matrix, primaries, transfer, "tv")
    if pixel_format.startswith("yuvj") or (pixel_format.startswith("gray") and levels == UNKNOWN):
        levels = "pc"
    return ColorTags(matrix, primaries, transfer, levels)


def _tag(value: str | None) -> str:
    return UNKNOWN if value in (None, "reserved", "N/A", "unspecified") else str(value)


def _bits(pixel_format: str) -> int:
    if match := DEEP_FORMAT.search(pixel_format):
        return int(match[1])
    return 16 if WIDE_FORMAT.match(pixel_format) else 8
