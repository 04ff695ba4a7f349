"""The work of the five stages of preparation, one function a stage.

Each brings one shard up to date (see `lipsync_core.stage`). Heavy modules are imported by the
stage that needs them: a job that makes spectrograms does not load torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lipsync_core import audio, stages
from lipsync_core.checks import check, loudness
from lipsync_core.clips import Clip
from lipsync_core.decoder import TIME_LIMIT
from lipsync_core.errors import ClipError, Reason
from lipsync_core.stage import Measures, Row, Task, one_by_one, run_shard
from lipsync_core.timebase import survey
from lipsync_core.video import probe

log = logging.getLogger(__name__)


def extract_audio(
    clips: Sequence[Clip],
    data_root: Path,
    results: Path,
    shard: int,
    params: Mapping[str, Any],
    timeout: float = TIME_LIMIT,
) -> list[Row]:
    """Write `audio/<clip id>.wav`; measures: width, height, fps_in, seconds, audio_seconds,
    frames_dropped and frames_duplicated (by the constant rate).

    `timeout` as `limit` of `decoder.Decoder`. Drops what ffmpeg cannot read (unreadable, no_video,
    timed_out) and what has no sound (no_audio).
    """

    def work(task: Task) -> Measures:
        source = task.clip.source(data_root)
        picture = probe(source, timeout)
        measures: Measures = {"width": picture.width, "height": picture.height}
        try:
            timeline = survey(source, limit=timeout)
            measures |= {
                "fps_in": round(float(timeline.fps), 3),
                "seconds": round(timeline.seconds, 3),
                "frames_dropped": timeline.dropped,
                "frames_duplicated": timeline.duplicated,
            }
            if not picture.has_audio:
                raise ClipError(Reason.NO_AUDIO, f"{source}: it has no sound track")
            seconds = audio.extract_audio(source, task.target, timeout)
        except ClipError as error:
            raise ClipError(error.reason, error.detail, measures) from error
        return measures | {"audio_seconds": round(seconds, 3)}

    return run_shard(stages.AUDIO, clips, results, shard, params, one_by_one(work))


def mel_spectrograms(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `mels/<clip id>.npy`, float32 (T, 80), 80 rows a second; measures: loudness (dBFS)."""

    def work(task: Task) -> Measures:
        wav = task.clip.artefact(results / stages.AUDIO.folder, ".wav")
        audio.write_mel(wav, task.target)
        return {"loudness": loudness(audio.wav_blocks(wav))}

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
    """Write `boxes/<clip id>.parquet`, every face of every frame.

    Measures: frames, face_frames (with a face), looked (frames that the detector looked at; the
    others are interpolated). `batch_size` 0 takes what the device's memory holds.

    The detector is loaded once, and only when a clip needs it; its batches span clips.
    """
    from lipsync_core.faces import batching, detection, detectors

    def work(tasks: Iterable[Task]) -> Iterator[tuple[Task, Measures | ClipError]]:
        name, threshold = params["detector"], params["detect.threshold"]
        detector = detectors.build(
            name, device, models, threshold=threshold, precision=params["detect.precision"]
        )
        long_side = params["detect.long_side"]
        log.info("detector: %s on %s", detector.name, device)
        found = detection.detect_videos(
            ((task, task.clip.source(data_root)) for task in tasks),
            detector,
            long_side=long_side,
            batch_size=batch_size or batching.fitting(device, long_side),
            stride=params["detect.stride"],
            motion=params["detect.motion"],
        )
        for task, result in found:
            if isinstance(result, ClipError):
                yield task, result
                continue
            detection.write_boxes(task.target, result)
            measures = {"frames": result.frames, "face_frames": result.faces["frame"].nunique()}
            yield task, measures | {"looked": result.looked, "detector": detector.name}

    return run_shard(stages.BOXES, clips, results, shard, params, work)


def crop_faces(
    clips: Sequence[Clip], data_root: Path, results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `faces/<clip id>.zip`, the main speaker's face crops; measures: faces, face_px.

    `faces` counts the frames with a crop, `face_px` is the median longer side of the face.
    Drops clips without any face (no_face).
    """
    from lipsync_core.faces import crops, detection, tracks

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
        return {"faces": stats.frames, "face_px": round(stats.face_px, 1)}

    return run_shard(stages.FACES, clips, results, shard, params, one_by_one(work))


def check_clips(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Compare each clip's measures with the thresholds; measures: coverage (0..1)."""

    def work(task: Task) -> Measures:
        measures: Row = {}
        for row in task.before.values():
            measures |= row
        coverage = {"coverage": round(int(measures["faces"]) / max(int(measures["frames"]), 1), 4)}
        try:
            check(measures, params["check"])
        except ClipError as error:
            raise ClipError(error.reason, error.detail, coverage) from error
        return coverage

    return run_shard(stages.CHECKS, clips, results, shard, params, one_by_one(work))
