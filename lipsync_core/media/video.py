"""Read and write video files: probe, decode at a constant frame rate, encode with audio.

Video and audio are aligned to one clock, which begins with the container: frame k is the one shown
at k / fps seconds, whatever the frame rate, start offset or rotation of the file. Decoding passes
argument lists to `ffmpeg.Decoder`; encoding builds a filter graph with ffmpeg-python.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import ffmpeg
import numpy as np
import PIL.Image

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.encoding import EncoderProcess, aac_options, encoder_options, pcm_input
from lipsync_core.media.ffmpeg import Decoder, input_path
from lipsync_core.media.soundtrack import soundtrack
from lipsync_core.media.timestamps import CLOCK_OUTPUT, FPS
from lipsync_core.runtime.files import PathLike

EXACT_FLAGS = "+accurate_rnd+full_chroma_int+full_chroma_inp"  # of the scaler, for exact colors
MAX_IMAGE_BYTES = 1 << 30

# Decodes the first frame and writes a line of text about it; the output's name follows.
FIRST_FRAME_OUTPUT = ("-map", "0:V:0", "-frames:v", "1", "-f", "framecrc")


@dataclass(frozen=True)
class Probe:
    """Facts from a file's header. `width` and `height` in pixels, as displayed (after rotation)."""

    width: int
    height: int
    fps: Fraction
    seconds: float
    has_audio: bool


def probe(path: PathLike) -> Probe:
    """Open `path` and decode its first frame.

    Raises ClipError (unreadable, no_video, timed_out) when that fails. `seconds` is as the header
    states it; `timestamps.read_timeline` counts frames.
    """
    with Decoder(path, [*FIRST_FRAME_OUTPUT, "pipe:1"], "info") as decoder:
        shape, rate, decoded = parse_first_frame(decoder.lines())
        decoder.finish()
        # A tag of the file may look like one of these lines; then decoding the audio fails later.
        log = decoder.stderr_head()
        has_audio = re.search(r"^ +Stream #0:\d.*: Audio: ", log, re.MULTILINE) is not None
        if not decoded and has_audio and "matches no streams" in log:
            raise ClipError(Reason.NO_VIDEO, f"{decoder.source}: it has audio, but no video")
        if not decoded:
            raise decoder.failure("no frame could be decoded")
        length = re.search(r"^  Duration: (\d+):(\d+):([\d.]+),", log, re.MULTILINE)
    hours, minutes, seconds = length.groups() if length else (0, 0, 0)
    return Probe(
        width=shape[0],
        height=shape[1],
        fps=rate,
        seconds=3600 * int(hours) + 60 * int(minutes) + float(seconds),
        has_audio=has_audio,
    )


def parse_first_frame(lines: Iterable[str]) -> tuple[tuple[int, int], Fraction, bool]:
    """(width, height), frame rate and whether it was decoded, from `FIRST_FRAME_OUTPUT`.

    Pixels, as displayed (after rotation).
    """
    rate, shape, decoded = Fraction(FPS), (0, 0), False
    for line in lines:
        if match := re.fullmatch(r"#dimensions 0: (\d+)x(\d+)", line):
            shape = int(match[1]), int(match[2])
        elif match := re.fullmatch(r"#tb 0: (\d+)/(\d+)", line):
            rate = Fraction(int(match[2]), int(match[1]))
        decoded = decoded or line.startswith("0,")
    return shape, rate, decoded


