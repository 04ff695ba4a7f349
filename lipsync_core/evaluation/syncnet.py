"""How good is an expert, how good is a generator: measures on fixed windows of a corpus.

Used during training and by `lipsync_core.evaluation.evaluate`. Pure functions of their arguments;
networks come in evaluation mode, on the device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lipsync_core.data.dataset import Clip, Corpus, GeneratorSample, generator_batch, within_shots
from lipsync_core.data.tensors import (
    expert_view,
    generator_input,
    stack_window,
    to_device,
    to_planes,
)
from lipsync_core.evaluation import metrics
from lipsync_core.models import SyncNet, Wav2Lip

OFFSETS = (1, 2, 3, 5)  # frames between a face and the wrong sound
FAR = 10
CHOICE = 12  # sounds to choose from in top1
EXPERT_STREAM = 101  # of random numbers, apart from the training's
BATCH = 64
SHOTS = 8  # windows drawn at a time
MOST_OFFSET = 15  # frames, looked at either way


@torch.no_grad()
def embed_sounds(model: SyncNet, corpus: Corpus, clip: Clip, starts: np.ndarray) -> np.ndarray:
    """The expert's embeddings of the sounds of windows: float32 (n, D)."""
    device = next(model.parameters()).device
    parts = [
        model.encode_audio(to_device(corpus.mels(clip, chunk), device)).float().cpu()
        for chunk in _chunks(starts)
    ]
    return torch.cat(parts).numpy()


@torch.no_grad()
def embed_faces(model: SyncNet, corpus: Corpus, clip: Clip, starts: np.ndarray) -> np.ndarray:
    """The expert's embeddings of the lips of windows: float32 (n, D)."""
    device = next(model.parameters()).device
    parts = []
    for chunk in _chunks(starts):
        frames = np.stack([corpus.lower_frames(clip, int(start)) for start in chunk])
        parts.append(model.encode_faces(stack_window(to_device(frames, device))).float().cpu())
    return torch.cat(parts).numpy()


def _chunks(starts: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(starts), BATCH):
        yield starts[first : first + BATCH]


@dataclass(frozen=True)
class Findings:
    """What an expert makes of the windows of a corpus.

    figures: loss, sync_loss_in_sync, sync_loss_out_of_sync, accuracy, auc, top1, ece, offset_<d>;
    see `expert_metrics`.
    losses: for each clip in order (id, binary cross entropy, windows).
    curve: the reliability curve of the cosines, taken as probabilities of being in sync.
    """

    figures: dict[str, float]
    losses: list[tuple[str, float, int]]
    curve: list[metrics.Bin]


