"""The stages of preparation, one function each.

Each brings one shard up to date (see `lipsync_core.preparation.runner`). Heavy modules are imported
by the stage that needs them: a job that makes spectrograms does not load torch.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lipsync_core.config import CheckConfig, CropConfig, SyncConfig, TrackConfig
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.index import read_shard
from lipsync_core.errors import ClipError, add_measures
from lipsync_core.preparation import stages
from lipsync_core.preparation.checks import check, derived
from lipsync_core.preparation.runner import ClipJob, Worker, per_clip, run_shard
from lipsync_core.preparation.stages import Measures
from lipsync_core.runtime.files import file_sha
from lipsync_core.runtime.tables import Row

if TYPE_CHECKING:
    from lipsync_core.preparation.cropping import TrackSelector

log = logging.getLogger(__name__)


class Shard(NamedTuple):
    """The part of a corpus that one job brings up to date.

    data_root: of the clips' sources. params: the settings that the stage's output depends on.
    """

    clips: Sequence[Clip]
    data_root: Path
    results: Path
    number: int
    params: Mapping[str, Any]

    @classmethod
    def load(cls, config: Mapping[str, Any], number: int | str, params: Mapping[str, Any]) -> Shard:
        """The shard `number` of the index in the results folder that the config names."""
        data_root, results = Path(config["data_root"]), Path(config["results"])
        return cls(read_shard(results, int(number)), data_root, results, int(number), params)

    def run(self, stage: stages.Stage, worker: Worker) -> list[Row]:
        """`run_shard` for these clips."""
        return run_shard(stage, self.clips, self.results, self.number, self.params, worker)


def extract_audio(shard: Shard) -> list[Row]:
    """Write `audio/<clip id>.wav`; measures: see `extraction.extract`.

    Drops files that ffmpeg cannot read (unreadable, no_video, timed_out) and those without audio
    (no_audio).
    """
    from lipsync_core.preparation import precropped
    from lipsync_core.preparation.extraction import extract

    def work(job: ClipJob) -> Measures:
        clip = job.clip
        return extract(clip.source(shard.data_root), clip.audio_source(shard.data_root), job.target)

    worker = precropped.route(per_clip(work), shard.data_root, precropped.extract_audio)
    return shard.run(stages.AUDIO, worker)


def mel_spectrograms(shard: Shard) -> list[Row]:
    """Write `mels/<clip id>.npy`, float32 (T, 80), 80 rows a second; measures: see
    `measures.audio_measures` and `speech.SpeechMeter`.
    """
    from lipsync_core.audio import write_mel
    from lipsync_core.media.audio import wav_blocks
    from lipsync_core.preparation.measures import audio_measures
    from lipsync_core.preparation.speech import SpeechMeter

    meter = SpeechMeter(shard.params["audio.dnsmos"])

    def work(job: ClipJob) -> Measures:
        wav = stages.AUDIO.path(shard.results, job.clip.id)
        write_mel(wav, job.target)
        measures = audio_measures(wav_blocks(wav), np.load(job.target, mmap_mode="r"))
        return measures | meter.measure(wav, job.clip.id)

    return shard.run(stages.MELS, per_clip(work))


def detect_faces(shard: Shard, batch_size: int, device: str, models: Path) -> list[Row]:
    """Write `boxes/<clip id>.parquet`, every face of every frame.

    Measures: frames, face_frames (with a face), detected_frames (those that the
    detector processed; the others are interpolated). `batch_size` 0 takes what the device's
    memory holds.

    The detector is loaded once, and only when a clip needs it; its batches span clips.
    """
    from lipsync_core.faces import batching, detection, detectors
    from lipsync_core.faces.tracking.shots import ShotDetector
    from lipsync_core.preparation import precropped

    params = shard.params

    def work(jobs: Iterable[ClipJob]) -> Iterator[tuple[ClipJob, Measures | ClipError]]:
        name, threshold = params["detector"], params["detect.threshold"]
        detector = detectors.build(
            name, device, models, threshold=threshold, precision=params["detect.precision"]
        )
        long_side = params["detect.long_side"]
        log.info("detector: %s on %s", detector.name, device)
        finders: dict[str, ShotDetector] = defaultdict(ShotDetector)
        found = detection.detect_videos(
            ((job, job.clip.source(shard.data_root)) for job in jobs),
            detector,
            long_side=long_side,
            batch_size=batch_size or batching.batch_size(detector, device, long_side),
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

    worker = precropped.route(work, shard.data_root, precropped.detect_faces)
    return shard.run(stages.BOXES, worker)


def _size(row: Row) -> tuple[int, int] | None:
    """Width and height of the frames, as measured by the first stage."""
    return (int(row["width"]), int(row["height"])) if row.get("width") else None


def crop_faces(shard: Shard, device: str = "auto", speaker_model: Path | None = None) -> list[Row]:
    """Write `faces/<clip id>.zip`, the speaker's face crops. Drops clips without a face (no_face).

    speaker_model: weights that select the active speaker (`track.select: active_speaker`).

    Measures: faces (frames with a crop), face_px (median longer side of the face), tracks (people
    who are visible for `track.min_seconds` or more), shots, head_speed, size_change, those of
    `measures.pose_measures` and `measures.crop_measures`, active_speaker_confidence where the
    speaker was selected by it.

    With `track.select: all` each person becomes a clip. There, and in a video of several shots,
    `start_frame` is its first frame and `num_frames` counts from there to its last, without the
    shots that do not show it. Otherwise unused_face_seconds is the time in which only other people
    are visible.
    """
    from lipsync_core.preparation import precropped
    from lipsync_core.preparation.cropping import FaceCropper

    crop = CropConfig(**shard.params["crop"])
    cropper = FaceCropper(_track_selector(shard, shard.params, device, speaker_model), crop)
    sha = {"speaker_weights": file_sha(speaker_model)} if speaker_model else {}
    worker = precropped.route(per_clip(cropper), shard.data_root, precropped.crop_faces)
    return shard._replace(params={**shard.params, **sha}).run(stages.FACES, worker)


def _track_selector(
    shard: Shard, config: Mapping[str, Any], device: str, speaker_model: Path | None
) -> TrackSelector:
    from lipsync_core.faces.crops import CropSpec
    from lipsync_core.preparation.cropping import TrackSelector

    crop = CropConfig(**config["crop"])
    spec = CropSpec(crop.mode, tuple(crop.pads), crop.margin)
    track = TrackConfig(**config["track"])
    return TrackSelector(shard.data_root, shard.results, track, spec, device, speaker_model)


def measure_sync(
    shard: Shard,
    weights: Path,
    config: Mapping[str, Any],
    device: str = "auto",
    speaker_model: Path | None = None,
    trusted: bool = True,
) -> list[Row]:
    """Measure, and with `sync.correct: correct` correct, the audio-visual offset of each clip.

    weights: syncnet_v2.model or a SyncNet checkpoint. config: the whole config, whose `crop` and
    `track` tell which face of a video a clip shows. speaker_model: see `crop_faces`. trusted:
    whether the weights measure well enough; otherwise nothing is measured.

    Measures: see `sync.measure_clip`.
    """
    from lipsync_core.evaluation import active_speaker
    from lipsync_core.preparation import precropped, sync
    from lipsync_core.runtime.device import pick

    settings = SyncConfig(**shard.params["sync"])
    if weights.suffix == active_speaker.LSE_SUFFIX:
        scorer = active_speaker.load_scorer(weights, device)
        selector = _track_selector(shard, config, device, speaker_model)
        measure: sync.Measurer = sync.LseMeasurer(scorer, selector)
    else:
        measure = sync.SyncNetMeasurer.load(weights, pick(device), shard.results)

    def work(job: ClipJob) -> Measures:
        return sync.measure_clip(job, measure, settings) if trusted else {}

    worker = per_clip(work)
    if isinstance(measure, sync.LseMeasurer):  # ready crops lack the region that it needs
        worker = precropped.route(worker, shard.data_root, lambda *_: {})
    params = {**shard.params, "weights": file_sha(weights), "trusted": trusted}
    return shard._replace(params=params).run(stages.SYNC, worker)


def check_clips(shard: Shard) -> list[Row]:
    """Compare each clip's measures with the thresholds; measures: see `checks.derived`.

    With the settings of `stages.SYNC_CHECKS` also with those of `sync`.
    """
    thresholds = CheckConfig(**shard.params["check"])
    sync = SyncConfig(**shard.params["sync"]) if "sync" in shard.params else None

    def work(job: ClipJob) -> Measures:
        measures: Row = {}
        for row in job.upstream.values():
            measures |= row
        own = derived(measures)
        with add_measures(own):
            check(measures | own, thresholds, sync)
        return own

    stage = stages.SYNC_CHECKS if sync else stages.CHECKS
    return shard.run(stage, per_clip(work))
