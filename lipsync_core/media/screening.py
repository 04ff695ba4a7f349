"""Cheap checks of strangers' files, before any work is spent on them.

ffmpeg chooses its reader by content and has readers for playlists, lists of files and drawings,
which name other files. Only files that begin like a container of samples are let through.
"""

from __future__ import annotations

import re
import warnings

import PIL.Image

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.media import id3
from lipsync_core.media.ffmpeg import Decoder, input_path
from lipsync_core.media.timestamps import read_timeline
from lipsync_core.media.video import is_image
from lipsync_core.runtime.files import PathLike

HEAD_BYTES = 1024
SIGNATURES = re.compile(
    rb"....(ftyp|moov|mdat|free|skip|wide|pnot)"  # MP4, MOV, 3GP, M4A
    rb"|\x1a\x45\xdf\xa3"  # Matroska, WebM
    rb"|RIFF....(AVI |WAVE)|RF64....WAVE|FORM....AIF[FC]"
    rb"|OggS|fLaC|GIF8[79]a|FLV\x01|caff|\.snd|#!AMR"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11"  # ASF: WMV, WMA
    rb"|\x00\x00\x01[\xba\xb3]"  # MPEG program and elementary streams
    rb"|\x47.{187}\x47.{187}\x47"  # MPEG transport streams
    rb"|.{4}\x47.{191}\x47.{191}\x47"  # the same with time codes: M2TS
    rb"|\xff[\xe2-\xfd]",  # MPEG audio: MP3, AAC
    re.DOTALL,
)
# Behind an ID3 tag ffmpeg chooses again, by what follows.
BEHIND_ID3 = re.compile(rb"\xff[\xe2-\xfd]|fLaC|FORM....AIF[FC]|RIFF....WAVE", re.DOTALL)
CHECK_RATE = 8000  # samples a second, of the decoding that measures a length


def is_media(path: PathLike) -> bool:
    """True when `path` begins like a video, a sound or a still picture, whatever its name."""
    try:
        source = input_path(path)
    except ClipError:  # no file, or a list of other files
        return False
    if is_image(path):
        return True
    with open(source, "rb") as stream:
        id3.skip_tags(stream)
        tagged = stream.tell() > 0
        head = stream.read(HEAD_BYTES)
    if tagged:
        return BEHIND_ID3.match(head.lstrip(b"\x00")) is not None  # some writers pad
    return SIGNATURES.match(head) is not None


def picture_size(path: PathLike) -> tuple[int, int]:
    """Width and height of a still picture in pixels, by its header; nothing is decoded.

    Raises ClipError (unreadable) when there is none, LipsyncError when it has over 179 million
    pixels.
    """
    source = input_path(path)
    try:
        with warnings.catch_warnings():
            # The caller compares the size with limits of its own.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(source) as picture:
                return picture.size
    except PIL.Image.DecompressionBombError as error:
        raise LipsyncError(
            f"{source}: its pixels are too many; scale it down to 1920x1080"
        ) from error
    except OSError as error:
        raise ClipError(Reason.UNREADABLE, f"{source}: not a whole picture") from error


def video_seconds(path: PathLike) -> float:
    """Length of a video by its packets (a header can state any). Raises as `read_timeline`."""
    return read_timeline(path).seconds


def sound_seconds(path: PathLike, most: float) -> float:
    """Seconds of the first audio track of `path`; at most about `most` are decoded.

    Raises ClipError: no_audio, unreadable, timed_out.
    """
    # A second more, so that what is too long is seen to be.
    wanted = ["-map", "0:a:0", "-t", f"{most + 1:.3f}", "-ac", "1", "-ar", str(CHECK_RATE)]
    count, block = 0, memoryview(bytearray(1 << 16))
    with Decoder(path, [*wanted, "-f", "s16le", "pipe:1"]) as decoder:
        while read := decoder.fill(block):
            count += read
            decoder.extend_deadline(read / (2 * CHECK_RATE))
        decoder.finish()
        if not count and "matches no streams" in decoder.stderr_tail():
            raise ClipError(Reason.NO_AUDIO, f"{decoder.source}: it has no sound")
        if not count:
            raise decoder.failure("no sound could be decoded")
    return count / (2 * CHECK_RATE)
