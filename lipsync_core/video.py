"""Video files in and out: probing, frames at a constant rate, writing frames with sound.

Frames and sound are put on one clock, the container's own start: frame k shows the picture at
k / fps seconds, whatever the frame rate, start offset or rotation of the file. What is in the
pictures is left to others.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import av
import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.files import atomic_path

FPS = 25  # the frame rate of every public model of this family
EXACT = "+accurate_rnd+full_chroma_int+full_chroma_inp"  # the scaler's flags for true colours
PathLike = str | os.PathLike[str]


@functools.cache
def ffmpeg_exe() -> str:
    """Path of the ffmpeg program: the system's, else the one inside the imageio-ffmpeg wheel."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


@functools.cache
def h264_encoder() -> str:
    """Name of the best H.264 (else MPEG-4) encoder which this ffmpeg really has."""
    listing = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True
    ).stdout
    present = {line.split()[1] for line in listing.splitlines() if len(line.split()) > 1}
    return next((name for name in ("libx264", "libopenh264") if name in present), "mpeg4")


@dataclass(frozen=True)
class Probe:
    """What a file says of itself. `width` and `height` in pixels, as shown (after rotation)."""

    width: int
    height: int
    fps: Fraction
    seconds: float
    has_audio: bool


def probe(path: PathLike) -> Probe:
    """Open `path` and decode its first picture.

    Raises ClipError (unreadable, no_video) when that cannot be done.
    """
    source = _existing(path)
    try:
        with av.open(source) as container:
            if not container.streams.video:
                if container.streams.audio:
                    raise ClipError(Reason.NO_VIDEO, f"{source}: it has sound, but no picture")
                raise ClipError(Reason.UNREADABLE, f"{source}: neither picture nor sound in it")
            stream = container.streams.video[0]
            frame = next(container.decode(stream), None)
            if frame is None:
                raise ClipError(Reason.UNREADABLE, f"{source}: no picture could be decoded")
            turned = frame.rotation % 180 == 90
            width, height = frame.width, frame.height
            return Probe(
                width=height if turned else width,
                height=width if turned else height,
                fps=Fraction(stream.guessed_rate or stream.average_rate or FPS),
                seconds=_seconds(container, stream),
                has_audio=bool(container.streams.audio),
            )
    except (av.FFmpegError, UnicodeError, ValueError) as error:
        raise ClipError(Reason.UNREADABLE, f"{source}: {error}") from error


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    return 0.0


def _existing(path: PathLike) -> str:
    # Absolute: neither a leading dash nor "concat:" can then be read as an option or a protocol.
    source = Path(path).absolute()
    if not source.is_file():
        raise ClipError(Reason.UNREADABLE, f"{source}: no such file")
    return str(source)


