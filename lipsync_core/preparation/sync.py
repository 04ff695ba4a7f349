"""Sync of prepared clips: measure the audio-visual offset, shift the audio, measure again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lipsync_core.checkpoints import build_from
from lipsync_core.config import SyncConfig
from lipsync_core.corpus.filelists import ListedClip
from lipsync_core.corpus.layouts.items import part_number, source_id
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import active_speaker
from lipsync_core.evaluation.lse import SAMPLES_A_FRAME
from lipsync_core.evaluation.sync import SyncMeasure
from lipsync_core.evaluation.syncnet import clip_sync
from lipsync_core.media.audio import read_pcm, shift_samples
from lipsync_core.models import SyncNet
from lipsync_core.preparation.cropping import TrackSelector
from lipsync_core.preparation.runner import ClipJob
from lipsync_core.preparation.stages import AUDIO, Measures

log = logging.getLogger(__name__)
WINDOWS = 200  # of a clip that are measured: 8 s, or runs of 1 s spread over a longer clip

# Measures a clip whose audio is shifted for an offset in frames; None where that is impossible.
Measurer = Callable[[ClipJob, int], SyncMeasure | None]


@dataclass(frozen=True)
class SyncNetMeasurer:
    """Measures by a SyncNet of this project, on the crops as training reads them."""

    model: SyncNet
    results: Path

    @classmethod
    def load(cls, weights: Path, device: torch.device, results: Path) -> SyncNetMeasurer:
        """From a checkpoint; see `checkpoints.build_from` for the errors."""
        return cls(build_from(weights, SyncNet).to(device).eval(), results)

    def __call__(self, job: ClipJob, offset: int) -> SyncMeasure | None:
        frames = int(job.upstream["faces"]["frames"])
        line = ListedClip(job.clip.id).shifted(offset, frames)
        try:
            dataset = ClipDataset.load(self.results, [str(line)], self.model.image_size)
        except LipsyncError as error:  # too few windows; a damaged file is reported
            log.warning("%s: sync is not measured: %s", job.clip.id, error)
            return None
        return clip_sync(self.model, dataset, dataset.clips[0], WINDOWS)


@dataclass(frozen=True)
class LseMeasurer:
    """Measures by syncnet_v2.model, on the region of the video that it expects."""

    scorer: active_speaker.SyncScorer
    selector: TrackSelector

    def __call__(self, job: ClipJob, offset: int) -> SyncMeasure | None:
        chosen = self.selector.select(job.clip).chosen
        # Each person of a video is a clip of its own.
        track = chosen[part_number(job.clip.id)]
        pcm = read_pcm(AUDIO.path(self.selector.results, source_id(job.clip.id)))
        source = job.clip.source(self.selector.data_root)
        found = active_speaker.score_tracks(
            source,
            shift_samples(pcm, offset * SAMPLES_A_FRAME),
            [track],
            self.scorer,
            self.selector.spec,
        )
        return found[0]


def measure_clip(job: ClipJob, measure: Measurer, config: SyncConfig) -> Measures:
    """Measure a clip; with `correct`, find the shift of its audio and measure with it.

    Returns, all of them only where they could be measured: sync_offset (frames, above 0 the video
    is late), sync_confidence, sync_agreement, sync_low and sync_high (95 % interval of the offset)
    and sync_drift (frames over the clip), see `SyncMeasure`. Where the audio is shifted,
    sync_offset_before is the offset that it is shifted for; the others are then measured with the
    shift.

    Which offsets are corrected: `SyncMeasure.correction`.
    """
    before = measure(job, 0)
    if before is None:
        return {}
    offset = before.correction(config.min_agreement)
    if config.correct != "correct" or not offset:
        return _columns(before)
    after = measure(job, offset)
    if after is None:  # the clip is too short without the frames that lose their audio
        return _columns(before)
    return _columns(after) | {"sync_offset_before": offset}


def _columns(found: SyncMeasure) -> Measures:
    return {
        "sync_offset": found.offset,
        "sync_confidence": round(found.confidence, 4),
        "sync_agreement": round(found.agreement, 3),
        "sync_low": found.low,
        "sync_high": found.high,
        "sync_drift": found.drift,
    }
