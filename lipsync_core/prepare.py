"""The work of the five stages of preparation, one function a stage.

Each brings one shard up to date (see `lipsync_core.stage`). Heavy modules are imported by the
stage that needs them: a job that makes spectrograms does not load torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core import audio, stages
from lipsync_core.checks import check, derived
from lipsync_core.clips import Clip
from lipsync_core.errors import ClipError, Reason
from lipsync_core.files import atomic_path
from lipsync_core.stage import Measures, Row, Task, one_by_one, run_shard
from lipsync_core.video import probe

log = logging.getLogger(__name__)


def extract_audio(
    clips: Sequence[Clip], data_root: Path, results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `audio/<clip id>.wav`; measures: width, height, fps_in, seconds, audio_seconds.

    Drops what ffmpeg cannot read (unreadable, no_video) and what has no sound (no_audio).
    """

    from lipsync_core.faces import given

    def work(task: Task) -> Measures:
        source, sound = task.clip.source(data_root), task.clip.sound_source(data_root)
        picture = probe(source)
        measures: Measures = {
            "width": picture.width,
            "height": picture.height,
            "fps_in": round(float(picture.fps), 3),
            "seconds": round(picture.seconds, 3),
        }
        if sound == source and not picture.has_audio:
            raise ClipError(Reason.NO_AUDIO, f"{source}: it has no sound track", measures)
        try:
            seconds = audio.extract_audio(sound, task.target)
        except ClipError as error:
            raise ClipError(error.reason, error.detail, measures) from error
        return measures | {"audio_seconds": round(seconds, 3)}

    worker = given.apart(one_by_one(work), data_root, given.extract_audio)
    return run_shard(stages.AUDIO, clips, results, shard, params, worker)


def mel_spectrograms(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `mels/<clip id>.npy`, float32 (T, 80), 80 rows a second; measures of the sound.

    See `measures.sound_measures`.
    """
    from lipsync_core.measures import sound_measures

    def work(task: Task) -> Measures:
        wav = audio.load_wav(task.clip.artefact(results / stages.AUDIO.folder, ".wav"))
        if len(wav) <= audio.WINDOW:
            raise ClipError(Reason.TOO_SHORT, f"{len(wav)} samples of sound")
        with atomic_path(task.target) as temporary:
            mel = audio.melspectrogram(wav)
            np.save(temporary, np.ascontiguousarray(mel.T))
        return sound_measures(wav, mel)

    return run_shard(stages.MELS, clips, results, shard, params, one_by_one(work))


def detect_faces(
    clips: Sequence[Clip],
    data_root: Path,
    results: Path,
    shard: int,
    params: Mapping[str, Any],
    batch_size: int,
    device: str,
    models: Path,
) -> list[Row]:
    """Write `boxes/<clip id>.parquet`, every face of every frame; measures: frames, face_frames.

    The detector is loaded once, and only when a clip needs it; its batches span clips.
    """
    from lipsync_core.faces import detection, detectors, given

    def work(tasks: Iterable[Task]) -> Iterator[tuple[Task, Measures | ClipError]]:
        name, threshold = params["detector"], params["detect.threshold"]
        detector = detectors.build(name, device, models, threshold=threshold)
        log.info("detector: %s on %s", detector.name, device)
        found = detection.detect_videos(
            ((task, task.clip.source(data_root)) for task in tasks),
            detector,
            long_side=params["detect.long_side"],
            batch_size=batch_size,
        )
        for task, result in found:
            if isinstance(result, ClipError):
                yield task, result
                continue
            detection.write_boxes(task.target, result)
            measures = {"frames": result.frames, "face_frames": result.faces["frame"].nunique()}
            yield task, measures | {"detector": detector.name}

    worker = given.apart(work, data_root, given.detect_faces)
    return run_shard(stages.BOXES, clips, results, shard, params, worker)


def crop_faces(
    clips: Sequence[Clip], data_root: Path, results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `faces/<clip id>.zip`, the main speaker's face crops; measures: faces, face_px, ...

    `faces` counts the frames with a crop, `face_px` is the median longer side of the face; see
    `measures.head_motion` and `measures.picture_measures` for the others.
    Drops clips without any face (no_face).
    """
    from lipsync_core.faces import crops, detection, given, tracks
    from lipsync_core.measures import head_motion, picture_measures

    track, crop = params["track"], params["crop"]

    def work(task: Task) -> Measures:
        found = detection.read_boxes(task.clip.artefact(results / stages.BOXES.folder, ".parquet"))
        main = tracks.main_track(found, max_gap=track["max_gap"], smooth=track["smooth"])
        if not len(main.frames):
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        stats = crops.write_crops(
            task.clip.source(data_root),
            main,
            task.target,
            pads=tuple(crop["pads"]),
            size=crop["size"],
            quality=crop["quality"],
        )
        sizes = {"faces": stats.frames, "face_px": round(stats.face_px, 1)}
        motion = {"motion": head_motion(main.frames, main.boxes)}
        return sizes | motion | picture_measures(task.target)

    worker = given.apart(one_by_one(work), data_root, given.crop_faces)
    return run_shard(stages.FACES, clips, results, shard, params, worker)


def check_clips(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Compare each clip's measures with the thresholds; measures: see `checks.derived`."""

    def work(task: Task) -> Measures:
        measures: Row = {}
        for row in task.before.values():
            measures |= row
        own = derived(measures)
        try:
            check(measures | own, params["check"])
        except ClipError as error:
            raise ClipError(error.reason, error.detail, own) from error
        return own

    return run_shard(stages.CHECKS, clips, results, shard, params, one_by_one(work))
