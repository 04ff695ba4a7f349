"""How good is an expert, how good is a generator: measures on fixed windows of a dataset.

Used during training and by `lipsync_core.evaluation.evaluate`. Pure functions of their arguments;
networks come in evaluation mode, on the device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lipsync_core.data.dataset import Clip, ClipDataset, within_shots
from lipsync_core.data.tensors import (
    stack_window,
    to_device,
)
from lipsync_core.evaluation import metrics
from lipsync_core.models import SyncNet

OFFSETS = (1, 2, 3, 5)  # frames between a face and the wrong sound
MIN_FAR_OFFSET = 10
TOP1_CANDIDATES = 12  # sounds to choose from in top1
SYNCNET_STREAM = 101  # of random numbers, apart from the training's
BATCH = 64
MAX_OFFSET = 15  # frames, looked at either way


@torch.no_grad()
def embed_audio(model: SyncNet, dataset: ClipDataset, clip: Clip, starts: np.ndarray) -> np.ndarray:
    """The expert's embeddings of the sounds of windows: float32 (n, D)."""
    device = next(model.parameters()).device
    parts = [
        model.encode_audio(to_device(dataset.mels(clip, chunk), device)).float().cpu()
        for chunk in _chunks(starts)
    ]
    return torch.cat(parts).numpy()


@torch.no_grad()
def embed_faces(model: SyncNet, dataset: ClipDataset, clip: Clip, starts: np.ndarray) -> np.ndarray:
    """The expert's embeddings of the lips of windows: float32 (n, D)."""
    device = next(model.parameters()).device
    parts = []
    for chunk in _chunks(starts):
        frames = np.stack([dataset.lower_half(clip, int(start)) for start in chunk])
        parts.append(model.encode_faces(stack_window(to_device(frames, device))).float().cpu())
    return torch.cat(parts).numpy()


def _chunks(starts: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(starts), BATCH):
        yield starts[first : first + BATCH]


@dataclass(frozen=True)
class SyncNetResult:
    """What an expert makes of the windows of a dataset.

    figures: loss, sync_loss_in_sync, sync_loss_out_of_sync, accuracy, auc, top1, ece, offset_<d>;
    see `syncnet_metrics`.
    losses: for each clip in order (id, binary cross entropy, windows).
    curve: the reliability curve of the cosines, taken as probabilities of being in sync.
    """

    figures: dict[str, float]
    losses: list[tuple[str, float, int]]
    curve: list[metrics.Bin]


def syncnet_metrics(
    model: SyncNet, dataset: ClipDataset, seed: int = 0, per_clip: int = 48
) -> dict[str, float]:
    """How well an expert knows the sound of lips from other sound of the same clip.

    `per_clip` windows of each clip are drawn from the seed; each face is compared with its own
    sound and with the sounds of the other windows.

    Returns
    -------
    loss: binary cross entropy of the cosine, pairs in and out of sync in equal shares (0.693: the
        expert knows nothing; about 0.25: a good judge for the generator).
    sync_loss_in_sync, sync_loss_out_of_sync: the sync loss (cross entropy against "in sync") of
        pairs in sync and of pairs out of sync: the ends of the scale that a generator is judged by.
    accuracy: share of pairs on the right side of 0.5, in the same shares (chance 0.5).
    auc: probability that a pair in sync scores above one out of sync (chance 0.5).
    ece: expected calibration error: how far cosines are from the share of pairs in sync, 0..1.
    top1: share of faces whose own sound scores best among 12 (chance 0.083).
    offset_<d>: share of faces whose own sound scores above that d frames away (chance 0.5);
        offset_10plus: above those 10 frames or more away.
    """
    return evaluate_syncnet(model, dataset, seed, per_clip).figures


