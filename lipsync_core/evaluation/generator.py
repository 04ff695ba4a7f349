"""Figures of a generator: quality and sync on fixed windows, and reference leakage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from lipsync_core.audio import MAX_ABS
from lipsync_core.data.dataset import ClipDataset, GeneratorBatch, generator_batch
from lipsync_core.data.tensors import (
    generator_input,
    syncnet_input,
    to_device,
    to_planes,
)
from lipsync_core.evaluation import metrics
from lipsync_core.models import SyncNet, Wav2Lip

BATCH = 8  # windows drawn at a time


@torch.no_grad()
def generate(model: Wav2Lip, batch: GeneratorBatch) -> np.ndarray:
    """What a generator makes of a batch of windows: float32 (B, 5, S, S, 3) BGR in [0, 1]."""
    device = next(model.parameters()).device
    target, reference, mels, _ = (to_device(part, device) for part in batch)
    faces = generator_input(to_planes(target), to_planes(reference))
    return model(mels, faces).float().permute(0, 2, 3, 4, 1).cpu().numpy()


@torch.no_grad()
def sync_cosines(expert: SyncNet, frames: np.ndarray, sync_mels: np.ndarray) -> np.ndarray:
    """How well sounds and lips agree in the expert's eyes: float32 (B,) in [0, 1].

    frames: float32 (B, 5, S, S, 3) in [0, 1]; sync_mels: float32 (B, 1, 80, 16).
    """
    device = next(expert.parameters()).device
    planes = to_device(frames, device).permute(0, 4, 1, 2, 3)
    audio, face = expert(to_device(sync_mels, device), syncnet_input(planes))
    return (audio.float() * face.float()).sum(1).cpu().numpy()


def generator_metrics(
    model: Wav2Lip,
    expert: SyncNet,
    dataset: ClipDataset,
    seed: int = 0,
    windows: int = 64,
    mel_shift: int = 0,
    shuffled_audio: bool = False,
) -> dict[str, float]:
    """How close to the truth, and how much in sync, a generator draws fixed windows.

    windows: their number, rounded up to a multiple of 8; a pure function of (dataset, seed).
    shuffled_audio: draw each window a second time, with the sound of another one.

    Returns
    -------
    l1, l1_lower: mean absolute difference to the true frames in [0, 1], of the whole faces and of
        their lower halves; psnr_lower: peak signal-to-noise ratio of the lower halves in dB;
        sync_loss: the expert's sync loss. spread: standard deviation over the frames of all
        windows, mean over the pixels of the lower halves: 0 for drawings that are all alike.
    <name>_reference: the same figures for the reference frames, shown instead of drawn ones: a
    generator
        that is of any use is better.
    sync_loss_gt: the expert's sync loss of the true frames; sync_loss_out_of_sync: the same of
        the true frames with another window's sound. Between these lies a generator's.
    <name>_shuffled_audio: the same figures when drawn from another window's sound, `sync_loss`
    against
        the right sound: a generator that listens is worse here.
    """
    accumulators = {
        "": MetricAccumulator(expert),
        "_reference": MetricAccumulator(expert),
        "_gt": MetricAccumulator(expert),
    }
    if shuffled_audio:
        accumulators["_shuffled_audio"] = MetricAccumulator(expert)
    apart: list[np.ndarray] = []
    for index in range(-(-windows // BATCH)):
        batch = generator_batch(dataset, seed, index, BATCH, mel_shift)
        accumulators[""].add(batch, generate(model, batch))
        accumulators["_reference"].add(batch, batch.reference.astype(np.float32) / 255)
        truth = batch.target.astype(np.float32) / 255
        accumulators["_gt"].add(batch, truth)
        apart.append(sync_cosines(expert, truth, np.roll(batch.sync_mel, 1, axis=0)))
        if shuffled_audio:
            other = batch._replace(mels=np.roll(batch.mels, 1, axis=0))
            accumulators["_shuffled_audio"].add(batch, generate(model, other))
    figures = {
        f"{name}{of}": value
        for of, accumulator in accumulators.items()
        for name, value in accumulator.means()
    }
    figures["sync_loss_out_of_sync"] = metrics.sync_loss(np.concatenate(apart))
    trivial = ("l1_gt", "l1_lower_gt", "psnr_lower_gt", "output_std_reference")
    return {name: value for name, value in figures.items() if name not in trivial}


class MetricAccumulator:
    """Figures of frames beside the truth, summed over batches."""

    def __init__(self, expert: SyncNet) -> None:
        self.expert = expert
        self.whole: list[float] = []
        self.lower: list[float] = []
        self.square: list[float] = []
        self.cosines: list[np.ndarray] = []
        self.sums, self.squares, self.frames = 0.0, 0.0, 0

    def add(self, batch: GeneratorBatch, frames: np.ndarray) -> None:
        """frames: float32 (B, 5, S, S, 3) in [0, 1], to be judged as the batch's target."""
        error = np.abs(frames - batch.target.astype(np.float32) / 255)
        half = error.shape[2] // 2
        lower = error[:, :, half:]
        self.whole.append(error.mean())
        self.lower.append(lower.mean())
        self.square.append((lower**2).mean())
        self.cosines.append(sync_cosines(self.expert, frames, batch.sync_mel))
        mouths = frames[:, :, half:].reshape(frames.shape[0] * frames.shape[1], -1).astype(float)
        self.sums, self.squares = self.sums + mouths.sum(0), self.squares + (mouths**2).sum(0)
        self.frames += len(mouths)

    def means(self) -> Iterator[tuple[str, float]]:
        yield "l1", float(np.mean(self.whole))
        yield "l1_lower", float(np.mean(self.lower))
        yield "psnr_lower", metrics.psnr(float(np.mean(self.square)))
        yield "sync_loss", metrics.sync_loss(np.concatenate(self.cosines))
        variance = self.squares / self.frames - (self.sums / self.frames) ** 2
        yield "output_std", float(np.sqrt(np.maximum(variance, 0)).mean())


SILENCE = -MAX_ABS  # in every band of the mel spectrogram


def reference_leakage(
    model: Wav2Lip, dataset: ClipDataset, seed: int = 0, windows: int = 64
) -> dict[str, float]:
    """How much drawn mouths move, with their sound and in silence: what leaks from the pictures.

    windows: as in `generator_metrics`. The references are those of the windows, which talk.

    Returns mean absolute differences, in [0, 1], between consecutive frames' lower halves:
    motion (drawn with the sound), motion_silent_audio (drawn with silence in its place) and
    motion_gt. The head moves in all three; a generator that listens moves less in silence.
    """
    found: dict[str, list[float]] = {"motion": [], "motion_silent_audio": [], "motion_gt": []}
    for index in range(-(-windows // BATCH)):
        batch = generator_batch(dataset, seed, index, BATCH)
        silent = batch._replace(mels=np.full_like(batch.mels, SILENCE))
        found["motion"].append(_motion(generate(model, batch)))
        found["motion_silent_audio"].append(_motion(generate(model, silent)))
        found["motion_gt"].append(_motion(batch.target.astype(np.float32) / 255))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _motion(frames: np.ndarray) -> float:
    """Mean absolute difference of consecutive frames' lower halves: (B, 5, S, S, 3) -> number."""
    return float(np.abs(np.diff(frames[:, :, frames.shape[2] // 2 :], axis=1)).mean())
