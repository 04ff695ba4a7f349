"""Who of several people in a video speaks: the face whose lips fit the sound best.

The judge is an expert of this project, or the public SyncNet (LSE-C of Chung & Zisserman, 2016).
Which faces there are, and what becomes of the speaker's, is left to others.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from scipy.io import wavfile

from lipsync_core import audio
from lipsync_core.checkpoints import build_from
from lipsync_core.evaluation.lse import MAX_SHIFT, SAMPLES_A_FRAME, lse
from lipsync_core.faces.crops import CropSpec, iter_crops
from lipsync_core.faces.track import Track
from lipsync_core.models import LseSyncNet, SyncNet
from lipsync_core.pretrained import LSE_WEIGHTS
from lipsync_core.runtime.device import pick

log = logging.getLogger(__name__)

SAMPLE = 150  # frames that are judged: 6 s
LEAST = 16  # frames that a judgement needs
AT_ONCE = 8  # faces whose frames are held in memory together
WINDOW = 5
BATCH = 32


class Judge(Protocol):
    """Scores how well lips fit sound; higher is better."""

    side: int

    def view(self, track: Track) -> Track:
        """The track with the boxes that this judge wants to see."""
        ...

    def confidence(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> float:
        """As `sync`, without the offset."""
        ...

    def sync(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> tuple[int, float]:
        """Offset in frames of 40 ms (above 0 the picture comes late) and confidence.

        frames: uint8 (n, side, side, 3) BGR, n >= LEAST, the first one being frame `start`
        of the clip; pcm: int16 (N,), the whole clip's sound at 16 kHz, longer than these frames.
        """
        ...


class PublicJudge:
    """LSE-C by syncnet_v2.model, on the region that its own pipeline cuts."""

    side = 224

    def __init__(self, path: Path, device: str) -> None:
        self.model = build_from(path, LseSyncNet).to(pick(device))

    def view(self, track: Track) -> Track:
        # 40 % of the face's size more, at the sides and below, as its training data has it.
        x, y = (track.boxes[:, :2] + track.boxes[:, 2:]).T / 2
        half = (track.boxes[:, 2:] - track.boxes[:, :2]).max(axis=1) / 2
        boxes = (x - 1.4 * half, y - half, x + 1.4 * half, y + 1.8 * half)
        return replace(track, boxes=np.stack(boxes, axis=1).astype(np.float32))

    def confidence(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> float:
        return self.sync(frames, pcm, start)[1]

    def sync(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> tuple[int, float]:
        part = pcm[start * SAMPLES_A_FRAME : (start + len(frames)) * SAMPLES_A_FRAME]
        result = lse(self.model, frames, np.array(part))
        return result.offset, result.lse_c


class ExpertJudge:
    """The same measure (median minus smallest distance over shifts) by this project's expert."""

    def __init__(self, path: Path, device: str) -> None:
        self.model = build_from(path, SyncNet).to(pick(device))
        self.side = self.model.image_size

    def view(self, track: Track) -> Track:
        return track

    def confidence(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> float:
        return self.sync(frames, pcm, start)[1]

    @torch.inference_mode()
    def sync(self, frames: np.ndarray, pcm: np.ndarray, start: int) -> tuple[int, float]:
        device = next(self.model.parameters()).device
        count = len(frames) - WINDOW + 1
        # Five frames are sixteen mel columns: from such a frame on, columns fall where they did.
        base = max(0, start - MAX_SHIFT - WINDOW) // WINDOW * WINDOW
        end = start + len(frames) + MAX_SHIFT + WINDOW
        part = pcm[base * SAMPLES_A_FRAME : end * SAMPLES_A_FRAME]
        mel = audio.melspectrogram(part.astype(np.float32) / 32768).T
        heard = range(start - MAX_SHIFT - base, start + count + MAX_SHIFT - base)
        sounds = np.stack([audio.mel_window(mel, frame) for frame in heard])[:, None]
        lower = np.ascontiguousarray(frames[:, self.side // 2 :])
        planes = torch.from_numpy(lower).permute(0, 3, 1, 2).float() / 255  # (n, 3, S / 2, S)
        windows = planes.unfold(0, WINDOW, 1).permute(0, 4, 1, 2, 3).flatten(1, 2)
        face = torch.cat([self.model.encode_faces(w.to(device)) for w in windows.split(BATCH)])
        batches = torch.from_numpy(sounds).split(BATCH)
        voice = torch.cat([self.model.encode_audio(batch.to(device)) for batch in batches])
        distances = torch.stack(
            [
                (1 - (face * voice[shift : shift + count]).sum(dim=1)).mean()
                for shift in range(2 * MAX_SHIFT + 1)
            ]
        )
        offset = MAX_SHIFT - int(distances.argmin())
        return offset, float(distances.median() - distances.min())


@functools.cache
def load_judge(path: Path, device: str = "auto") -> Judge:
    """The scorer of these weights. Raises LipsyncError for other files."""
    public = path.suffix == Path(LSE_WEIGHTS).suffix
    return PublicJudge(path, device) if public else ExpertJudge(path, device)


def speaker(
    video_path: Path,
    wav_path: Path,
    tracks: Sequence[Track],
    judge: Judge,
    style: CropSpec,
) -> tuple[int, float]:
    """Which of the tracks speaks, and the confidence.

    Each is judged on the loudest six seconds of its longest unbroken run in one shot. Tracks that
    are too short to judge lose; when all are, the first wins with confidence 0. `style` is how
    crops are cut for training: what an expert has learnt from.
    """
    _, pcm = wavfile.read(wav_path, mmap=True)
    samples = _samples(video_path, pcm, tracks, judge, style)
    confidences = [
        round(judge.confidence(frames, _of_shot(pcm, track, start), start), 4)
        if len(frames)
        else -math.inf
        for track, (start, frames) in zip(tracks, samples, strict=True)
    ]
    best = int(np.argmax(confidences))
    log.info("%s: sync confidence of each face: %s", video_path.name, confidences)
    return best, max(0.0, confidences[best])


def measure_sync(
    video_path: Path, wav_path: Path, track: Track, judge: Judge, style: CropSpec
) -> tuple[int, float] | None:
    """Offset (frames) and confidence of one face, judged as in `speaker`; None when too short."""
    _, pcm = wavfile.read(wav_path, mmap=True)
    ((start, frames),) = _samples(video_path, pcm, [track], judge, style)
    if not len(frames):
        return None
    offset, confidence = judge.sync(frames, _of_shot(pcm, track, start), start)
    return offset, round(confidence, 4)


def _of_shot(pcm: np.ndarray, track: Track, start: int) -> np.ndarray:
    """The sound, silent outside of the shot that frame `start` of a track is in: int16 (N,).

    Shifts of the sound must not reach into another shot.
    """
    if not track.cuts:
        return pcm
    place = int(np.searchsorted(track.cuts, start, "right"))
    first, last = (0, *track.cuts)[place], (*track.cuts, len(pcm))[place]
    shot = slice(first * SAMPLES_A_FRAME, last * SAMPLES_A_FRAME)
    heard = np.zeros(len(pcm), pcm.dtype)
    heard[shot] = pcm[shot]
    return heard


def _samples(
    video_path: Path, pcm: np.ndarray, tracks: Sequence[Track], judge: Judge, style: CropSpec
) -> Iterator[tuple[int, np.ndarray]]:
    """For each track, the first frame of what is judged, and its frames, (n, side, side, 3).

    No frames where it is too short, or partly outside of the picture.
    """
    views = [judge.view(_sample(track, pcm)) for track in tracks]
    if isinstance(judge, PublicJudge):
        style = CropSpec("square")
    for first in range(0, len(views), AT_ONCE):
        group = views[first : first + AT_ONCE]
        frames: list[list[np.ndarray]] = [[] for _ in group]
        for number, _, crop in iter_crops(video_path, group, style):
            frames[number].append(
                cv2.resize(crop, (judge.side, judge.side), interpolation=cv2.INTER_AREA)
            )
        for view, own in zip(group, frames, strict=True):
            whole = len(own) >= max(LEAST, len(view))
            yield (int(view.frames[0]), np.stack(own)) if whole else (0, np.zeros(0, np.uint8))


def _sample(track: Track, pcm: np.ndarray) -> Track:
    """The loudest SAMPLE frames (or fewer) of the track's longest run in one shot, with sound."""
    run = max(track.runs(), key=len)
    start = int(track.frames[run[0]])
    run = run[: max(0, len(pcm) // SAMPLES_A_FRAME - start)]
    if len(run) > SAMPLE:
        sound = pcm[start * SAMPLES_A_FRAME :][: len(run) * SAMPLES_A_FRAME].reshape(len(run), -1)
        power = np.einsum("ij,ij->i", sound, sound, dtype=np.float64)
        total = np.concatenate(([0.0], np.cumsum(power)))
        first = int(np.argmax(total[SAMPLE:] - total[:-SAMPLE]))
        run = run[first : first + SAMPLE]
    landmarks = None if track.landmarks is None else track.landmarks[run]
    return Track(track.frames[run], track.boxes[run], landmarks)
