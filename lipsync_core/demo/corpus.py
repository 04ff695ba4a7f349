"""The demo corpus on disk: clips, official split lists, the manifest, and a dubbing example.

A clip whose signature, size and time match the manifest is left alone. What the corpus consists of
is decided in `plan`; what a clip looks and sounds like in `render` and `speech`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.demo import plan as plans
from lipsync_core.demo.plan import DemoClip
from lipsync_core.demo.portraits import HEIGHT, WIDTH, still
from lipsync_core.demo.render import FPS, Stage, frames
from lipsync_core.demo.speech import SAMPLE_RATE, say
from lipsync_core.demo.visemes import CHANNELS, mouth_tracks
from lipsync_core.errors import LipsyncError
from lipsync_core.files import atomic_path, write_text, write_text_if_changed
from lipsync_core.progress import Progress
from lipsync_core.video import VideoWriter

log = logging.getLogger(__name__)
MANIFEST = "demo.json"


def clip_path(data_root: Path, clip: DemoClip) -> Path:
    """Where the video of `clip` lies: <data_root>/main/<speaker>/<clip>.mp4."""
    return data_root / "main" / f"{clip.id}.mp4"


def write_clip(path: Path, clip: DemoClip) -> None:
    """Speak, animate and encode one clip to `path` (H.264 and AAC in MP4, 25 fps), atomically."""
    speech = say(clip.text, clip.voice, clip.seed, clip.seconds)
    tracks = mouth_tracks(speech, FPS)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        _write_wav(sound, speech.wav)
        metadata = {"title": f"Demo clip {clip.id}", "comment": plans.NOTICE}
        with VideoWriter(
            path,
            (WIDTH, HEIGHT),
            FPS,
            audio=sound,
            metadata=metadata,
            seconds=len(tracks) / FPS,
            threads=1,
        ) as video:
            for frame in frames(still(clip.portrait), tracks, clip.seed):
                video.write(frame)


def write_corpus(
    data_root: str | os.PathLike[str],
    processes: int | None = None,
    clips: Sequence[DemoClip] | None = None,
) -> list[Path]:
    """Bring the demo corpus under `data_root` up to date; returns the videos' paths.

    Parameters
    ----------
    processes: worker processes, default the number of cores; 1 works in this process.
    clips: what to write, default `plan()`.

    Clips that the manifest knows and that are unchanged on disk are kept. Raises LipsyncError when
    a package's voices or portraits are missing, or a clip's place is taken by a foreign file.
    """
    root = Path(data_root)
    clips = list(plans.plan() if clips is None else clips)
    known = read_manifest(root)
    todo = [clip for clip in clips if not _current(root, clip, known)]
    for clip in todo:
        if clip.id not in known and clip_path(root, clip).exists():
            raise LipsyncError(
                f"{clip_path(root, clip)}: not a demo clip of ours; move it away or choose another "
                "data_root"
            )
    workers = min(processes or os.cpu_count() or 1, len(todo))
    entries = {clip.id: known[clip.id] for clip in clips if clip.id in known}
    with Progress(len(todo), "demo corpus", "clip") as progress:
        for clip in _written(root, todo, workers):
            entries[clip.id] = _entry(root, clip)
            _write_manifest(root, entries)
            progress.advance(note=clip.id)
    for split in ("train", "val", "test"):
        names = "".join(f"{clip.id}\n" for clip in clips if clip.split == split)
        write_text_if_changed(root / f"{split}.txt", names)
    _write_sample(root / "demo")
    _write_manifest(root, entries)
    return [clip_path(root, clip) for clip in clips]


def read_manifest(data_root: Path) -> dict[str, dict]:
    """Entries of <data_root>/demo.json by clip id; empty when absent, unreadable or outdated."""
    try:
        manifest = json.loads((data_root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest.get("clips", {}) if isinstance(manifest, dict) else {}


def _write_manifest(root: Path, entries: dict[str, dict]) -> None:
    manifest = {"version": plans.VERSION, "clips": dict(sorted(entries.items()))}
    write_text_if_changed(root / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _current(root: Path, clip: DemoClip, known: dict[str, dict]) -> bool:
    entry = known.get(clip.id)
    if entry is None or not clip_path(root, clip).is_file():
        return False
    return entry == _entry(root, clip)


def _entry(root: Path, clip: DemoClip) -> dict:
    status = clip_path(root, clip).stat()
    return {
        "signature": plans.signature(clip),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _written(root: Path, todo: Sequence[DemoClip], workers: int):  # noqa: ANN202
    """Write the clips in `todo`, yielding each one when its file is there."""
    if workers <= 1:
        for clip in todo:
            write_clip(clip_path(root, clip), clip)
            yield clip
        return
    # Spawned, not forked: the parent may hold threads of OpenCV or torch.
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        jobs = {pool.submit(write_clip, clip_path(root, clip), clip): clip for clip in todo}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _write_wav(path: Path, wav: np.ndarray) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes((np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes())


def _write_sample(folder: Path) -> None:
    """<folder>/portrait.png and speech.wav: something to dub, if they are not there."""
    speaker, voice, text = plans.sample()
    portrait, speech = folder / "portrait.png", folder / "speech.wav"
    if not portrait.is_file():
        rest = np.zeros(len(CHANNELS), np.float32)
        picture = Stage(still(speaker.portrait)).frame(rest, np.zeros(6, np.float32), 0.0)
        with atomic_path(portrait) as temporary:
            cv2.imwrite(str(temporary), picture)
    if not speech.is_file():
        with atomic_path(speech) as temporary:
            _write_wav(temporary, say(text, voice).wav)
