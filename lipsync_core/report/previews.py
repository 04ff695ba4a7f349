"""Small videos of prepared clips as the networks see them: face crops with the aligned audio."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from lipsync_core.corpus.filelists import ListedClip, parse_line
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.lse import SAMPLES_A_FRAME
from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.audio import read_pcm, write_wav
from lipsync_core.media.timestamps import FPS
from lipsync_core.media.video import VideoWriter
from lipsync_core.preparation.stages import AUDIO

log = logging.getLogger(__name__)
SECONDS = 4  # of a clip that are shown, its middle
SIDE = 192  # pixels


def clip_preview(results: Path, clip: str, split: str) -> bytes:
    """The middle of a clip as an MP4 (H.264, AAC), at most 4 s of 192 x 192 pixels; b"" if its
    files cannot be read.

    split: whose list says which frames of the clip are used and how its audio is shifted.
    """
    listed = _listed(results / "filelists" / f"{split}.txt", clip)
    archive = CropArchive(results / "faces" / f"{clip}.zip")
    try:
        frames = _middle(archive.frames, listed)
        if not len(frames):
            return b""
        pcm = read_pcm(AUDIO.path(results, source_id(clip)))
        with tempfile.TemporaryDirectory() as folder:
            return _encode(Path(folder), archive, frames, _audio(pcm, frames, listed.audio_shift))
    except LipsyncError as error:
        log.warning("%s: no preview in the report: %s", clip, error)
        return b""
    finally:
        archive.close()


def _listed(path: Path, clip: str) -> ListedClip:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    parsed = (parse_line(line) for line in lines if line.partition("\t")[0] == clip)
    return next(parsed, ListedClip(clip))


def _middle(frames: np.ndarray, listed: ListedClip) -> range:
    """The frames shown, whether they have a crop or not."""
    first = listed.first if listed.first is not None else 0
    last = listed.last if listed.last is not None else int(frames.max(initial=-1))
    own = frames[(frames >= first) & (frames <= last)]
    if not len(own):
        return range(0)
    start = max(int(own[0]), (int(own[0]) + int(own[-1]) + 1 - SECONDS * FPS) // 2)
    return range(start, min(int(own[-1]) + 1, start + SECONDS * FPS))


def _audio(pcm: np.ndarray, frames: range, shift: int) -> np.ndarray:
    """int16 samples of the frames, zeros where there are none; shift: samples of delay."""
    places = np.arange(frames.start * SAMPLES_A_FRAME, frames.stop * SAMPLES_A_FRAME) - shift
    known = (places >= 0) & (places < len(pcm))
    pcm = pcm if len(pcm) else np.zeros(1, "<i2")
    return np.where(known, pcm[np.clip(places, 0, max(len(pcm) - 1, 0))], 0).astype("<i2")


def _encode(folder: Path, archive: CropArchive, frames: range, pcm: np.ndarray) -> bytes:
    wav, video = folder / "audio.wav", folder / "clip.mp4"
    write_wav(wav, [pcm])
    have = set(archive.frames.tolist())
    crop = archive.decode(min(f for f in have if f >= frames.start), SIDE)
    seconds = len(frames) / FPS
    with VideoWriter(video, (SIDE, SIDE), audio=wav, seconds=seconds, threads=1) as writer:
        for frame in frames:
            if frame in have:
                crop = archive.decode(frame, SIDE)
            writer.write(crop)
    return video.read_bytes()
