"""The work of the five stages of preparation, one function a stage.

Each brings one shard up to date (see `lipsync_core.stage`). Heavy modules are imported by the
stage that needs them: a job that makes spectrograms does not load torch.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core import audio, stages
from lipsync_core.checks import check, loudness
from lipsync_core.clips import Clip
from lipsync_core.errors import ClipError, Reason
from lipsync_core.files import atomic_path, file_sha
from lipsync_core.stage import Measures, Row, Task, one_by_one, run_shard
from lipsync_core.video import FPS, probe

log = logging.getLogger(__name__)


def extract_audio(
    clips: Sequence[Clip], data_root: Path, results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `audio/<clip id>.wav`; measures: width, height, fps_in, seconds, audio_seconds.

    Drops what ffmpeg cannot read (unreadable, no_video) and what has no sound (no_audio).
    """

    def work(task: Task) -> Measures:
        source = task.clip.source(data_root)
        picture = probe(source)
        measures: Measures = {
            "width": picture.width,
            "height": picture.height,
            "fps_in": round(float(picture.fps), 3),
            "seconds": round(picture.seconds, 3),
        }
        if not picture.has_audio:
            raise ClipError(Reason.NO_AUDIO, f"{source}: it has no sound track", measures)
        try:
            seconds = audio.extract_audio(source, task.target)
        except ClipError as error:
            raise ClipError(error.reason, error.detail, measures) from error
        return measures | {"audio_seconds": round(seconds, 3)}

    return run_shard(stages.AUDIO, clips, results, shard, params, one_by_one(work))


def mel_spectrograms(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Write `mels/<clip id>.npy`, float32 (T, 80), 80 rows a second; measures: loudness (dBFS)."""

    def work(task: Task) -> Measures:
        wav = audio.load_wav(task.clip.artefact(results / stages.AUDIO.folder, ".wav"))
        if len(wav) <= audio.WINDOW:
            raise ClipError(Reason.TOO_SHORT, f"{len(wav)} samples of sound")
        with atomic_path(task.target) as temporary:
            np.save(temporary, np.ascontiguousarray(audio.melspectrogram(wav).T))
        return {"loudness": loudness(wav)}

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
    from lipsync_core.faces import detection, detectors
    from lipsync_core.faces.shots import ShotFinder

    def work(tasks: Iterable[Task]) -> Iterator[tuple[Task, Measures | ClipError]]:
        name, threshold = params["detector"], params["detect.threshold"]
        detector = detectors.build(name, device, models, threshold=threshold)
        log.info("detector: %s on %s", detector.name, device)
        finders: dict[str, ShotFinder] = defaultdict(ShotFinder)
        found = detection.detect_videos(
            ((task, task.clip.source(data_root)) for task in tasks),
            detector,
            long_side=params["detect.long_side"],
            batch_size=batch_size,
            observe=lambda task, frame: finders[task.clip.id].add(frame),
        )
        for task, result in found:
            finder = finders.pop(task.clip.id, ShotFinder())
            if isinstance(result, ClipError):
                yield task, result
                continue
            detection.write_boxes(task.target, replace(result, cuts=finder.cuts))
            measures = {"frames": result.frames, "face_frames": result.faces["frame"].nunique()}
            yield task, measures | {"detector": detector.name}

    return run_shard(stages.BOXES, clips, results, shard, params, work)


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
    shots, and confidence where the speaker was judged.

    `faces` counts the frames with a crop, `face_px` is the median longer side of the face, `tracks`
    the faces that were followed for `track.min_seconds` or more. Drops clips without any face
    (no_face). With `track.choice: all` each of those becomes a clip of its own; `start` and `span`
    are then its first frame and its number of frames, gaps included.
    """
    from lipsync_core.faces import choice, crops, detection, tracks

    track, crop = params["track"], params["crop"]
    style = crops.Style(crop["mode"], tuple(crop["pads"]), crop["margin"])
    min_frames = round(track["min_seconds"] * FPS)
    from lipsync_core.faces.looks import rejoined

    judged = track["choice"] == "speaking"
    judge_path = choice.judge_file(track["expert"], models) if judged else None

    def work(task: Task) -> Measures | list[Measures]:
        source = task.clip.source(data_root)
        found = detection.read_boxes(task.clip.artefact(results / stages.BOXES.folder, ".parquet"))
        linked = rejoined(source, tracks.link(found), found.cuts)
        if not linked:
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        those = tracks.people(linked, min_frames)
        common: Measures = {
            "tracks": sum(len(each) >= min_frames for each in linked),
            "shots": len(found.cuts) + 1,
        }
        if not judged and track["choice"] != "all":
            those = [tracks.pick(linked, track["choice"])]
        those = [tracks.finished(each, track["max_gap"], track["smooth"]) for each in those]
        if judged and len(those) > 1:
            from lipsync_core import speaking

            wav = task.clip.artefact(results / stages.AUDIO.folder, ".wav")
            judge = speaking.load_judge(judge_path, device)
            best, common["confidence"] = speaking.speaker(source, wav, those, judge, style)
            those = [those[best]]
        targets = [task.part(number) for number in range(len(those))]
        stats = crops.write_all(source, those, targets, style, crop["size"], crop["quality"])
        rows = []
        for each, stat in zip(those, stats, strict=True):
            rows.append(common | {"faces": stat.frames, "face_px": round(stat.face_px, 1)})
            if track["choice"] == "all":
                first, last = int(each.frames[0]), int(each.frames[-1])
                rows[-1] |= {"start": first, "span": last - first + 1}
        return rows

    sha = {"judge": file_sha(judge_path)} if judge_path else {}
    return run_shard(stages.FACES, clips, results, shard, {**params, **sha}, one_by_one(work))


def check_clips(
    clips: Sequence[Clip], results: Path, shard: int, params: Mapping[str, Any]
) -> list[Row]:
    """Compare each clip's measures with the thresholds; measures: coverage (0..1)."""

    def work(task: Task) -> Measures:
        measures: Row = {}
        for row in task.before.values():
            measures |= row
        own: Measures = {}
        if measures.get("span"):  # one person's part of a video counts for itself
            measures["frames"] = int(measures["span"])
            own = {"frames": measures["frames"], "seconds": measures["frames"] / FPS}
        own["coverage"] = round(int(measures["faces"]) / max(int(measures["frames"]), 1), 4)
        try:
            check(measures, params["check"])
        except ClipError as error:
            raise ClipError(error.reason, error.detail, own) from error
        return own

    return run_shard(stages.CHECKS, clips, results, shard, params, one_by_one(work))
