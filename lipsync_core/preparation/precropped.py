"""Clips that are folders of face crops and an audio file (layout wav2lip).

Each function replaces a stage's work on a video; tables have `input` "crops" and `detector`
"given".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from lipsync_core.corpus.layouts.wav2lip import frames
from lipsync_core.errors import ClipError, Reason, add_measures
from lipsync_core.faces.archive import write_archive
from lipsync_core.media import audio
from lipsync_core.media.video import FPS, read_image
from lipsync_core.preparation.measures import crop_measures
from lipsync_core.preparation.runner import ClipJob, Worker
from lipsync_core.preparation.segments import ensure_segment
from lipsync_core.preparation.stages import Measures

DETECTOR = "given"


def route(worker: Worker, data_root: Path, function: Callable[[ClipJob, Path], Measures]) -> Worker:
    """A worker that passes clips which are folders of crops to `function`, others to `worker`.

    Segments of longer videos are extracted first.
    """

    def work(jobs: Iterable[ClipJob]) -> Iterator[tuple[ClipJob, Measures | ClipError]]:
        videos = []
        for job in jobs:
            try:
                ensure_segment(job.clip, data_root)
                if job.clip.source(data_root).is_dir():
                    yield job, function(job, data_root)
                else:
                    videos.append(job)
            except ClipError as error:
                yield job, error
        if videos:
            yield from worker(videos)

    return work


def extract_audio(job: ClipJob, data_root: Path) -> Measures:
    """The folder's audio.wav as 16 kHz mono PCM; measures as of a video at 25 frames a second."""
    folder = job.clip.source(data_root)
    sizes = _sizes(folder)
    height, width = next(iter(sizes.values()))
    measures: Measures = {
        "input": "crops",
        "width": width,
        "height": height,
        "fps_in": FPS,
        "seconds": round((max(sizes) + 1) / FPS, 3),
    }
    if not job.clip.audio:
        raise ClipError(Reason.NO_AUDIO, f"{folder}: it has no audio.wav", measures)
    with add_measures(measures):
        seconds = audio.extract_audio(job.clip.audio_source(data_root), job.target)
    return measures | {"audio_seconds": round(seconds, 3)}


def detect_faces(job: ClipJob, data_root: Path) -> Measures:
    """Boxes of the crops: each is one face of the full size."""
    import pandas as pd  # slow import, used by this stage only

    from lipsync_core.faces.detection import COORDINATES, Detections, write_boxes

    by_frame = _sizes(job.clip.source(data_root))
    sizes = np.array(list(by_frame.values()), np.float32)  # (n, 2) height, width
    zeros = np.zeros(len(sizes), np.float32)
    boxes = (zeros, zeros, sizes[:, 1], sizes[:, 0], zeros + 1)
    columns = {"frame": np.array(list(by_frame), np.int32)}
    columns |= dict(zip(COORDINATES, boxes, strict=True))
    faces = pd.DataFrame(columns | {"detected": True})
    faces["landmarks"] = [np.zeros(0, np.float32)] * len(faces)
    height, width = sizes.max(axis=0).astype(int).tolist()
    found = Detections(max(by_frame) + 1, width, height, faces, DETECTOR, len(faces))
    write_boxes(job.target, found)
    return {"frames": found.frames, "face_frames": len(faces), "detector": DETECTOR}


def crop_faces(job: ClipJob, data_root: Path) -> Measures:
    """The JPEG files, unchanged, in an archive like those of videos."""
    folder = job.clip.source(data_root)
    sizes, paths = _sizes(folder), frames(folder)
    with write_archive(job.target) as archive:
        for frame in sizes:
            archive.add(frame, paths[frame].read_bytes())
    face_px = round(float(np.median([max(size) for size in sizes.values()])), 1)
    return {"faces": len(sizes), "face_px": face_px} | crop_measures(job.target)


def _sizes(folder: Path) -> dict[int, tuple[int, int]]:
    """Frame -> (height, width) of its crop; crops that cannot be decoded are left out."""
    found = {}
    for frame, path in frames(folder).items():
        with contextlib.suppress(ClipError):  # larger than the memory
            image = read_image(path)
            if image is not None:
                found[frame] = image.shape[:2]
    if not found:
        raise ClipError(Reason.UNREADABLE, f"{folder}: none of its images can be decoded")
    return found
