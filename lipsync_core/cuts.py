"""Clips that are a part of a longer video (AVSpeech): a file of its own in `results/cuts`.

Decoded and encoded anew, never copied: a copy could begin at key frames only, and sound and picture
would part. The picture keeps its own rate; the sound stays as samples.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from lipsync_core.clips import Clip
from lipsync_core.decoder import MAX_PIXELS, allowed, existing, ffmpeg_exe
from lipsync_core.errors import ClipError, Reason
from lipsync_core.files import atomic_path
from lipsync_core.video import h264_encoder

CRF = "12"  # no loss that a crop would show


def ensure_cut(clip: Clip, data_root: Path) -> None:
    """Make the clip's file unless it is there; its name has the source's signature in it.

    Raises ClipError: unreadable, timed_out (see `decoder.time_limit`).
    """
    target = clip.source(data_root)
    if clip.interval is None or target.is_file():
        return
    start, end = clip.interval
    source = existing(clip.origin_source(data_root))
    encoder = h264_encoder()
    quality = ["-crf", CRF, "-preset", "veryfast"] if encoder == "libx264" else ["-q:v", "2"]
    with atomic_path(target) as temporary:
        command = [
            *(ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
            *("-protocol_whitelist", "file", "-max_pixels", str(MAX_PIXELS)),
            # Before the input: seeks to the key frame before, decodes, and drops up to the start.
            *("-ss", f"{start:.3f}", "-t", f"{end - start:.3f}", "-i", source),
            *("-map", "0:V:0", "-map", "0:a:0?", "-fps_mode", "passthrough", "-threads", "1"),
            *("-c:v", encoder, *quality, "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"),
            *("-fflags", "+bitexact", "-map_metadata", "-1", str(temporary.absolute())),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=allowed(end - start), check=False
            )
        except subprocess.TimeoutExpired:
            raise ClipError(
                Reason.TIMED_OUT, f"{source}: cutting {clip.cut} took too long (check.timeout)"
            ) from None
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode or not temporary.is_file() or not temporary.stat().st_size:
            last = said[-1] if said else "nothing could be decoded"
            raise ClipError(Reason.UNREADABLE, f"{source}, {clip.cut} s: {last}")
    _remove_older(target)


def _remove_older(target: Path) -> None:
    """Remove what was cut from an earlier state of the same video: it differs in the signature."""
    for other in target.parent.iterdir():
        if other != target and other.suffix == target.suffix and _stem(other) == _stem(target):
            other.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    return path.name.rsplit(".", 2)[0]