def read_image(path: PathLike) -> np.ndarray | None:
    """A still picture as uint8 (H, W, 3) BGR, or None when `path` is not a still picture."""
    data = np.fromfile(_existing(path), dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None


def is_image(path: PathLike) -> bool:
    """True when the content (not the name) of `path` is a still picture."""
    with open(_existing(path), "rb") as stream:
        head = stream.read(32)
    magic = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")
    return head.startswith(magic) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_frames(
    path: PathLike,
    fps: Fraction | int = FPS,
    long_side: int | None = None,
    exact_colour: bool = False,
    region: tuple[int, int, int, int] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the frames of a video at exactly `fps` frames a second.

    Parameters
    ----------
    path: any file ffmpeg reads.
    fps: constant rate of the result; frames are dropped or repeated to keep time.
    long_side: scale down (never up) so that the longer side has at most this many pixels.
    exact_colour: convert without the scaler's shortcuts: up to three grey levels truer, up to
        three times slower on large frames. For pictures that are written out again.
    region: x, y, width, height of the part of the full-size picture that is wanted (even numbers);
        much faster than cutting it out afterwards, because the rest is only decoded.

    Yields uint8 (H, W, 3) BGR, rotation applied, sides even. Memory does not grow with length.
    Closing the generator stops ffmpeg. Raises ClipError (unreadable) when no frame comes out.
    """
    source = _existing(path)
    stream = ffmpeg.input(source).video.filter("fps", fps=str(Fraction(fps)), start_time=0)
    if region is not None:
        x, y, width, height = region
        stream = stream.filter("crop", w=width, h=height, x=x, y=y)
    bound = f"min(1,{long_side}/max(iw,ih))" if long_side else "1"
    stream = stream.filter(
        "scale",
        w=f"max(2,2*round({bound}*iw/2))",
        h=f"max(2,2*round({bound}*ih/2))",
        flags=("area" if long_side else "bicubic") + (EXACT if exact_colour else ""),
        out_color_matrix="bt601",
        out_range="tv",
    )
    # Y4M names its own size, so a rotated or oddly sized file needs no guess of ours; planar 4:2:0
    # is half the bytes of BGR through the pipe.
    command = (
        stream.output("pipe:", format="yuv4mpegpipe", pix_fmt="yuv420p")
        .global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        .compile(cmd=ffmpeg_exe())
    )
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, bufsize=1 << 20)
        assert process.stdout is not None
        try:
            count = 0
            for frame in _y4m_frames(process.stdout):
                count += 1
                yield frame
            process.wait()
            if count == 0:
                raise ClipError(Reason.UNREADABLE, f"{source}: {_last_line(errors)}")
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _y4m_frames(pipe: IO[bytes]) -> Iterator[np.ndarray]:
    fields = {part[:1]: part[1:] for part in pipe.readline().split()[1:]}
    if b"W" not in fields:
        return
    width, height = int(fields[b"W"]), int(fields[b"H"])
    buffer = np.empty((height * 3 // 2, width), np.uint8)
    while pipe.readline().startswith(b"FRAME"):
        if pipe.readinto(memoryview(buffer).cast("B")) < buffer.nbytes:
            return
        yield cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420)


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no frame could be decoded"


class VideoWriter:
    """Write frames, and a sound file beside them, to an MP4 that plays everywhere.

    Parameters
    ----------
    path: the file to write; it appears, whole, when the writer is closed without an error.
    size: (width, height) of the frames in pixels; odd sides are padded by one.
    audio: any file with sound, or None; its sound is cut or kept to the length of the picture
        when `seconds` is given.
    metadata: container tags such as {"comment": "..."}.
    seconds: length of the result, or None for the longer of picture and sound.
    threads: encoder threads; 1 makes the bytes independent of the machine's core count.

    Use as a context manager. Raises LipsyncError when ffmpeg refuses.
    """

    def __init__(
        self,
        path: PathLike,
        size: tuple[int, int],
        fps: Fraction | int = FPS,
        audio: PathLike | None = None,
        metadata: Mapping[str, str] | None = None,
        seconds: float | None = None,
        crf: int = 18,
        threads: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.size = size
        self.frames = 0
        self._stack = contextlib.ExitStack()
        temporary = self._stack.enter_context(atomic_path(self.path))
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        picture = ffmpeg.input(
            "pipe:", format="rawvideo", pix_fmt="bgr24", s=f"{size[0]}x{size[1]}", r=str(fps)
        )
        padded = picture.video.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2")
        matrix = {"out_color_matrix": "bt601", "out_range": "tv"}
        streams = [padded.filter("scale", flags="bicubic" + EXACT, **matrix)]
        options: dict[str, object] = {
            "vcodec": h264_encoder(),
            "pix_fmt": "yuv420p",
            "movflags": "+faststart",
            "fflags": "+bitexact",
            "flags:v": "+bitexact",
        }
        if options["vcodec"] == "libx264":
            options |= {"crf": crf, "preset": "veryfast"}
        else:
            options |= {"b:v": "6M"}
        if threads is not None:
            options["threads"] = threads
        if audio is not None:
            streams.append(ffmpeg.input(_existing(audio)).audio)
            options |= {"acodec": "aac", "b:a": "128k", "flags:a": "+bitexact"}
        if seconds is not None:
            options["t"] = f"{seconds:.6f}"
        for index, (key, value) in enumerate((metadata or {}).items()):
            options[f"metadata:g:{index}"] = f"{key}={value}"
        command = (
            ffmpeg.output(*streams, str(temporary.absolute()), **options)
            .global_args("-hide_banner", "-loglevel", "error", "-y")
            .compile(cmd=ffmpeg_exe())
        )
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._errors)

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3) BGR of the writer's size."""
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.dtype} {frame.shape}, wanted uint8 {height, width, 3}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError as error:
            raise self._failure() from error
        self.frames += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        if kind is not None:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        failed = self._process.wait() != 0 and kind is None
        failure = self._failure() if failed else None
        if failure is not None:
            self._stack.__exit__(LipsyncError, failure, None)
            raise failure
        self._stack.__exit__(kind, error, trace)

    def _failure(self) -> LipsyncError:
        self._process.wait()
        return LipsyncError(f"{self.path}: ffmpeg could not write it: {_last_line(self._errors)}")