def expert_metrics(
    model: SyncNet, corpus: Corpus, seed: int = 0, per_clip: int = 48
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
    return judge_expert(model, corpus, seed, per_clip).figures


def judge_expert(model: SyncNet, corpus: Corpus, seed: int = 0, per_clip: int = 48) -> Findings:
    """As `expert_metrics`, with what is behind the figures."""
    right, wrong, groups, losses = [], [], [], []
    nearby: dict[str, list[np.ndarray]] = {f"offset_{d}": [] for d in OFFSETS}
    nearby[f"offset_{FAR}plus"] = []
    for index, clip in enumerate(corpus.clips):
        rng = np.random.default_rng((EXPERT_STREAM, seed, index))
        count = min(per_clip, len(clip.starts))
        starts = np.sort(rng.choice(clip.starts, size=count, replace=False))
        shifted = {d: shifted_starts(clip.starts, starts, d) for d in OFFSETS}
        heard = np.unique(np.concatenate([starts, *shifted.values()]))
        audio = embed_sounds(model, corpus, clip, heard)
        face = embed_faces(model, corpus, clip, starts)
        cosines = face @ audio[np.searchsorted(heard, starts)].T  # faces x sounds
        own = np.diagonal(cosines)
        right.append(own)
        wrong.append(cosines[~np.eye(count, dtype=bool)])
        losses.append((clip.id, metrics.bce(right[-1], wrong[-1]), count))
        for d, others in shifted.items():
            score = np.sum(face * audio[np.searchsorted(heard, others)], axis=1)
            nearby[f"offset_{d}"].append((own > score)[others != starts])
        far = np.abs(starts[:, None] - starts[None]) >= FAR
        nearby[f"offset_{FAR}plus"].append((own[:, None] > cosines)[far])
        order = rng.permutation(count)[: count // CHOICE * CHOICE].reshape(-1, CHOICE)
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
    return Findings(figures, losses, curve)


def clip_offset(model: SyncNet, corpus: Corpus, clip: Clip, windows: int = 48) -> int:
    """Frames by which the picture of a clip comes late (below 0: early) in an expert's eyes.

    The offset of up to 15 frames at which lips and sound agree best on average, of windows spread
    over the clip; sounds that the clip does not have, and those of another shot, are left out.
    """
    spread = np.linspace(0, len(clip.starts) - 1, min(windows, len(clip.starts))).round()
    starts = clip.starts[np.unique(spread.astype(int))]
    heard = np.unique(starts[:, None] + np.arange(-MOST_OFFSET, MOST_OFFSET + 1))
    heard = within_shots(heard[(heard >= 0) & (heard <= clip.starts[-1])], clip.cuts)
    shot_of = functools.partial(np.searchsorted, clip.cuts, side="right")
    audio = embed_sounds(model, corpus, clip, heard)
    face = embed_faces(model, corpus, clip, starts)
    agreement = face @ audio.T
    means = {}
    for offset in sorted(range(-MOST_OFFSET, MOST_OFFSET + 1), key=abs):  # ties: the smaller
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


@torch.no_grad()
def draw(model: Wav2Lip, batch: GeneratorSample) -> np.ndarray:
    """What a generator makes of a batch of windows: float32 (B, 5, S, S, 3) BGR in [0, 1]."""
    device = next(model.parameters()).device
    target, reference, mels, _ = (to_device(part, device) for part in batch)
    faces = generator_input(to_planes(target), to_planes(reference))
    return model(mels, faces).float().permute(0, 2, 3, 4, 1).cpu().numpy()


@torch.no_grad()
def cosines(expert: SyncNet, frames: np.ndarray, sync_mels: np.ndarray) -> np.ndarray:
    """How well sounds and lips agree in the expert's eyes: float32 (B,) in [0, 1].

    frames: float32 (B, 5, S, S, 3) in [0, 1]; sync_mels: float32 (B, 1, 80, 16).
    """
    device = next(expert.parameters()).device
    planes = to_device(frames, device).permute(0, 4, 1, 2, 3)
    audio, face = expert(to_device(sync_mels, device), expert_view(planes))
    return (audio.float() * face.float()).sum(1).cpu().numpy()


def generator_metrics(
    model: Wav2Lip,
    expert: SyncNet,
    corpus: Corpus,
    seed: int = 0,
    windows: int = 64,
    mel_shift: int = 0,
    wrong_sound: bool = False,
) -> dict[str, float]:
    """How close to the truth, and how much in sync, a generator draws fixed windows.

    windows: their number, rounded up to a multiple of 8; a pure function of (corpus, seed).
    wrong_sound: draw each window a second time, with the sound of another one.

    Returns
    -------
    l1, l1_lower: mean absolute difference to the true frames in [0, 1], of the whole faces and of
        their lower halves; psnr_lower: peak signal-to-noise ratio of the lower halves in dB;
        sync_loss: the expert's sync loss. spread: standard deviation over the frames of all
        windows, mean over the pixels of the lower halves: 0 for drawings that are all alike.
    <name>_copy: the same figures for the reference frames, shown instead of drawn ones: a generator
        that is of any use is better.
    sync_loss_truth: the expert's sync loss of the true frames; sync_loss_out_of_sync: the same of
        the true frames with another window's sound. Between these lies a generator's.
    <name>_wrong_sound: the same figures when drawn from another window's sound, `sync_loss` against
        the right sound: a generator that listens is worse here.
    """
    tallies = {"": _Tally(expert), "_copy": _Tally(expert), "_truth": _Tally(expert)}
    if wrong_sound:
        tallies["_wrong_sound"] = _Tally(expert)
    apart: list[np.ndarray] = []
    for index in range(-(-windows // SHOTS)):
        batch = generator_batch(corpus, seed, index, SHOTS, mel_shift)
        tallies[""].add(batch, draw(model, batch))
        tallies["_copy"].add(batch, batch.reference.astype(np.float32) / 255)
        truth = batch.target.astype(np.float32) / 255
        tallies["_truth"].add(batch, truth)
        apart.append(cosines(expert, truth, np.roll(batch.sync_mel, 1, axis=0)))
        if wrong_sound:
            other = batch._replace(mels=np.roll(batch.mels, 1, axis=0))
            tallies["_wrong_sound"].add(batch, draw(model, other))
    figures = {
        f"{name}{of}": value for of, tally in tallies.items() for name, value in tally.means()
    }
    figures["sync_loss_out_of_sync"] = metrics.sync_loss(np.concatenate(apart))
    trivial = ("l1_truth", "l1_lower_truth", "psnr_lower_truth", "spread_copy")
    return {name: value for name, value in figures.items() if name not in trivial}


class _Tally:
    """Figures of frames beside the truth, summed over batches."""

    def __init__(self, expert: SyncNet) -> None:
        self.expert = expert
        self.whole: list[float] = []
        self.lower: list[float] = []
        self.square: list[float] = []
        self.cosines: list[np.ndarray] = []
        self.sums, self.squares, self.frames = 0.0, 0.0, 0

    def add(self, batch: GeneratorSample, frames: np.ndarray) -> None:
        """frames: float32 (B, 5, S, S, 3) in [0, 1], to be judged as the batch's target."""
        error = np.abs(frames - batch.target.astype(np.float32) / 255)
        half = error.shape[2] // 2
        lower = error[:, :, half:]
        self.whole.append(error.mean())
        self.lower.append(lower.mean())
        self.square.append((lower**2).mean())
        self.cosines.append(cosines(self.expert, frames, batch.sync_mel))
        mouths = frames[:, :, half:].reshape(frames.shape[0] * frames.shape[1], -1).astype(float)
        self.sums, self.squares = self.sums + mouths.sum(0), self.squares + (mouths**2).sum(0)
        self.frames += len(mouths)

    def means(self) -> Iterator[tuple[str, float]]:
        yield "l1", float(np.mean(self.whole))
        yield "l1_lower", float(np.mean(self.lower))
        yield "psnr_lower", metrics.psnr(float(np.mean(self.square)))
        yield "sync_loss", metrics.sync_loss(np.concatenate(self.cosines))
        variance = self.squares / self.frames - (self.sums / self.frames) ** 2
        yield "spread", float(np.sqrt(np.maximum(variance, 0)).mean())
