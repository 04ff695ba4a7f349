"""Active speaker detection: which of several faces in a video matches the audio best.

Scored by a SyncNet of this project, or by the public one (LSE-C of Chung & Zisserman, 2016).
"""

from __future__ import annotations

import abc
import functools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from lipsync_core import audio
from lipsync_core.checkpoints import build_from
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.evaluation.av_offset import MAX_SHIFT, cosine_distance, window_distances
from lipsync_core.evaluation.lse import SAMPLES_A_FRAME, lse_distances, protocol_boxes
from lipsync_core.evaluation.sync import SyncMeasure, measure
from lipsync_core.faces.crops import CropSpec, iter_crops
from lipsync_core.faces.track import Track
from lipsync_core.media.audio import to_float
from lipsync_core.models import LseSyncNet, SyncNet
from lipsync_core.pretrained import LSE_WEIGHTS
from lipsync_core.runtime.device import pick

log = logging.getLogger(__name__)

MAX_FRAMES = 150  # frames that are scored: 6 s
MIN_FRAMES = 16  # frames that a score needs
FACES_PER_PASS = 8  # their frames are held in memory together
WINDOW = 5  # frames
BATCH_SIZE = 32
LSE_SUFFIX = Path(LSE_WEIGHTS).suffix  # other files are checkpoints of this project


