"""Clips that come as face crops and a sound (layout wav2lip): no video, nothing to detect.

Each function stands in for a stage's work on a video; the tables say `input` crops and `detector`
given.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lipsync_core import audio
from lipsync_core.errors import ClipError, Reason
from lipsync_core.faces.crops import member, read_jpeg_size
from lipsync_core.faces.detection import COORDINATES, Detections, write_boxes
from lipsync_core.files import atomic_path
from lipsync_core.layouts.wav2lip import frames
from lipsync_core.measures import picture_measures
from lipsync_core.stage import Measures, Task, Worker
from lipsync_core.video import FPS

DETECTOR = "given"


def apart(worker: Worker, data_root: Path, function: Callable[[Task, Path], Measures]) -> Worker:
    """A worker that gives clips which are folders of crops to `function`, others to `worker`."""

    def work(tasks: Iterable[Task]) -> Iterator[tuple[Task, Measures | ClipError]]:
        videos = []
        for task in tasks:
            if not task.clip.source(data_root).is_dir():
                videos.append(task)
                continue
            try:
                yield task, function(task, data_root)
            except ClipError as error:
                yield task, error
        if videos:
            yield from worker(videos)

    return work


def extract_audio(task: Task, data_root: Path) -> Measures:
    """The folder's audio.wav as 16 kHz mono PCM; measures as of a video at 25 frames a second."""
    folder = task.clip.source(data_root)
    pictures = _pictures(folder)
    height, width = next(iter(pictures.values()))[1]
    measures: Measures = {
        "input": "crops",
        "width": width,
        "height": height,
        "fps_in": FPS,
        "seconds": round((max(pictures) + 1) / FPS, 3),
    }
    if not task.clip.sound:
        raise ClipError(Reason.NO_AUDIO, f"{folder}: it has no audio.wav", measures)
    try:
        seconds = audio.extract_audio(task.clip.sound_source(data_root), task.target)
    except ClipError as error:
        raise ClipError(error.reason, error.detail, measures) from error
    return measures | {"audio_seconds": round(seconds, 3)}


def detect_faces(task: Task, data_root: Path) -> Measures:
    """Each picture is one face, of its full size."""
    pictures = _pictures(task.clip.source(data_root))
    sizes = np.array([size for _, size in pictures.values()], np.float32)  # (n, 2) height, width
    faces = pd.DataFrame({"frame": np.array(list(pictures), np.int32)})
    zeros = np.zeros(len(sizes), np.float32)
    for name, column in zip(
        COORDINATES, (zeros, zeros, sizes[:, 1], sizes[:, 0], zeros + 1), strict=True
    ):
        faces[name] = column
    faces["landmarks"] = [np.zeros(0, np.float32)] * len(faces)
    height, width = sizes.max(axis=0).astype(int).tolist()
    found = Detections(max(pictures) + 1, width, height, faces, DETECTOR)
    write_boxes(task.target, found)
    return {"frames": found.frames, "face_frames": len(faces), "detector": DETECTOR}


def crop_faces(task: Task, data_root: Path) -> Measures:
    """The pictures as they are, in an archive like those of videos."""
    pictures = _pictures(task.clip.source(data_root))
    with atomic_path(task.target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for frame, (data, _) in pictures.items():
            archive.writestr(member(frame), data)
    sides = [max(size) for _, size in pictures.values()]
    sizes = {"faces": len(pictures), "face_px": round(float(np.median(sides)), 1)}
    return sizes | picture_measures(task.target)


def _pictures(folder: Path) -> dict[int, tuple[bytes, tuple[int, int]]]:
    """Frame -> JPEG and its (height, width); pictures that cannot be decoded are left out."""
    found = {}
    for frame, path in frames(folder).items():
        data = path.read_bytes()
        size = read_jpeg_size(data)
        if min(size) and cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None:
            found[frame] = (data, size)
    if not found:
        raise ClipError(Reason.UNREADABLE, f"{folder}: none of its pictures can be decoded")
    return found
