"""Face crops of one video: link its boxes to tracks, select tracks, write and measure crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipsync_core.config import CropConfig, TrackConfig
from lipsync_core.errors import ClipError, Reason
from lipsync_core.faces import crops, detection
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, reidentification, tracks
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation.measures import crop_measures, head_speed, pose_measures, size_change
from lipsync_core.preparation.runner import ClipJob
from lipsync_core.preparation.stages import AUDIO, BOXES, Measures

if TYPE_CHECKING:
    from lipsync_core.preparation.active_speaker import Score


@dataclass(frozen=True)
class FaceCropper:
    """Callable: writes the crops of a job's clip and returns the measures of each clip it gives.

    speaker_weights: SyncNet that selects the active speaker; sync_weights: SyncNet that measures
    the AV offset, the same one when both are given; None for neither.
    """

    data_root: Path
    results: Path
    track: TrackConfig
    crop: CropConfig
    device: str
    speaker_weights: Path | None = None
    sync_weights: Path | None = None

    @property
    def spec(self) -> crops.CropSpec:
        return crops.CropSpec(self.crop.mode, tuple(self.crop.pads), self.crop.margin)

    def __call__(self, job: ClipJob) -> list[Measures]:
        source = job.clip.source(self.data_root)
        found = detection.read_boxes(BOXES.path(self.results, job.clip.id))
        linked = reidentification.merge_tracks(source, association.link(found), found.cuts)
        if not linked:
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        min_frames = round(self.track.min_seconds * FPS)
        people = [each for each in linked if len(each) >= min_frames]
        common: Measures = {"tracks": len(people), "shots": len(found.cuts) + 1}
        select_all = self.track.select == "all"
        if job.clip.face_hint and not select_all:
            hint = (job.clip.face_hint, found.width, found.height)
            chosen = [tracks.nearest_track(linked, *hint)]
        elif select_all or self.speaker_weights:
            chosen = tracks.select_people(linked, min_frames)
        else:
            chosen = [tracks.select_track(linked, self.track.select)]
        smoothing = (self.track.max_gap, self.track.smooth)
        chosen = [tracks.fill_and_smooth(each, *smoothing) for each in chosen]
        scores: list[Score | None] = [None] * len(chosen)
        ambiguous = self.speaker_weights is not None and len(chosen) > 1
        if self.sync_weights or ambiguous:
            from lipsync_core.preparation import active_speaker

            scorer = active_speaker.load_scorer(
                self.sync_weights or self.speaker_weights, self.device
            )
            wav = AUDIO.path(self.results, job.clip.id)
            scores = active_speaker.score_tracks(source, wav, chosen, scorer, self.spec)
            if ambiguous:
                best, common["active_speaker_confidence"] = active_speaker.select_speaker(scores)
                chosen, scores = [chosen[best]], [scores[best]]
        rows = [common | measures for measures in self._write(job, source, chosen, found)]
        for row, each, score in zip(rows, chosen, scores, strict=True):
            if score and self.sync_weights:
                row["sync_offset"], row["sync_confidence"] = score
            if select_all or found.cuts:
                row |= {"start_frame": int(each.frames[0]), "num_frames": each.num_frames()}
            if not select_all:
                row |= _unused(each, people)
        return rows

    def _write(
        self, job: ClipJob, source: Path, chosen: Sequence[Track], found: detection.Detections
    ) -> list[Measures]:
        targets = [job.part(number) for number in range(len(chosen))]
        stats = crops.write_crops(
            *(source, chosen, targets, self.spec, self.crop.size, self.crop.quality),
            video_size=(found.width, found.height),
        )
        return [
            {
                "faces": stat.frames,
                "face_px": round(stat.face_px, 1),
                "head_speed": head_speed(each.frames, each.boxes, each.cuts),
                "size_change": size_change(each.boxes),
            }
            | pose_measures(each.landmarks)
            | crop_measures(target)
            for each, stat, target in zip(chosen, stats, targets, strict=True)
        ]


def _unused(track: Track, people: Sequence[Track]) -> Measures:
    """unused_face_seconds: the time in which only other people are visible; {} for none."""
    seen = np.unique(np.concatenate([track.frames, *(each.frames for each in people)]))
    lost = len(seen) - len(track)
    return {"unused_face_seconds": round(lost / FPS, 2)} if lost else {}