class SyncScorer(abc.ABC):
    """Measures the AV offset of a face and the confidence in it."""

    side: int  # pixels

    def view(self, track: Track) -> Track:
        """The track with the boxes of the region that this scorer takes."""
        return track

    @abc.abstractmethod
    def distances(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> np.ndarray:
        """Distances of face windows to shifted audio, float32 (m, 31): see `window_distances`.

        frames: uint8 (n, side, side, 3) BGR, n >= MIN_FRAMES, from frame `start` of the clip on.
        pcm: int16 (N,), the whole clip's audio at 16 kHz, longer than these frames.
        """


class LseScorer(SyncScorer):
    """LSE-C by syncnet_v2.model, on the region that its own pipeline crops."""

    side = 224

    def __init__(self, path: Path, device: str) -> None:
        self.model = build_from(path, LseSyncNet).to(pick(device))

    def view(self, track: Track) -> Track:
        return replace(track, boxes=protocol_boxes(track.boxes))

    def distances(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> np.ndarray:
        part = pcm[start * SAMPLES_A_FRAME : (start + len(frames)) * SAMPLES_A_FRAME]
        return lse_distances(self.model, frames, np.array(part))


class SyncNetScorer(SyncScorer):
    """The same measure (median minus smallest distance over shifts) by this project's SyncNet."""

    def __init__(self, path: Path, device: str) -> None:
        self.model = build_from(path, SyncNet).to(pick(device))
        self.side = self.model.image_size

    @torch.inference_mode()
    def distances(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> np.ndarray:
        device = next(self.model.parameters()).device
        count = len(frames) - WINDOW + 1
        # Five frames are sixteen mel columns: a multiple of five keeps the columns in place.
        base = max(0, start - MAX_SHIFT - WINDOW) // WINDOW * WINDOW
        end = start + len(frames) + MAX_SHIFT + WINDOW
        part = pcm[base * SAMPLES_A_FRAME : end * SAMPLES_A_FRAME]
        mel = audio.melspectrogram(to_float(part)).T
        shifted = range(start - MAX_SHIFT - base, start + count + MAX_SHIFT - base)
        audio_windows = np.stack([audio.mel_window(mel, frame) for frame in shifted])[:, None]
        lower = sliding_window_view(frames[:, self.side // 2 :], WINDOW, axis=0)
        windows = np.moveaxis(lower, -1, 1)  # (count, 5, S / 2, S, 3)
        faces = [
            self.model.encode_faces(stack_window(to_device(batch, device)))
            for batch in np.split(windows, range(BATCH_SIZE, count, BATCH_SIZE))
        ]
        batches = torch.from_numpy(audio_windows).split(BATCH_SIZE)
        embedded_audio = [self.model.encode_audio(batch.to(device)) for batch in batches]
        embedded = torch.cat(faces), torch.cat(embedded_audio)
        return window_distances(*embedded, distance=cosine_distance)


@functools.cache
def load_scorer(path: Path, device: str = "auto") -> SyncScorer:
    """The scorer of these weights. Raises LipsyncError for other files."""
    return LseScorer(path, device) if path.suffix == LSE_SUFFIX else SyncNetScorer(path, device)


def select_speaker(scores: Sequence[SyncMeasure | None]) -> tuple[int, float]:
    """Index of the track with the highest confidence of `score_tracks`, and that confidence.

    A track without a score is never preferred; when none has one, the first with confidence 0.
    """
    confidences = [-math.inf if score is None else score.confidence for score in scores]
    best = int(np.argmax(confidences))
    return best, max(0.0, confidences[best])


def score_tracks(
    video_path: Path, pcm: np.ndarray, tracks: Sequence[Track], scorer: SyncScorer, spec: CropSpec
) -> list[SyncMeasure | None]:
    """Sync of each track with the audio, None where it is too short.

    pcm: int16 (N,), the audio at 16 kHz. Each is scored on the loudest six seconds of its longest
    unbroken run in one shot. spec: how crops are cut for training, which is what a SyncNet of this
    project expects.
    """
    scores: list[SyncMeasure | None] = []
    samples = _samples(video_path, pcm, tracks, scorer, spec)
    for track, (start, frames) in zip(tracks, samples, strict=True):
        score = None
        if len(frames):
            found = scorer.distances(frames, _mute_other_shots(pcm, track, start), start)
            score = measure(found, start + np.arange(len(found)))
        scores.append(score)
    shown = [score and (score.offset, round(score.confidence, 4)) for score in scores]
    log.info("%s: offset and sync confidence of each face: %s", video_path.name, shown)
    return scores


def _mute_other_shots(pcm: np.ndarray, track: Track, start: int) -> np.ndarray:
    """The audio, int16 (N,), muted outside of the shot that frame `start` of a track is in.

    Shifts of the audio must not reach into another shot.
    """
    if not track.cuts:
        return pcm
    place = int(np.searchsorted(track.cuts, start, "right"))
    first, last = (0, *track.cuts)[place], (*track.cuts, len(pcm))[place]
    shot = slice(first * SAMPLES_A_FRAME, last * SAMPLES_A_FRAME)
    muted = np.zeros(len(pcm), pcm.dtype)
    muted[shot] = pcm[shot]
    return muted


def _samples(
    video_path: Path, pcm: np.ndarray, tracks: Sequence[Track], scorer: SyncScorer, spec: CropSpec
) -> Iterator[tuple[int, np.ndarray]]:
    """For each track, the first frame of what is scored, and its frames, (n, side, side, 3).

    No frames where the track is too short, or partly outside of the video's frame.
    """
    views = [scorer.view(_sample(track, pcm)) for track in tracks]
    if isinstance(scorer, LseScorer):
        spec = CropSpec("square")
    for first in range(0, len(views), FACES_PER_PASS):
        group = views[first : first + FACES_PER_PASS]
        frames: list[list[np.ndarray]] = [[] for _ in group]
        for number, _, crop in iter_crops(video_path, group, spec):
            frames[number].append(
                cv2.resize(crop, (scorer.side, scorer.side), interpolation=cv2.INTER_AREA)
            )
        for view, own in zip(group, frames, strict=True):
            whole = len(own) >= max(MIN_FRAMES, len(view))
            yield (int(view.frames[0]), np.stack(own)) if whole else (0, np.zeros(0, np.uint8))


def _sample(track: Track, pcm: np.ndarray) -> Track:
    """The loudest MAX_FRAMES frames, or fewer, of the track's longest run that has audio."""
    run = max(track.runs(), key=len)
    start = int(track.frames[run[0]])
    run = run[: max(0, len(pcm) // SAMPLES_A_FRAME - start)]
    if len(run) > MAX_FRAMES:
        samples = pcm[start * SAMPLES_A_FRAME :][: len(run) * SAMPLES_A_FRAME].reshape(len(run), -1)
        power = np.einsum("ij,ij->i", samples, samples, dtype=np.float64)
        total = np.concatenate(([0.0], np.cumsum(power)))
        first = int(np.argmax(total[MAX_FRAMES:] - total[:-MAX_FRAMES]))
        run = run[first : first + MAX_FRAMES]
    landmarks = None if track.landmarks is None else track.landmarks[run]
    return Track(track.frames[run], track.boxes[run], landmarks)