def read_image(path: PathLike) -> np.ndarray | None:
    """A still picture as uint8 (H, W, 3) BGR, or None when `path` is not a still picture.

    Raises ClipError (unreadable) when it would take too much memory: over 1 GiB as a file, or
    over twice `PIL.Image.MAX_IMAGE_PIXELS` (179 million pixels) decoded.
    """
    source = input_path(path)
    size = Path(source).stat().st_size
    if size > MAX_IMAGE_BYTES:
        raise ClipError(
            Reason.UNREADABLE, f"{source}: {size >> 20} MB are too much for a still picture"
        )
    try:
        PIL.Image.open(source).close()  # reads the header alone, which OpenCV cannot
    except OSError:  # not an image, or a truncated one
        return None
    except PIL.Image.DecompressionBombError as error:
        raise ClipError(Reason.UNREADABLE, f"{source}: {error}") from error
    data = np.fromfile(source, dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def is_image(path: PathLike) -> bool:
    """True when the content (not the name) of `path` is a still picture."""
    with open(input_path(path), "rb") as stream:
        head = stream.read(32)
    magic = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")
    return head.startswith(magic) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_frames(
    path: PathLike,
    fps: Fraction | int = FPS,
    long_side: int | None = None,
    exact_color: bool = False,
    region: tuple[int, int, int, int] | None = None,
    threads: int = 0,
) -> Iterator[np.ndarray]:
    """Yield the frames of a video at exactly `fps` frames a second.

    Parameters
    ----------
    path: any file that ffmpeg reads.
    fps: constant rate of the result; frames are dropped or repeated, so that each is the source
        frame nearest in time, within half a frame.
    long_side: scale down (never up) so that the longer side has at most this many pixels.
    exact_color: convert without the scaler's approximations: up to three gray levels more exact,
        up to three times slower on large frames. For frames that are written out again.
    region: x, y, width, height of a region of the full-size frame (even numbers); much faster than
        cropping afterwards, because the rest is not converted.
    threads: as for `ffmpeg.Decoder`.

    Yields uint8 (H, W, 3) BGR, rotated and deinterlaced as flagged, with even sides and of one
    size. Memory does not grow with length. Closing the generator stops ffmpeg. Raises ClipError:
    unreadable when there is no frame or ffmpeg crashes, timed_out.
    """
    bound = f"min(1,{long_side}/max(iw,ih))" if long_side else "1"
    flags = ("area" if long_side else "bicubic") + (EXACT_FLAGS if exact_color else "")
    # At most the frame itself: a stream may change its size.
    crop = "crop=w='min({2},iw)':h='min({3},ih)':x={0}:y={1}"
    filters = (
        "bwdif=deint=interlaced",
        f"fps={Fraction(fps)}:start_time=0",
        crop.format(*region) if region is not None else "null",
        f"scale=w='max(2,2*round({bound}*iw/2))':h='max(2,2*round({bound}*ih/2))'"
        f":flags={flags}:out_color_matrix=bt601:out_range=tv",
    )
    # Y4M states its own size, which saves computing it for rotated or odd-sized files; planar 4:2:0
    # is half the bytes of BGR.
    frames = ["-map", "0:V:0", "-vf", ",".join(filters), "-pix_fmt", "yuv420p"]
    outputs = [*frames, "-f", "yuv4mpegpipe", "pipe:1", *CLOCK_OUTPUT]
    with Decoder(path, outputs, threads=threads) as decoder:
        count = 0
        for frame in _y4m_frames(decoder):
            count += 1
            decoder.extend_deadline(float(1 / Fraction(fps)))
            yield frame
        decoder.finish()
        if count == 0:
            raise decoder.failure("no frame could be decoded")


def _y4m_frames(decoder: Decoder) -> Iterator[np.ndarray]:
    fields = {part[:1]: part[1:] for part in decoder.line().split()[1:]}
    if b"W" not in fields:
        return
    width, height = int(fields[b"W"]), int(fields[b"H"])
    buffer = np.empty((height * 3 // 2, width), np.uint8)
    while decoder.line().startswith(b"FRAME"):
        if decoder.fill(memoryview(buffer).cast("B")) < buffer.nbytes:
            return
        yield cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420)


class VideoWriter(EncoderProcess):
    """Write BGR frames of a constant rate, and an audio file beside them, to an MP4.

    Parameters
    ----------
    path: the file to write; it appears, whole, when the writer is closed without an error.
    size: (width, height) of the frames in pixels; odd sides are padded by one.
    audio: any file with audio, or None; its first audio track is encoded at its own rate and with
        its channels, cut to `seconds` where that is given.
    metadata: container tags such as {"comment": "..."}.
    seconds: length of the result, or None for the longer of video and audio.
    threads: encoder threads; 1 makes the bytes independent of the machine's core count.

    Use as a context manager. Raises LipsyncError when ffmpeg fails, and for the audio as
    `soundtrack.soundtrack` does. `stamped_writer` writes frames at any times.
    """

    def __init__(
        self,
        path: PathLike,
        size: tuple[int, int],
        fps: Fraction | int = FPS,
        audio: PathLike | None = None,
        metadata: Mapping[str, str] | None = None,
        seconds: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.size = size
        options = encoder_options(metadata=metadata, threads=threads)
        if seconds is not None:
            options["t"] = f"{seconds:.6f}"
        with contextlib.ExitStack() as stack:
            streams, descriptors = [_raw_frames_input(size, fps)], []
            if audio is not None:
                # Decoded first, with limits: the encoder gets samples, not the user's file.
                track = stack.enter_context(soundtrack(audio))
                descriptors.append(track.pcm.fileno())
                streams.append(pcm_input(track))
                options |= aac_options(track)
            super().__init__(path, streams, options, descriptors)
            self.hold(stack.pop_all())

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3) BGR of the writer's size."""
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.dtype} {frame.shape}, wanted uint8 {height, width, 3}")
        self.send(np.ascontiguousarray(frame).data)


def _raw_frames_input(size: tuple[int, int], fps: Fraction | int) -> ffmpeg.nodes.FilterableStream:
    """Input of raw BGR frames from the standard input, padded to even sides, in exact colors."""
    frames = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="bgr24", s=f"{size[0]}x{size[1]}", r=str(fps)
    )
    padded = frames.video.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2")
    matrix = {"out_color_matrix": "bt601", "out_range": "tv"}
    return padded.filter("scale", flags="bicubic" + EXACT_FLAGS, **matrix)
