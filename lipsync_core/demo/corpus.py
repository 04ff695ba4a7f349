"""Write the demo corpus: clips, official split lists, the manifest, and a dubbing example.

Existing whole clips with the same signature are kept. `plan` defines the corpus; `render` and
`speech` produce the frames and the audio.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.demo import plan as plans
from lipsync_core.demo.plan import NOTICE, DemoClip
from lipsync_core.demo.portraits import HEIGHT, WIDTH, still
from lipsync_core.demo.render import FPS, StillRenderer, frames
from lipsync_core.demo.speech import SAMPLE_RATE, say
from lipsync_core.demo.visemes import CHANNELS, mouth_tracks
from lipsync_core.errors import LipsyncError
from lipsync_core.media import ffmpeg_binary
from lipsync_core.media.audio import write_wav
from lipsync_core.media.video import VideoWriter
from lipsync_core.runtime.files import PathLike, atomic_path, write_text_if_changed
from lipsync_core.runtime.progress import Progress

MANIFEST = "demo.json"


def clip_path(data_root: Path, clip: DemoClip) -> Path:
    """Path of the video of `clip`: <data_root>/main/<speaker>/<clip>.mp4."""
    return data_root / "main" / f"{clip.id}.mp4"


def write_clip(path: Path, clip: DemoClip) -> None:
    """Synthesize, render and encode one clip to `path` (MP4, 25 fps), atomically."""
    speech = say(clip.text, clip.voice, clip.seed, clip.seconds)
    tracks = mouth_tracks(speech, FPS)
    wav = np.pad(speech.wav, (0, len(tracks) * SAMPLE_RATE // FPS - len(speech.wav)))
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder) / "speech.wav"
        _write_speech(audio, wav)
        metadata = {"title": f"Demo clip {clip.id}", "comment": _mark(clip)}
        with VideoWriter(
            path,
            (WIDTH, HEIGHT),
            FPS,
            audio=audio,
            metadata=metadata,
            seconds=len(tracks) / FPS,
            threads=1,
        ) as video:
            for frame in frames(still(clip.portrait), tracks, clip.seed):
                video.write(frame)


def write_corpus(
    data_root: PathLike,
    processes: int | None = None,
    clips: Sequence[DemoClip] | None = None,
) -> list[Path]:
    """Bring the demo corpus under `data_root` up to date; returns the videos' paths.

    Writes main/<speaker>/<clip>.mp4, the official lists train.txt, val.txt and test.txt,
    demo/portrait.png and demo/speech.wav, and last the manifest demo.json.

    Parameters
    ----------
    processes: worker processes, by default the number of cores; 1 runs in this process.
    clips: what to write, default `plan()`.

    Whole clips with the same signature are kept, so that an interrupted run continues. Raises
    LipsyncError when voices or portraits are missing, or when another file has a clip's name.
    """
    root = Path(data_root)
    clips = list(plans.plan() if clips is None else clips)
    todo = [clip for clip in clips if not _current(clip_path(root, clip), clip)]
    for path in (clip_path(root, clip) for clip in todo):
        if path.exists() and NOTICE.encode() not in _head(path):
            raise LipsyncError(
                f"{path}: not a demo clip, so it is left alone; move it away or choose another "
                "data_root"
            )
    workers = min(processes or os.cpu_count() or 1, len(todo))
    with Progress(len(todo), "demo corpus", "clip") as progress:
        for clip in _written(root, todo, workers):
            progress.advance(note=clip.id)
    for split in ("train", "val", "test"):
        names = "".join(f"{clip.id}\n" for clip in clips if clip.split == split)
        write_text_if_changed(root / f"{split}.txt", names)
    write_sample(root / "demo")
    entries = {clip.id: _entry(clip_path(root, clip), clip) for clip in clips}
    manifest = {"version": plans.VERSION, "clips": entries}
    write_text_if_changed(root / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return [clip_path(root, clip) for clip in clips]


def _mark(clip: DemoClip) -> str:
    """The comment in a clip's file: notice, signature and identity of ffmpeg."""
    return f"{NOTICE} [{plans.signature(clip)}, ffmpeg {ffmpeg_binary.chosen().identity}]"


def _head(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(1 << 18)  # a short clip's index with its tags comes first


def _current(path: Path, clip: DemoClip) -> bool:
    """True when `path` is a whole file of this clip with the current signature."""
    return path.is_file() and _mark(clip).encode() in _head(path) and _whole(path)


def _whole(path: Path) -> bool:
    """True when the sizes of an MP4 file's boxes add up to its size."""
    size, at = path.stat().st_size, 0
    with open(path, "rb") as stream:
        while at + 8 <= size:
            stream.seek(at)
            at += max(int.from_bytes(stream.read(4), "big"), 8)
    return at == size


def _entry(path: Path, clip: DemoClip) -> dict:
    status = path.stat()
    return {
        "signature": plans.signature(clip),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _written(root: Path, todo: Sequence[DemoClip], workers: int) -> Iterator[DemoClip]:
    """Write the clips in `todo`; yield each one when its file is written."""
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


def _write_speech(path: Path, wav: np.ndarray) -> None:
    """Write float samples (N,) in [-1, 1] at 16 kHz as a WAV file."""
    write_wav(path, [(np.clip(wav, -1, 1) * 32767).astype("<i2")])


def write_sample(folder: Path) -> None:
    """Write <folder>/portrait.png and speech.wav for a dubbing, unless they exist."""
    speaker, voice, text = plans.sample()
    portrait, speech = folder / "portrait.png", folder / "speech.wav"
    if not portrait.is_file():
        rest = np.zeros(len(CHANNELS), np.float32)
        picture = StillRenderer(still(speaker.portrait)).frame(rest, np.zeros(6, np.float32), 0.0)
        with atomic_path(portrait) as temporary:
            cv2.imwrite(str(temporary), picture)
    if not speech.is_file():
        _write_speech(speech, say(text, voice).wav)
