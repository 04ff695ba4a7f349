"""Evaluation of any videos, such as dubbings by this or other tools, for `lipsync evaluate`.

The largest face of a video is tracked and cropped as for training, and for LSE as its public
protocol has it. Videos in one folder are one system, each video counts as one speaker.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.audio import load_wav, melspectrogram
from lipsync_core.data.loudness import loudness
from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.evaluation import summary
from lipsync_core.evaluation.judges import Audio, Judge, load_judges
from lipsync_core.evaluation.lse import SAMPLES_A_FRAME, protocol_boxes
from lipsync_core.evaluation.output import Evaluation, rounded, write
from lipsync_core.evaluation.protocols import (
    GROUND_TRUTH,
    SAME,
    Row,
    Shown,
    lip_figures,
    quality_figures,
    score_row,
    still_figures,
)
from lipsync_core.evaluation.stretches import speech_of
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.archive import resize_square
from lipsync_core.faces.crops import CropSpec, iter_crops
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, tracks
from lipsync_core.faces.tracking.shots import ShotDetector
from lipsync_core.media.video import probe
from lipsync_core.runtime.device import pick
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)
IMAGE_SIZE = 96  # pixels of the crops that the mouth is measured in
LSE_SIZE = 224
MIN_FRAMES = 16
DETECT_STRIDE, DETECT_MOTION = 5, 0.15  # as the preparation: a fifth of the work


@dataclass(frozen=True)
class FaceVideo:
    """The face of a video and its audio.

    frames: uint8 (T, 96, 96, 3) BGR from frame `first` on; wide: uint8 (T, 224, 224, 3) as LSE's
    protocol crops, None where no judge needs them. total: frames of the video.
    """

    track: Track
    first: int
    frames: np.ndarray
    wide: np.ndarray | None
    audio: Audio
    total: int
    size: tuple[int, int]


def evaluate_videos(
    videos: Sequence[Path],
    judges: Sequence[Judge],
    detector: Detector,
    references: Sequence[Path] = (),
    seed: int = 0,
) -> tuple[dict[str, Any], list[Row]]:
    """Figures of videos, and of the real videos that they are compared with.

    references: none, or one for each video, in order: the same frames with the real mouth. Its face
        is measured as the system ground_truth, and its boxes are used in the video as well.

    Returns the sections of evaluation.json (see `summary.report_sections`; protocol same_audio) and
    the rows by video. A video that cannot be measured counts as failed, with its reason. Raises
    LipsyncError when files do not exist, or when references and videos differ in number.
    """
    if references and len(references) != len(videos):
        raise LipsyncError(
            f"{len(videos)} videos and {len(references)} references; give one for each, in order"
        )
    for path in (*videos, *references):
        if not path.is_file():
            raise LipsyncError(f"{path}: no such file; check the name")
    rows: list[Row] = []
    with Progress(len(videos), "evaluate", "video") as progress:
        for index, path in enumerate(videos):
            rows += _rows(path, references[index] if references else None, judges, detector)
            progress.advance()
    report = {"evaluated_on": "videos", "split": "none", "clips": len(videos), "seed": seed}
    report |= summary.report_sections(rows, (), judges, seed) | {"groups": {}}
    return report, rows


def _rows(
    path: Path, reference: Path | None, judges: Sequence[Judge], detector: Detector
) -> list[Row]:
    """The row of a video, after that of its reference."""
    rows: list[Row] = []
    real = None
    for source, system in ((reference, GROUND_TRUTH), (path, path.parent.name or "videos")):
        if source is None:
            continue
        row = {"protocol": SAME, "system": system, "clip": str(path), "audio": str(source)}
        row |= {"speaker": str(path), "reason": ""}
        try:
            found = read_face(source, detector, any(j.wide for j in judges), real)
            row |= _figures(found, real, judges)
            real = found
        except ClipError as error:
            row["reason"] = str(error.reason)
            log.warning("%s: %s", source, error)
        rows.append(row)
    return rows


def _figures(found: FaceVideo, real: FaceVideo | None, judges: Sequence[Judge]) -> Row:
    shown = Shown(found.frames, judges, found.wide)
    count = len(found.frames)
    audio = {j.name: j.audio_around(found.audio, found.first, count) for j in judges}
    row = score_row(shown, found.first, audio, judges) | {"coverage": count / found.total}
    part = slice(found.first, found.first + count)
    levels = np.pad(loudness(found.audio.mel), (0, part.stop))[part]
    row |= lip_figures(shown.opening, levels, speech_of(found.audio, part.stop)[part])
    row |= still_figures(found.frames)
    if real is not None:
        shared = min(count, len(real.frames))
        row |= quality_figures(found.frames[:shared], real.frames[:shared])
    return row


def read_face(
    path: Path, detector: Detector, wide: bool, like: FaceVideo | None = None
) -> FaceVideo:
    """The largest face of a video, its longest unbroken run in one shot, and its audio.

    like: take the boxes of this video, scaled to the frame, instead of detecting the face.
    Raises ClipError: unreadable, no_video, no_audio, no_face, too_short.
    """
    samples = load_wav(path)
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    if like is None:
        track, total, size = _track(path, detector)
    else:
        shape = probe(path)
        size, total = (shape.width, shape.height), like.total
        scale = np.tile(np.array(size) / np.array(like.size), 2).astype(np.float32)
        track = Track(like.track.frames, like.track.boxes * scale)
    run = max(track.runs(), key=len)
    run = run[: max(0, len(pcm) // SAMPLES_A_FRAME - int(track.frames[run[0]]))]
    if len(run) < MIN_FRAMES:
        raise ClipError(
            Reason.TOO_SHORT, f"{path}: {len(run)} frames with face and audio, {MIN_FRAMES} needed"
        )
    part = Track(track.frames[run], track.boxes[run])
    views = [part, Track(part.frames, protocol_boxes(part.boxes))] if wide else [part]
    frames = _crops(path, views[:1], CropSpec(), IMAGE_SIZE)
    wides = _crops(path, views[1:], CropSpec("square"), LSE_SIZE) if wide else None
    first = int(part.frames[0])
    # The public protocol reads no audio past the last frame.
    end = (first + len(frames)) * SAMPLES_A_FRAME
    mel = melspectrogram(samples).T
    return FaceVideo(part, first, frames, wides, Audio(mel, pcm[:end]), total, size)


def _crops(path: Path, view: list[Track], spec: CropSpec, side: int) -> np.ndarray:
    """Crops of one track: uint8 (T, side, side, 3)."""
    found = [resize_square(crop, side) for _, _, crop in iter_crops(path, view, spec)]
    if len(found) < MIN_FRAMES:
        raise ClipError(Reason.TOO_SHORT, f"{path}: {len(found)} frames with a face")
    return np.stack(found)


def _track(path: Path, detector: Detector) -> tuple[Track, int, tuple[int, int]]:
    """The track of the largest face, the number of frames, width and height."""
    linked, found = face_tracks(path, detector)
    track = tracks.select_track(linked)
    smooth = tracks.fill_and_smooth(track, tracks.MAX_GAP_FRAMES, tracks.SMOOTHING_WINDOW)
    return smooth, found.frames, (found.width, found.height)


def face_tracks(path: Path, detector: Detector) -> tuple[list[Track], detection.Detections]:
    """The tracks of all faces of a video, with what was detected. Raises ClipError (no_face)."""
    shots = ShotDetector()
    [(_, found)] = detection.detect_videos(
        [(path, path)],
        detector,
        stride=DETECT_STRIDE,
        motion=DETECT_MOTION,
        on_frame=lambda _, frame: shots.add(frame),
    )
    if isinstance(found, ClipError):
        raise found
    if not len(found.faces):
        raise ClipError(Reason.NO_FACE, f"{path}: no face in any of its {found.frames} frames")
    found = replace(found, cuts=shots.cuts(found))
    return association.link(found), found


def run(
    videos: Sequence[PathLike],
    reference: Sequence[PathLike] = (),
    checkpoint: Sequence[PathLike] | None = None,
    results: PathLike = "results",
    outfile: PathLike = "results/videos/evaluation.json",
    detector: str = "auto",
    models: PathLike = "models",
    device: str = "auto",
) -> None:
    """`lipsync evaluate`: measure videos, write and log the tables.

    checkpoint: SyncNets that judge, by default those in `results` (syncnet, second_judge).
    Raises LipsyncError when no video could be measured.
    """
    found = _checkpoints(checkpoint, Path(results))
    judges = load_judges(found, models, pick(device))
    if not judges:
        log.warning("no syncnet_v2.model in %s and no SyncNet: sync is not measured", models)
    built = detectors.build(detector, device, models)
    paths, references = [Path(path) for path in videos], [Path(path) for path in reference]
    report, rows = evaluate_videos(paths, judges, built, references)
    write(Evaluation(rounded(report), rows), Path(outfile))
    if all(row["reason"] for row in rows if row["system"] != GROUND_TRUTH):
        raise LipsyncError(f"none of the {len(paths)} videos could be measured; see the warnings")


def _checkpoints(given: Sequence[PathLike] | None, results: Path) -> dict[str, Path]:
    """SyncNet checkpoints by the judge's name."""
    if given is not None:
        names = [Path(path).parent.name or Path(path).stem for path in given]
        unique = len(set(names)) == len(names)
        return {
            name if unique else f"{name}_{index}": Path(path)
            for index, (name, path) in enumerate(zip(names, given, strict=True), 1)
        }
    paths = {name: results / name / "checkpoint.pth" for name in ("syncnet", "second_judge")}
    return {name: path for name, path in paths.items() if path.is_file()}
