"""The audio-visual offset of any videos, for `lipsync offset`: one row for each face.

The network that measures: a SyncNet that is given, else syncnet_v2, else one trained here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lipsync_core.audio import load_wav, melspectrogram
from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.evaluation.judges import Audio, Judge, load_judges
from lipsync_core.evaluation.lse import protocol_boxes
from lipsync_core.evaluation.sync import SyncMeasure, describe, measure
from lipsync_core.evaluation.syncnet import runs_of_windows
from lipsync_core.evaluation.videos import IMAGE_SIZE, LSE_SIZE, face_tracks
from lipsync_core.faces import detectors
from lipsync_core.faces.archive import resize_square
from lipsync_core.faces.crops import CropSpec, iter_crops
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import tracks
from lipsync_core.media.timestamps import FPS
from lipsync_core.runtime.device import pick
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress
from lipsync_core.runtime.tables import write_table

log = logging.getLogger(__name__)
WINDOW = 5  # frames
MIN_TRACK_FRAMES = 25
MAX_WINDOWS = 400  # of a face that are measured, in runs of one second over the whole video
# Where a network that measures sync may lie in a results folder, the best one first.
TRAINED = ("sync/bootstrap/checkpoint.pth", "syncnet/checkpoint.pth")


class FaceOffset(NamedTuple):
    """The offset of one face. first, last: frames in which it is visible. found: its sync."""

    first: int
    last: int
    found: SyncMeasure


def video_offsets(path: Path, judge: Judge, detector: Detector) -> list[FaceOffset]:
    """The offset of each face of a video that is visible for a second or more.

    Raises ClipError: unreadable, no_video, no_audio, no_face, too_short.
    """
    samples = load_wav(path)
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    audio = Audio(melspectrogram(samples).T, pcm)
    linked, _ = face_tracks(path, detector)
    people = [track for track in linked if len(track) >= MIN_TRACK_FRAMES]
    rows = []
    for track in people:
        smooth = tracks.fill_and_smooth(track, tracks.MAX_GAP_FRAMES, tracks.SMOOTHING_WINDOW)
        found = _measure(path, smooth, judge, audio)
        if found is not None:
            rows.append(FaceOffset(int(track.frames[0]), int(track.frames[-1]), found))
    if not rows:
        raise ClipError(Reason.TOO_SHORT, f"{path}: no face with audio for a second")
    return rows


def _measure(path: Path, track: Track, judge: Judge, audio: Audio) -> SyncMeasure | None:
    """The sync of one track, None where it is too short or without audio."""
    whole = [run[: len(run) - WINDOW + 1] for run in track.runs() if len(run) >= MIN_TRACK_FRAMES]
    if not whole:
        return None
    starts = runs_of_windows(track.frames[np.concatenate(whole)], MAX_WINDOWS)
    pieces = np.split(starts, np.flatnonzero(np.diff(starts) != 1) + 1)
    needed = np.unique(starts[:, None] + np.arange(WINDOW))
    part = np.isin(track.frames, needed)
    boxes = protocol_boxes(track.boxes) if judge.wide else track.boxes
    spec, side = (CropSpec("square"), LSE_SIZE) if judge.wide else (CropSpec(), IMAGE_SIZE)
    view = Track(track.frames[part], boxes[part])
    crops = {
        int(frame): resize_square(crop, side) for _, frame, crop in iter_crops(path, [view], spec)
    }
    distances, measured = [], []
    for piece in pieces:
        frames = [crops.get(frame) for frame in range(int(piece[0]), int(piece[-1]) + WINDOW)]
        if any(frame is None for frame in frames):
            continue  # partly outside of the picture
        faces = judge.embed_faces(np.stack(frames))
        try:
            heard = judge.audio_around(audio, int(piece[0]), len(piece))
            found = judge.distances(faces, int(piece[0]), heard)
        except ClipError:  # it lies past the end of the audio
            continue
        distances.append(found)
        measured.append(piece[: len(found)])  # the public protocol leaves out the last ones
    if not measured:
        return None
    return measure(np.concatenate(distances), np.concatenate(measured))


def choose_judge(model: PathLike | None, models: PathLike, results: PathLike, device: str) -> Judge:
    """The network that measures. Raises LipsyncError when there is none."""
    found = [Path(model)] if model else []
    if not found:
        judges = load_judges({}, models, pick(device))
        if judges:
            return judges[0]
        found = [Path(results) / name for name in TRAINED if (Path(results) / name).is_file()]
    if not found:
        raise LipsyncError(
            f"no network that measures sync: neither syncnet_v2.model in {models} nor a SyncNet in "
            f"{results}; give --model, fetch one (`lipsync fetch syncnet_v2.model`), or let your "
            "videos train one (`snakemake prepare --config 'sync={correct: measure}'`)"
        )
    if found[0].suffix == ".model":
        return load_judges({}, found[0].parent, pick(device))[0]
    return load_judges({"syncnet": found[0]}, "", pick(device))[0]


def run(
    files: Sequence[PathLike],
    model: PathLike | None = None,
    results: PathLike = "results",
    outfile: PathLike | None = None,
    detector: str = "auto",
    models: PathLike = "models",
    device: str = "auto",
) -> None:
    """`lipsync offset`: measure videos and log a line for each face; outfile: CSV as well.

    A file that cannot be measured has a line with the reason. Raises LipsyncError when none can.
    """
    judge = choose_judge(model, models, results, device)
    built = detectors.build(detector, device, models)
    log.info("measured by %s", judge.description)
    rows: list[dict[str, object]] = []
    failed = 0
    with Progress(len(files), "offset", "video") as progress:
        for path in map(Path, files):
            try:
                faces = video_offsets(path, judge, built)
            except ClipError as error:
                failed += 1
                log.warning("%s: not measured: %s", path, error)
                rows.append({"file": str(path), "reason": str(error.reason)})
            else:
                for number, face in enumerate(faces):
                    rows.append({"file": str(path), "face": number} | _columns(face))
                    log.info("%s%s", path, sentence(face, number, len(faces)))
            progress.advance()
    if outfile is not None:
        write_table(Path(outfile), rows, first=("file", "face", "reason"))
    if failed == len(files):
        raise LipsyncError(f"none of the {failed} files could be measured; see the warnings")


def _columns(face: FaceOffset) -> dict[str, object]:
    found = face.found
    return {
        "first_frame": face.first,
        "last_frame": face.last,
        "offset": found.offset,
        "offset_ms": found.offset * 1000 // FPS,
        "low": found.low,
        "high": found.high,
        "agreement": round(found.agreement, 3),
        "confidence": round(found.confidence, 4),
        "drift": found.drift,
    }


def sentence(face: FaceOffset, number: int, faces: int) -> str:
    """The offset of a face in words."""
    found = face.found
    which = f", face {number + 1} of {faces}" if faces > 1 else ""
    when = f" ({face.first / FPS:.1f}-{(face.last + 1) / FPS:.1f} s)"
    interval = f"{_signed(found.low)} to {_signed(found.high)} frames"
    certain = f"{found.agreement:.0%} sure, {interval}"
    drift = f"; it grows by {found.drift:+.1f} frames in that time" if found.drift else ""
    said = f"{_signed(found.offset)} frames, {describe(found.offset)}"
    return f"{which}{when}: {said} ({certain}{drift})"


def _signed(frames: int) -> str:
    return f"{frames:+d}" if frames else "0"
