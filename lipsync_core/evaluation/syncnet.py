"""Metrics of a SyncNet on fixed windows of a dataset, and the audio-visual offset of a clip.

Pure functions of their arguments. Networks must be in evaluation mode; they run on their device.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lipsync_core.data.dataset import ClipDataset, DatasetClip, within_shots
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.evaluation import metrics
from lipsync_core.evaluation.av_offset import SHIFTS, cosine_distance, window_distances
from lipsync_core.evaluation.sync import SyncMeasure, measure
from lipsync_core.models import SyncNet

OFFSETS = (1, 2, 3, 5)  # frames between a face window and the wrong audio
MIN_FAR_OFFSET = 10
TOP1_CANDIDATES = 12  # audio windows to choose from in top1
SYNCNET_STREAM = 101  # random stream of the evaluation, different from those of training
BATCH_SIZE = 64
RUN = 25  # consecutive windows whose offset is measured: they share their audio windows


def with_clip_statistics(model: SyncNet) -> SyncNet:
    """A copy whose batch norm normalizes by what it is given instead of by the training's clips.

    Given all windows of a clip at once, it adapts to a speaker, light and room that the training
    has not seen (as AdaBN, Li et al., 2016). It needs no labels: faces and audio are normalized
    apart from each other.
    """
    adapted = copy.deepcopy(model)
    for layer in adapted.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = None
    return adapted


@torch.no_grad()
def embed_audio(
    model: SyncNet,
    dataset: ClipDataset,
    clip: DatasetClip,
    starts: np.ndarray,
    batch_size: int = BATCH_SIZE,
) -> torch.Tensor:
    """Audio embeddings of the windows at `starts`: float32 (n, D), on the CPU."""
    device = next(model.parameters()).device
    chunks = _chunks(starts, batch_size)
    batches = (to_device(dataset.mels(clip, chunk), device) for chunk in chunks)
    return torch.cat([model.encode_audio(mels).float().cpu() for mels in batches])


@torch.no_grad()
def embed_faces(
    model: SyncNet,
    dataset: ClipDataset,
    clip: DatasetClip,
    starts: np.ndarray,
    batch_size: int = BATCH_SIZE,
) -> torch.Tensor:
    """Face embeddings of the windows at `starts`: float32 (n, D), on the CPU."""
    device = next(model.parameters()).device
    batches = (
        stack_window(to_device(np.stack([dataset.lower_half(clip, int(s)) for s in chunk]), device))
        for chunk in _chunks(starts, batch_size)
    )
    return torch.cat([model.encode_faces(faces).float().cpu() for faces in batches])


def _chunks(starts: np.ndarray, size: int) -> list[np.ndarray]:
    return np.split(starts, range(size, len(starts), size))


@dataclass(frozen=True)
class SyncNetResult:
    """Evaluation of a SyncNet on the windows of a dataset.

    metrics: loss, sync_loss_in_sync, sync_loss_out_of_sync, accuracy, auc, top1, ece, offset_<d>;
    see `syncnet_metrics`.
    losses: (clip id, binary cross entropy, number of windows) of each clip, in order.
    curve: reliability curve of the cosines as probabilities of being in sync.
    """

    metrics: dict[str, float]
    losses: list[tuple[str, float, int]]
    curve: list[metrics.Bin]


def syncnet_metrics(
    model: SyncNet, dataset: ClipDataset, seed: int = 0, per_clip: int = 48
) -> dict[str, float]:
    """Metrics of a SyncNet: its own audio against other audio of the same clip.

    `per_clip` windows of each clip are sampled by the seed; each face window is compared with its
    own audio and with the audio of the other windows.

    Returns
    -------
    loss: binary cross entropy of the cosine; pairs in and out of sync have equal weight (0.693:
        chance; about 0.25: good enough to train a generator).
    sync_loss_in_sync, sync_loss_out_of_sync: sync loss (cross entropy against "in sync") of pairs
        in sync and out of sync: the reference values for the sync loss of a generator.
    accuracy: fraction of pairs on the right side of 0.5, equally weighted (chance 0.5).
    auc: probability that a pair in sync scores above one out of sync (chance 0.5).
    ece: expected calibration error of the cosines, 0..1.
    top1: fraction of face windows with the best score for their own audio among 12 (chance 0.083).
    offset_<d>: fraction of face windows with a better score for their own audio than for that d
        frames away (chance 0.5); offset_10plus: than for that 10 or more frames away.
    """
    return evaluate_syncnet(model, dataset, seed, per_clip).metrics


def evaluate_syncnet(
    model: SyncNet,
    dataset: ClipDataset,
    seed: int = 0,
    per_clip: int = 48,
    batch_size: int = BATCH_SIZE,
) -> SyncNetResult:
    """As `syncnet_metrics`, with the loss of each clip and the reliability curve.

    batch_size: windows embedded at once; many more than a clip has for `with_clip_statistics`.
    """
    in_sync, out_of_sync, groups, losses = [], [], [], []
    wins: dict[str, list[np.ndarray]] = {f"offset_{d}": [] for d in OFFSETS}
    wins[f"offset_{MIN_FAR_OFFSET}plus"] = []
    for index, clip in enumerate(dataset.clips):
        rng = np.random.default_rng((SYNCNET_STREAM, seed, index))
        count = min(per_clip, len(clip.starts))
        starts = np.sort(rng.choice(clip.starts, size=count, replace=False))
        shifted = {d: shifted_starts(clip.starts, starts, d) for d in OFFSETS}
        needed = np.unique(np.concatenate([starts, *shifted.values()]))
        audio = embed_audio(model, dataset, clip, needed, batch_size).numpy()
        face = embed_faces(model, dataset, clip, starts, batch_size).numpy()
        cosines = face @ audio[np.searchsorted(needed, starts)].T  # (faces, audio)
        own = np.diagonal(cosines)
        in_sync.append(own)
        out_of_sync.append(cosines[~np.eye(count, dtype=bool)])
        losses.append((clip.id, metrics.bce(in_sync[-1], out_of_sync[-1]), count))
        for d, others in shifted.items():
            score = np.sum(face * audio[np.searchsorted(needed, others)], axis=1)
            wins[f"offset_{d}"].append((own > score)[others != starts])
        far = np.abs(starts[:, None] - starts[None]) >= MIN_FAR_OFFSET
        wins[f"offset_{MIN_FAR_OFFSET}plus"].append((own[:, None] > cosines)[far])
        order = rng.permutation(count)[: count // TOP1_CANDIDATES * TOP1_CANDIDATES]
        chosen = order.reshape(-1, TOP1_CANDIDATES)
        groups += [cosines[np.ix_(group, group)] for group in chosen]
    positives, negatives = np.concatenate(in_sync), np.concatenate(out_of_sync)
    curve = metrics.calibration(positives, negatives)
    found = {
        "loss": metrics.bce(positives, negatives),
        "sync_loss_in_sync": metrics.sync_loss(positives),
        "sync_loss_out_of_sync": metrics.sync_loss(negatives),
        "accuracy": metrics.accuracy(positives, negatives),
        "auc": metrics.auc(positives, negatives),
        "ece": metrics.ece(curve),
        "top1": metrics.top1(np.stack(groups)) if groups else float("nan"),
    } | {name: metrics.fraction(np.concatenate(flags)) for name, flags in wins.items()}
    return SyncNetResult(found, losses, curve)


def clip_sync(
    model: SyncNet, dataset: ClipDataset, clip: DatasetClip, windows: int = 50
) -> SyncMeasure:
    """Audio-visual offset of a clip, from `windows` of its face windows or all that it has.

    They lie in runs of 25, evenly spaced over the clip. Audio outside the clip or in another shot
    is left out.
    """
    starts = runs_of_windows(clip.starts, windows)
    wanted = starts[:, None] + SHIFTS
    needed = np.unique(wanted[(wanted >= 0) & (wanted <= clip.starts[-1])])
    needed = within_shots(needed, clip.cuts)
    shot, own_shot = (np.searchsorted(clip.cuts, at, side="right") for at in (wanted, starts))
    present = np.isin(wanted, needed) & (shot == own_shot[:, None])
    rows = np.where(present, np.searchsorted(needed, wanted), -1)
    faces = embed_faces(model, dataset, clip, starts)
    audio = embed_audio(model, dataset, clip, needed)
    return measure(window_distances(faces, audio, rows, cosine_distance), starts)


def runs_of_windows(starts: np.ndarray, windows: int) -> np.ndarray:
    """At most `windows` of `starts`, int64 (n,), in runs of `RUN`, from the first to the last."""
    if len(starts) <= windows:
        return starts
    runs = max(1, windows // RUN)
    firsts = np.linspace(0, len(starts) - RUN, runs).round().astype(int)
    return starts[np.unique(firsts[:, None] + np.arange(RUN))]


def shifted_starts(present: np.ndarray, starts: np.ndarray, offset: int) -> np.ndarray:
    """For each start another one `offset` frames later or earlier (alternately), else itself.

    present: int64 (m,), all starts of a clip; starts: int64 (n,). Returns int64 (n,).
    """
    signs = np.where(np.arange(len(starts)) % 2, -offset, offset)
    first, second = starts + signs, starts - signs
    return np.select([np.isin(first, present), np.isin(second, present)], [first, second], starts)
