"""Encode videos with ffmpeg: the process, its options, and the file that appears whole or not.

The command is a filter graph of ffmpeg-python. The two writers are `video.VideoWriter` (a constant
rate) and `stamped_writer.StampedWriter` (each frame at its own time).
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import ffmpeg

from lipsync_core.errors import LipsyncError
from lipsync_core.media.ffmpeg import end_process, enlarge_pipe, ffmpeg_exe
from lipsync_core.media.soundtrack import Soundtrack
from lipsync_core.runtime.files import PathLike, atomic_path, unnamed_path

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}  # ffmpeg's name by suffix
CRF = 18  # constant rate factor of written videos: nearly lossless
# On real clips as good (SSIM within 0.0002) and as large (within 2 %) as the preset veryfast alone,
# in 0.76 of the time.
X264 = {"preset": "veryfast", "partitions": "i8x8,i4x4", "motion-est": "dia"}


@functools.cache
def h264_encoder() -> str:
    """Name of the best H.264 (else MPEG-4) encoder that this ffmpeg has."""
    listing = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True
    ).stdout
    present = {line.split()[1] for line in listing.splitlines() if len(line.split()) > 1}
    return next((name for name in ("libx264", "libopenh264") if name in present), "mpeg4")


def encoder_options(
    crf: int = CRF, metadata: Mapping[str, str] | None = None, threads: int | None = None
) -> dict[str, Any]:
    """ffmpeg's options for a widely playable MP4.

    crf: constant rate factor of x264, 0 to 51 (18 is nearly lossless); other encoders take a bit
    rate of 6 Mbit/s. metadata: container tags. threads: of the encoder; None leaves it to it.
    """
    options: dict[str, Any] = {
        "vcodec": h264_encoder(),
        "pix_fmt": "yuv420p",
        "movflags": "+faststart",
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
    }
    if options["vcodec"] == "libx264":
        options |= {"crf": crf, **X264}
    else:
        options["b:v"] = "6M"
    if threads is not None:
        options["threads"] = threads
    for index, (key, value) in enumerate((metadata or {}).items()):
        options[f"metadata:g:{index}"] = f"{key}={value}"
    return options


def pcm_input(track: Soundtrack, **options: str) -> ffmpeg.nodes.FilterableStream:
    """Input of decoded samples; their descriptor is passed to the `EncoderProcess`."""
    shape = {"format": "s16le", "ar": track.rate, "ac": track.channels}
    return ffmpeg.input(f"pipe:{track.pcm.fileno()}", **shape, **options).audio


def aac_options(track: Soundtrack) -> dict[str, Any]:
    """ffmpeg's options to encode `track` as AAC."""
    return {"acodec": "aac", "b:a": track.bitrate, "flags:a": "+bitexact"}


class EncoderProcess:
    """An ffmpeg process that writes `path` from bytes that are sent to its standard input.

    Parameters
    ----------
    path: the file to write; it appears, whole, when the object is closed without an error.
    streams: outputs of ffmpeg-python's graph; one of them reads "pipe:".
    options: of the output, such as `encoder_options`.
    descriptors: open files that the graph names as "pipe:<n>".

    Use as a context manager; an error in the block kills ffmpeg. Raises LipsyncError when it fails.
    """

    def __init__(
        self,
        path: PathLike,
        streams: Sequence[ffmpeg.nodes.FilterableStream],
        options: Mapping[str, Any],
        descriptors: Sequence[int] = (),
    ) -> None:
        self.path = Path(path)
        with contextlib.ExitStack() as stack:
            target, unnamed, container = stack.enter_context(_target(self.path))
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            command = (
                ffmpeg.output(*streams, str(target), **container, **options)
                .global_args("-hide_banner", "-loglevel", "error", "-y")
                .compile(cmd=ffmpeg_exe())
            )
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                pass_fds=[*descriptors, *([] if unnamed is None else [unnamed])],
            )
            assert self._process.stdin is not None
            enlarge_pipe(self._process.stdin.fileno())
            self._stack = stack.pop_all()

    def hold(self, resource: contextlib.AbstractContextManager[Any]) -> None:
        """Close `resource` together with this object."""
        self._stack.push(resource)

    def send(self, data: memoryview | bytes) -> None:
        """Write all of `data` to ffmpeg's standard input."""
        assert self._process.stdin is not None
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest) :]
        except BrokenPipeError as error:
            raise self._failure() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = end_process(self._process, kill=kind is not None)
        if status and kind is None:
            failure = self._failure()
            self._stack.__exit__(LipsyncError, failure, None)
            raise failure
        self._stack.__exit__(kind, error, trace)

    def _failure(self) -> LipsyncError:
        self._process.wait()
        return LipsyncError(f"{self.path}: ffmpeg could not write it: {_last_line(self._errors)}")


@contextlib.contextmanager
def _target(path: Path) -> Iterator[tuple[Path, int | None, dict[str, str]]]:
    """Where ffmpeg writes: as `unnamed_path`, with the options that say what the name would."""
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:  # ffmpeg goes by the suffix
        with atomic_path(path) as temporary:
            yield temporary.absolute(), None, {}
    else:
        with unnamed_path(path) as (target, descriptor):
            yield target, descriptor, {"format": container}


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it names no reason"
