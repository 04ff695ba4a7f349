"""Batches of SyncNet: windows of one clip a group, sampled by (dataset, seed, index) alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lipsync_core.config import SyncNetAugment
from lipsync_core.data.augmentation import HFLIP, sample_transform, transform_frames, transform_mels
from lipsync_core.data.dataset import WINDOW, ClipDataset

SYNCNET_STREAM = 1  # random stream, see `dataset.GENERATOR_STREAM`


class SyncNetBatch(NamedTuple):
    """Frames of K windows of one clip, and audio of these and of N others, A = K + N.

    Audio i and face j are in sync if starts[i] = starts[j].
    """

    frames: np.ndarray  # uint8 (K, 5, S/2, S, 3) BGR, lower halves
    mels: np.ndarray  # float32 (A, 1, 80, 16)
    starts: np.ndarray  # int64 (A,), first frames; the first K are those of the frames


def syncnet_group(
    dataset: ClipDataset,
    seed: int,
    index: int,
    windows: int = 12,
    bounds: SyncNetAugment = HFLIP,
    min_gap: int = 1,
    audio_negatives: int = 0,
) -> SyncNetBatch:
    """`windows` windows of one clip, all different if the clip is long enough.

    Pure function of its arguments. bounds: of the augmentation, which is the same for all windows.
    min_gap: minimum distance of their starts in frames, reduced if the clip is too short.
    audio_negatives: number of further windows of which there is only the audio.
    """
    rng = np.random.default_rng((SYNCNET_STREAM, seed, index))
    clip = dataset.sample_clip(rng, seed, index)
    starts = sample_starts(clip.starts, rng, windows, min_gap)
    # A separate stream: the augmentation does not change which windows are sampled.
    transform = sample_transform(np.random.default_rng((SYNCNET_STREAM, seed, index, 1)), bounds)
    frames = dataset.read_windows(clip, starts)
    frames = transform_frames(frames.reshape(-1, *frames.shape[2:]), transform)
    if audio_negatives:
        other = np.setdiff1d(clip.starts, starts)
        other = other if len(other) >= audio_negatives else clip.starts
        streams = np.random.default_rng((SYNCNET_STREAM, seed, index, 2))
        starts = np.concatenate([starts, sample_starts(other, streams, audio_negatives)])
    mels = transform_mels(dataset.mels(clip, starts), transform)
    return SyncNetBatch(frames.reshape(windows, WINDOW, *frames.shape[1:]), mels, starts)


def sample_starts(
    starts: np.ndarray, rng: np.random.Generator, count: int, min_gap: int = 1
) -> np.ndarray:
    """Sample `count` of `starts` in random order with a distance of at least `min_gap`.

    starts: int64 (n,), ascending and unique. If they are too few, the distance is reduced; with
    fewer than `count` some are repeated.
    """
    if len(starts) < count:
        return rng.choice(starts, size=count)
    min_gap = min(min_gap, (len(starts) - 1) // max(1, count - 1))
    # Sample without the gaps, then add them: all such samples are equally likely.
    places = rng.choice(len(starts) - (count - 1) * (min_gap - 1), size=count, replace=False)
    ranks = np.argsort(np.argsort(places))
    return starts[places + ranks * (min_gap - 1)]


def syncnet_batch(
    dataset: ClipDataset,
    seed: int,
    step: int,
    clips: int = 4,
    windows: int = 12,
    bounds: SyncNetAugment = HFLIP,
    min_gap: int = 1,
    audio_negatives: int = 0,
) -> SyncNetBatch:
    """Groups step * clips .. step * clips + clips - 1, stacked on a new first axis."""
    indices = range(step * clips, (step + 1) * clips)
    options = (windows, bounds, min_gap, audio_negatives)
    groups = [syncnet_group(dataset, seed, i, *options) for i in indices]
    return SyncNetBatch(*map(np.stack, zip(*groups, strict=True)))
