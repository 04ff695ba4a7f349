"""The work of the five stages of preparation, one function a stage.

Each brings one shard up to date (see `lipsync_core.preparation.runner`). Heavy modules are imported
by the stage that needs them: a job that makes spectrograms does not load torch.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.config import Check, Crop, Track
from lipsync_core.corpus.clips import Clip
from lipsync_core.errors import ClipError, Reason
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation import stages
from lipsync_core.preparation.checks import check, derived
from lipsync_core.preparation.runner import ClipJob, per_clip, run_shard
from lipsync_core.preparation.stages import Measures
from lipsync_core.runtime.files import file_sha
from lipsync_core.runtime.tables import Row

log = logging.getLogger(__name__)


def extract_audio(
    clips: Sequence[Clip], data_root: Path, results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `audio/<clip id>.wav`; measures: see `extraction.extract`.

    Drops what ffmpeg cannot read (unreadable, no_video, timed_out) and the soundless (no_audio).
    """
    from lipsync_core.preparation import precropped
    from lipsync_core.preparation.extraction import extract

    def work(job: ClipJob) -> Measures:
        source, sound = job.clip.source(data_root), job.clip.audio_source(data_root)
        return extract(source, sound, job.target)

    worker = precropped.apart(per_clip(work), data_root, precropped.extract_audio)
    return run_shard(stages.AUDIO, clips, results, shard, params, worker)


