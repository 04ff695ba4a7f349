"""Face crops of one video: link its boxes to tracks, select tracks, write and measure crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lipsync_core.config import CropConfig, TrackConfig
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.errors import ClipError, Reason
from lipsync_core.faces import crops, detection
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, reidentification, tracks
from lipsync_core.media.audio import read_pcm
from lipsync_core.media.timestamps import FPS
from lipsync_core.preparation.measures import crop_measures, head_speed, pose_measures, size_change
from lipsync_core.preparation.runner import ClipJob
from lipsync_core.preparation.stages import AUDIO, BOXES, Measures


class Selection(NamedTuple):
    """The tracks of a video that are cropped, gaps filled and smoothed.

    people: the tracks of all people who are visible long enough. measures:
    active_speaker_confidence where the speaker was selected by it.
    """

    chosen: list[Track]
    people: list[Track]
    found: detection.Detections
    measures: Measures


@dataclass(frozen=True)
class TrackSelector:
    """Links the boxes of a video to tracks and selects those to be cropped.

    speaker_weights: SyncNet that selects the active speaker; None where that is not asked for.
    """

    data_root: Path
    results: Path
    track: TrackConfig
    spec: crops.CropSpec
    device: str
    speaker_weights: Path | None = None

    def select(self, clip: Clip) -> Selection:
        """The tracks of a clip's video. Raises ClipError (no_face)."""
        source, video = clip.source(self.data_root), source_id(clip.id)
        found = detection.read_boxes(BOXES.path(self.results, video))
        linked = reidentification.merge_tracks(source, association.link(found), found.cuts)
        if not linked:
            raise ClipError(Reason.NO_FACE, f"no face in any of {found.frames} frames")
        min_frames = round(self.track.min_seconds * FPS)
        people = [each for each in linked if len(each) >= min_frames]
        select_all = self.track.select == "all"
        if clip.face_hint and not select_all:
            hint = (clip.face_hint, found.width, found.height)
            chosen = [tracks.nearest_track(linked, *hint)]
        elif select_all or self.speaker_weights:
            chosen = tracks.select_people(linked, min_frames)
        else:
            chosen = [tracks.select_track(linked, self.track.select)]
        smoothing = (self.track.max_gap, self.track.smooth)
        chosen = [tracks.fill_and_smooth(each, *smoothing) for each in chosen]
        measures: Measures = {}
        if self.speaker_weights is not None and len(chosen) > 1:
            from lipsync_core.evaluation import active_speaker

            scorer = active_speaker.load_scorer(self.speaker_weights, self.device)
            pcm = read_pcm(AUDIO.path(self.results, video))
            scores = active_speaker.score_tracks(source, pcm, chosen, scorer, self.spec)
            best, measures["active_speaker_confidence"] = active_speaker.select_speaker(scores)
            chosen = [chosen[best]]
        return Selection(chosen, people, found, measures)


@dataclass(frozen=True)
class FaceCropper:
    """Callable: writes the crops of a job's clip and returns the measures of each clip it gives."""

    selector: TrackSelector
    crop: CropConfig

    def __call__(self, job: ClipJob) -> list[Measures]:
        chosen, people, found, measures = self.selector.select(job.clip)
        common = {"tracks": len(people), "shots": len(found.cuts) + 1} | measures
        source = job.clip.source(self.selector.data_root)
        select_all = self.selector.track.select == "all"
        rows = [common | own for own in self._write(job, source, chosen, found)]
        for row, each in zip(rows, chosen, strict=True):
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
            *(source, chosen, targets, self.selector.spec, self.crop.size, self.crop.quality),
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
