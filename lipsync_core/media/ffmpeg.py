"""Decode users' files with ffmpeg in a subprocess, with limits on time and frame size.

Every file of a user is opened here and nowhere else: outside of this process and without network
access, so that no file can crash, block or flood the job.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from lipsync_core.errors import ClipError, Reason
from lipsync_core.media import ffmpeg_binary, id3
from lipsync_core.runtime.files import PathLike

TIME_LIMIT = 300.0  # seconds, and as many again for each minute of the clip; see `Decoder`
_limit = TIME_LIMIT  # the process's own, see `time_limit`
MAX_PIXELS = 8192 * 4320  # of one frame (8K); a header can claim any size
# ffconcat and HLS; DASH, IMF and SVG (XML): ffmpeg would read the files that they name.
LISTS = (b"ffconcat", b"#EXTM3U", b"<")
LIST_PADDING = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, and space
LIST_HEAD_BYTES, PROBED_BYTES = 64, 1 << 20  # the latter: by which ffmpeg chooses a reader
LOG_BYTES = 1 << 20
PIPE_BYTES = 1 << 20  # the largest that Linux grants without privileges
# Messages that follow the cause of an error and name none.
FOLLOW_UP_ERRORS = re.compile(
    r"Terminating thread|Task finished with error|Nothing was written|before EOF|after EOF"
    r"|Could not write header|has not been used for any stream|Conversion failed"
    r"|Error (opening|parsing options|marking filters)"
)


def ffmpeg_exe() -> str:
    """Path of the ffmpeg program, as `ffmpeg_binary` chooses it."""
    return ffmpeg_binary.chosen().path


def input_path(path: PathLike) -> str:
    """`path` in the form that ffmpeg needs.

    Raises ClipError (unreadable) without such a file, and for a list of other files.
    """
    # Absolute, so that a leading dash is no option and "concat:" no protocol.
    source = Path(path).absolute()
    if not source.is_file():
        raise ClipError(Reason.UNREADABLE, f"{source}: no such file")
    with open(source, "rb") as stream:
        id3.skip_tags(stream)
        head = stream.read(LIST_HEAD_BYTES).lstrip(LIST_PADDING)
        if not head:  # nothing but padding
            head = stream.read(PROBED_BYTES).lstrip(LIST_PADDING)
    if head.startswith(LISTS):
        raise ClipError(
            Reason.UNREADABLE,
            f"{source}: a list of other files, or a drawing; give a video, a picture or audio",
        )
    return str(source)


def end_process(process: subprocess.Popen[bytes], kill: bool) -> int:
    """Close the pipes to an ffmpeg process, wait for its end, and return its exit status.

    kill: end it now; else it ends when it has read its input.
    """
    if kill:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    return process.wait()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Set the limit of all decoders that this process opens in the block: see `Decoder`."""
    global _limit
    before, _limit = _limit, seconds
    try:
        yield
    finally:
        _limit = before


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold `PIPE_BYTES`, where the system can: its two ends wait less for each other."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Decoder:
    """An ffmpeg process that decodes one file; its standard output is read through this object.

    Parameters
    ----------
    path: the file; named in every error.
    outputs: ffmpeg's arguments after the input; one output must be `pipe:1`.
    level: ffmpeg's log level; the log is kept in a file, see `stderr_head` and `stderr_tail`.
    pass_fds: descriptors that the outputs name as `pipe:<n>`.
    threads: decoding threads; 0 leaves it to ffmpeg, which takes all cores.
    before: ffmpeg's arguments before the input, such as a seek.

    Reads wait for ffmpeg for the seconds of `time_limit` in all, and as many again for each minute
    of media that `extend_deadline` reports. The time between two reads is not counted.

    Use as a context manager: leaving it kills ffmpeg.
    Raises ClipError: unreadable (no such file), timed_out (from any read).
    """

    def __init__(
        self,
        path: PathLike,
        outputs: Sequence[str],
        level: str = "error",
        pass_fds: Sequence[int] = (),
        threads: int = 0,
        before: Sequence[str] = (),
    ) -> None:
        self.source = input_path(path)
        self._seconds_limit = self._seconds_left = _limit
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        # Only local files: a "video" may be a playlist that names other addresses.
        bounds = ["-protocol_whitelist", "file", "-max_pixels", str(MAX_PIXELS)]
        bounds += ["-threads", str(threads)] if threads else []
        command = [ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", level]
        self._process = subprocess.Popen(
            [*command, *bounds, *before, "-i", self.source, *outputs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            pass_fds=pass_fds,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        enlarge_pipe(self._pipe)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN | select.POLLHUP)

    def fill(self, buffer: memoryview) -> int:
        """Read bytes into a flat `buffer`; return how many: fewer than its size only at the end."""
        done = 0
        while done < len(buffer):
            self._wait()
            count = os.readv(self._pipe, [buffer[done:]])
            if not count:
                break
            done += count
        return done

    def line(self) -> bytes:
        """Read to the next line end (excluded), byte by byte: for short headers."""
        text, byte = bytearray(), bytearray(1)
        while self.fill(memoryview(byte)) and byte != b"\n":
            text += byte
        return bytes(text)

    def lines(self) -> Iterator[str]:
        """The rest of the output as lines of text, without line ends."""
        rest, block = b"", bytearray(1 << 16)
        while True:
            self._wait()
            count = os.readv(self._pipe, [block])
            if not count:
                break
            *whole, rest = (rest + block[:count]).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    def extend_deadline(self, seconds: float) -> None:
        """Extend the deadline in proportion to the seconds of media decoded since the last call."""
        self._seconds_left += seconds * self._seconds_limit / 60

    def finish(self) -> int:
        """Wait for ffmpeg to end and return its exit status.

        Raises ClipError (unreadable) when a signal ended it: its output may be incomplete.
        """
        try:
            status = self._process.wait(max(self._seconds_left, 0.0))
        except subprocess.TimeoutExpired:
            raise self._timed_out() from None
        if status < 0:
            name = signal.Signals(-status).name
            raise ClipError(Reason.UNREADABLE, f"{self.source}: {name} ended ffmpeg")
        return status

    def stderr_head(self) -> str:
        """The first MiB of ffmpeg's log."""
        return self._log_from(0)

    def stderr_tail(self) -> str:
        """The last MiB of ffmpeg's log."""
        return self._log_from(max(0, self._errors.seek(0, os.SEEK_END) - LOG_BYTES))

    def _log_from(self, position: int) -> str:
        self._errors.seek(position)
        return self._errors.read(LOG_BYTES).decode(errors="replace").strip("\r\n")

    def failure(self, otherwise: str) -> ClipError:
        """An `unreadable` error with the last cause in ffmpeg's log, or `otherwise` without one."""
        lines = self.stderr_tail().splitlines()
        found = [line for line in lines if line.startswith("[") or "rror" in line]
        causes = [line for line in found if not FOLLOW_UP_ERRORS.search(line)]
        if not causes:  # ffmpeg before version 6 names only the file
            named = (f"{self.source}: ", "Error opening input")
            causes = [line.removeprefix(named[0]) for line in lines if line.startswith(named)]
        # The address differs from run to run.
        why = re.sub(r" @ 0x[0-9a-f]+", "", causes[-1]).strip() if causes else otherwise
        return ClipError(Reason.UNREADABLE, f"{self.source}: {why}")

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end_process(self._process, kill=True)
        self._errors.close()

    def _wait(self) -> None:
        start = time.monotonic()
        ready = self._poll.poll(max(self._seconds_left, 0.0) * 1000)
        self._seconds_left -= time.monotonic() - start
        if not ready:
            raise self._timed_out()

    def _timed_out(self) -> ClipError:
        return ClipError(
            Reason.TIMED_OUT,
            f"{self.source}: ffmpeg was stopped after {self._seconds_limit:.0f} s and as much for "
            "each minute read (check.timeout)",
        )