def mel_spectrograms(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `mels/<clip id>.npy`, float32 (T, 80), 80 rows a second; measures: see
    `measures.sound_measures`.
    """
    from lipsync_core.audio import write_mel
    from lipsync_core.media.audio import wav_blocks
    from lipsync_core.preparation.measures import sound_measures

    def work(job: ClipJob) -> Measures:
        wav = job.clip.artifact(results / stages.AUDIO.folder, ".wav")
        write_mel(wav, job.target)
        return sound_measures(wav_blocks(wav), np.load(job.target, mmap_mode="r"))

    return run_shard(stages.MELS, clips, results, shard, params, per_clip(work))


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

    Measures: frames, face_frames (with a face), detected_frames (those that the
    detector processed; the others are interpolated). `batch_size` 0 takes what the device's
    memory holds.

    The detector is loaded once, and only when a clip needs it; its batches span clips.
    """
    from lipsync_core.faces import detection, detectors
    from lipsync_core.faces.batching import CPU_BATCH, max_batch_size
    from lipsync_core.faces.tracking.shots import ShotDetector
    from lipsync_core.preparation import precropped

    def work(jobs: Iterable[ClipJob]) -> Iterator[tuple[ClipJob, Measures | ClipError]]:
        name, threshold = params["detector"], params["detect.threshold"]
        detector = detectors.build(
            name, device, models, threshold=threshold, precision=params["detect.precision"]
        )
        long_side = params["detect.long_side"]
        log.info("detector: %s on %s", detector.name, device)
        finders: dict[str, ShotDetector] = defaultdict(ShotDetector)
        found = detection.detect_videos(
            ((job, job.clip.source(data_root)) for job in jobs),
            detector,
            long_side=long_side,
            batch_size=batch_size
            or (max_batch_size(device, long_side) if detector.on_gpu else CPU_BATCH),
            stride=params["detect.stride"],
            motion=params["detect.motion"],
            on_frame=lambda job, frame: finders[job.clip.id].add(frame),
            size_of=lambda job: _size(job.upstream["audio"]),
            threads=0 if detector.on_gpu else 1,
        )
        for job, result in found:
            finder = finders.pop(job.clip.id, ShotDetector())
            if isinstance(result, ClipError):
                yield job, result
                continue
            detection.write_boxes(job.target, replace(result, cuts=finder.cuts(result)))
            measures = {"frames": result.frames, "face_frames": result.faces["frame"].nunique()}
            yield (
                job,
                measures | {"detected_frames": result.detected_frames, "detector": detector.name},
            )

    worker = precropped.apart(work, data_root, precropped.detect_faces)
    return run_shard(stages.BOXES, clips, results, shard, params, worker)


def _size(row: Row) -> tuple[int, int] | None:
    """Width and height of the pictures, as the first stage wrote them down."""
    return (int(row["width"]), int(row["height"])) if row.get("width") else None


def crop_faces(
    clips: Sequence[Clip],
    data_root: Path,
    results: Path,
    shard: int,
    params: Mapping[str, Any],
    device: str = "auto",
    models: Path = Path("models"),
) -> list[Row]:
    """Write `faces/<clip id>.zip`, the speaker's face crops; measures: faces, face_px, tracks,
    shots, head_speed, those of `measures.picture_measures`, and active_speaker_confidence where
    the speaker was chosen by it.

    `faces` counts the frames with a crop, `face_px` is the median longer side of the face, `tracks`
    the people who were followed for `track.min_seconds` or more. Drops clips without any face
    (no_face). With `track.select: all` each of those becomes a clip of its own. There, and in a
    video of several shots, `start_frame` is its first frame, and `num_frames` counts from there to
    its last, without the shots that do not show it; `unused_face_seconds` is the time in which only
    other people's faces are seen. With `sync_model`, sync_offset and
    sync_confidence.
    """
    from lipsync_core import pretrained
    from lipsync_core.faces import crops, detection
    from lipsync_core.faces.tracking import reidentification, tracks
    from lipsync_core.preparation import precropped
    from lipsync_core.preparation.measures import head_speed, picture_measures

    track, crop = Track(**params["track"]), Crop(**params["crop"])
    style = crops.CropSpec(crop.mode, tuple(crop.pads), crop.margin)
    min_frames = round(track.min_seconds * FPS)
    judged = track.select == "active_speaker"
    sync_path = pretrained.sync_model_weights(params["sync_model"])
    judge_path = pretrained.active_speaker_weights(params["sync_model"], models) if judged else None

    def work(job: ClipJob) -> Measures | list[Measures]:
        source = job.clip.source(data_root)
        found = detection.read_boxes(job.clip.artifact(results / stages.BOXES.folder, ".parquet"))
        linked = reidentification.merge_tracks(source, tracks.link(found), found.cuts)
        if not linked:
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        those = tracks.select_people(linked, min_frames)
        common: Measures = {
            "tracks": sum(len(each) >= min_frames for each in linked),
            "shots": len(found.cuts) + 1,
        }
        if job.clip.face_hint and track.select != "all":
            those = [tracks.nearest_track(linked, job.clip.face_hint, found.width, found.height)]
        elif not judged and track.select != "all":
            those = [tracks.select_track(linked, track.select)]
        those = [tracks.fill_and_smooth(each, track.max_gap, track.smooth) for each in those]
        if judged and len(those) > 1:
            from lipsync_core.preparation import active_speaker

            wav = job.clip.artifact(results / stages.AUDIO.folder, ".wav")
            scorer = active_speaker.load_scorer(judge_path, device)
            best, confidence = active_speaker.select_speaker(source, wav, those, scorer, style)
            common["active_speaker_confidence"] = confidence
            those = [those[best]]
        targets = [job.part(number) for number in range(len(those))]
        stats = crops.write_crops(
            source,
            those,
            targets,
            style,
            crop.size,
            crop.quality,
            video_size=(found.width, found.height),
        )
        rows = []
        for each, stat, target in zip(those, stats, targets, strict=True):
            rows.append(common | {"faces": stat.frames, "face_px": round(stat.face_px, 1)})
            speed = head_speed(each.frames, each.boxes, each.cuts)
            rows[-1] |= {"head_speed": speed} | picture_measures(target)
            if sync_path:
                rows[-1] |= _sync(job, source, results, each, sync_path, device, style)
            if track.select == "all" or found.cuts:
                rows[-1] |= {"start_frame": int(each.frames[0]), "num_frames": each.num_frames()}
            if track.select != "all":
                rows[-1] |= _unused(each, [other for other in linked if len(other) >= min_frames])
        return rows

    weights = {"judge": judge_path, "sync": sync_path}
    sha = {name: file_sha(path) for name, path in weights.items() if path}
    worker = precropped.apart(per_clip(work), data_root, precropped.crop_faces)
    return run_shard(stages.FACES, clips, results, shard, {**params, **sha}, worker)


def _unused(track: Any, everybody: Sequence[Any]) -> Measures:
    """unused_face_seconds: how long only faces of others than a clip's are seen; {} for never."""
    seen = np.unique(np.concatenate([track.frames, *(each.frames for each in everybody)]))
    lost = len(seen) - len(track)
    return {"unused_face_seconds": round(lost / FPS, 2)} if lost else {}


def _sync(
    job: ClipJob,
    source: Path,
    results: Path,
    track: Any,
    model: Path,
    device: str,
    style: Any,
) -> Measures:
    """sync_offset (frames) and sync_confidence of a face, blank where it is too short."""
    from lipsync_core.preparation import active_speaker

    wav = job.clip.artifact(results / stages.AUDIO.folder, ".wav")
    found = active_speaker.measure_sync(
        source, wav, track, active_speaker.load_scorer(model, device), style
    )
    return {"sync_offset": found[0], "sync_confidence": found[1]} if found else {}


def check_clips(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Compare each clip's measures with the thresholds; measures: see `checks.derived`."""

    thresholds = Check(**params["check"])

    def work(job: ClipJob) -> Measures:
        measures: Row = {}
        for row in job.upstream.values():
            measures |= row
        own = derived(measures)
        try:
            check(measures | own, thresholds)
        except ClipError as error:
            raise ClipError(error.reason, error.detail, own) from error
        return own

    return run_shard(stages.CHECKS, clips, results, shard, params, per_clip(work))