def evaluate_syncnet(
    model: SyncNet, dataset: ClipDataset, seed: int = 0, per_clip: int = 48
) -> SyncNetResult:
    """As `syncnet_metrics`, with what is behind the figures."""
    right, wrong, groups, losses = [], [], [], []
    nearby: dict[str, list[np.ndarray]] = {f"offset_{d}": [] for d in OFFSETS}
    nearby[f"offset_{MIN_FAR_OFFSET}plus"] = []
    for index, clip in enumerate(dataset.clips):
        rng = np.random.default_rng((SYNCNET_STREAM, seed, index))
        count = min(per_clip, len(clip.starts))
        starts = np.sort(rng.choice(clip.starts, size=count, replace=False))
        shifted = {d: shifted_starts(clip.starts, starts, d) for d in OFFSETS}
        heard = np.unique(np.concatenate([starts, *shifted.values()]))
        audio = embed_audio(model, dataset, clip, heard)
        face = embed_faces(model, dataset, clip, starts)
        cosines = face @ audio[np.searchsorted(heard, starts)].T  # faces x sounds
        own = np.diagonal(cosines)
        right.append(own)
        wrong.append(cosines[~np.eye(count, dtype=bool)])
        losses.append((clip.id, metrics.bce(right[-1], wrong[-1]), count))
        for d, others in shifted.items():
            score = np.sum(face * audio[np.searchsorted(heard, others)], axis=1)
            nearby[f"offset_{d}"].append((own > score)[others != starts])
        far = np.abs(starts[:, None] - starts[None]) >= MIN_FAR_OFFSET
        nearby[f"offset_{MIN_FAR_OFFSET}plus"].append((own[:, None] > cosines)[far])
        order = rng.permutation(count)[: count // TOP1_CANDIDATES * TOP1_CANDIDATES].reshape(
            -1, TOP1_CANDIDATES
        )
        groups += [cosines[np.ix_(chosen, chosen)] for chosen in order]
    positives, negatives = np.concatenate(right), np.concatenate(wrong)
    curve = metrics.calibration(positives, negatives)
    figures = {
        "loss": metrics.bce(positives, negatives),
        "sync_loss_in_sync": metrics.sync_loss(positives),
        "sync_loss_out_of_sync": metrics.sync_loss(negatives),
        "accuracy": metrics.accuracy(positives, negatives),
        "auc": metrics.auc(positives, negatives),
        "ece": metrics.ece(curve),
        "top1": metrics.top1(np.stack(groups)) if groups else float("nan"),
    } | {name: metrics.share(np.concatenate(found)) for name, found in nearby.items()}
    return SyncNetResult(figures, losses, curve)


def clip_offset(model: SyncNet, dataset: ClipDataset, clip: Clip, windows: int = 48) -> int:
    """Frames by which the picture of a clip comes late (below 0: early) in an expert's eyes.

    The offset of up to 15 frames at which lips and sound agree best on average, of windows spread
    over the clip; sounds that the clip does not have, and those of another shot, are left out.
    """
    spread = np.linspace(0, len(clip.starts) - 1, min(windows, len(clip.starts))).round()
    starts = clip.starts[np.unique(spread.astype(int))]
    heard = np.unique(starts[:, None] + np.arange(-MAX_OFFSET, MAX_OFFSET + 1))
    heard = within_shots(heard[(heard >= 0) & (heard <= clip.starts[-1])], clip.cuts)
    shot_of = functools.partial(np.searchsorted, clip.cuts, side="right")
    audio = embed_audio(model, dataset, clip, heard)
    face = embed_faces(model, dataset, clip, starts)
    agreement = face @ audio.T
    means = {}
    for offset in sorted(range(-MAX_OFFSET, MAX_OFFSET + 1), key=abs):  # ties: the smaller
        present = np.isin(starts - offset, heard) & (shot_of(starts - offset) == shot_of(starts))
        if 2 * np.count_nonzero(present) >= len(starts):
            columns = np.searchsorted(heard, starts[present] - offset)
            means[offset] = float(agreement[np.flatnonzero(present), columns].mean())
    return max(means, key=means.__getitem__)


def shifted_starts(present: np.ndarray, starts: np.ndarray, offset: int) -> np.ndarray:
    """For each start one `offset` frames later or earlier (in turns) that is present, else itself.

    present: int64 (m,), all starts of a clip; starts: int64 (n,). Returns int64 (n,).
    """
    signs = np.where(np.arange(len(starts)) % 2, -offset, offset)
    first, second = starts + signs, starts - signs
    return np.select([np.isin(first, present), np.isin(second, present)], [first, second], starts)
