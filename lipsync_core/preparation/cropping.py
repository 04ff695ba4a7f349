"""Face crops of one video: link its faces to tracks, select some, write and measure their crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_core.config import Crop
from lipsync_core.config import Track as TrackConfig
from lipsync_core.errors import ClipError, Reason
from lipsync_core.faces import crops, detection
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import reidentification, tracks
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation.measures import crop_measures, head_speed
from lipsync_core.preparation.runner import ClipJob
from lipsync_core.preparation.stages import AUDIO, BOXES, Measures


@dataclass(frozen=True)
class FaceCropper:
    """Callable: writes the crops of a job's clip and returns the measures of each clip it gives.

    speaker_weights: SyncNet that selects the active speaker; sync_weights: SyncNet that measures
    the AV offset; None for neither.
    """

    data_root: Path
    results: Path
    track: TrackConfig
    crop: Crop
    device: str
    speaker_weights: Path | None = None
    sync_weights: Path | None = None

    @property
    def spec(self) -> crops.CropSpec:
        return crops.CropSpec(self.crop.mode, tuple(self.crop.pads), self.crop.margin)

    def __call__(self, job: ClipJob) -> list[Measures]:
        source = job.clip.source(self.data_root)
        found = detection.read_boxes(BOXES.path(self.results, job.clip.id))
        linked = reidentification.merge_tracks(source, tracks.link(found), found.cuts)
        if not linked:
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        min_frames = round(self.track.min_seconds * FPS)
        people = [each for each in linked if len(each) >= min_frames]
        common: Measures = {"tracks": len(people), "shots": len(found.cuts) + 1}
        every = self.track.select == "all"
        if job.clip.face_hint and not every:
            hint = (job.clip.face_hint, found.width, found.height)
            chosen = [tracks.nearest_track(linked, *hint)]
        elif every or self.speaker_weights:
            chosen = tracks.select_people(linked, min_frames)
        else:
            chosen = [tracks.select_track(linked, self.track.select)]
        smoothing = (self.track.max_gap, self.track.smooth)
        chosen = [tracks.fill_and_smooth(each, *smoothing) for each in chosen]
        if self.speaker_weights and len(chosen) > 1:
            from lipsync_core.preparation import active_speaker

            scorer = active_speaker.load_scorer(self.speaker_weights, self.device)
            best, confidence = active_speaker.select_speaker(
                source, self._wav(job), chosen, scorer, self.spec
            )
            common["active_speaker_confidence"] = confidence
            chosen = [chosen[best]]
        rows = [common | measures for measures in self._write(job, source, chosen, found)]
        for row, each, score in zip(rows, chosen, self._sync(job, source, chosen), strict=True):
            row |= score
            if every or found.cuts:
                row |= {"start_frame": int(each.frames[0]), "num_frames": each.num_frames()}
            if not every:
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
            }
            | crop_measures(target)
            for each, stat, target in zip(chosen, stats, targets, strict=True)
        ]

    def _sync(self, job: ClipJob, source: Path, chosen: Sequence[Track]) -> list[Measures]:
        """sync_offset (frames) and sync_confidence of each track, {} where it is too short."""
        if self.sync_weights is None:
            return [{} for _ in chosen]
        from lipsync_core.preparation import active_speaker

        scorer = active_speaker.load_scorer(self.sync_weights, self.device)
        scores = active_speaker.score_tracks(source, self._wav(job), chosen, scorer, self.spec)
        names = ("sync_offset", "sync_confidence")
        return [dict(zip(names, score, strict=True)) if score else {} for score in scores]

    def _wav(self, job: ClipJob) -> Path:
        return AUDIO.path(self.results, job.clip.id)


def _unused(track: Track, people: Sequence[Track]) -> Measures:
    """unused_face_seconds: the time in which only other people are visible; {} for none."""
    seen = np.unique(np.concatenate([track.frames, *(each.frames for each in people)]))
    lost = len(seen) - len(track)
    return {"unused_face_seconds": round(lost / FPS, 2)} if lost else {}
