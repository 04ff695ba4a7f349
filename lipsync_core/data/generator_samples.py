"""Samples of the generator: windows to generate, their references, and silence.

Every sample is a pure function of (dataset, seed, index), see `lipsync_core.data.dataset`.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lipsync_core.audio import MAX_ABS, MEL_RATE, MEL_WINDOW
from lipsync_core.data import augmentation
from lipsync_core.data.dataset import (
    GENERATOR_STREAM,
    SILENCE_STREAM,
    WINDOW,
    ClipDataset,
    DatasetClip,
    within_shots,
)
from lipsync_core.data.loudness import loudness, speech_frames
from lipsync_core.faces.mouth_region import MOUTH, opening, region
from lipsync_core.media.video import FPS

CANDIDATES = 12  # frames of which the references are chosen
THUMBNAIL = (24, 12)  # pixels (width, height) to which regions are scaled to compare them
SILENT_MARGIN = 2  # frames on each side of a silent frame that must be silent as well
MIN_CLOSED = WINDOW  # frames that a clip needs to give a sample of silence
CLIPS_TRIED = 8  # for one with silence, before lips closed in speech are taken
CLOSED_SHARE = 1 / 8  # of the frames of a clip without silence: those with the mouth most closed
DIGITAL_SILENCE = 0.5  # share of the samples of silence without any noise


class GeneratorBatch(NamedTuple):
    """One window to generate. The visual input is the target with its lower half masked."""

    target: np.ndarray  # uint8 (5, S, S, 3) BGR
    reference: np.ndarray  # uint8 (5, S, S, 3) BGR, same clip, outside the target window
    mels: np.ndarray  # float32 (5, 1, 80, 16), one per frame
    sync_mel: np.ndarray  # float32 (1, 80, 16), audio of the whole window
    spoken: np.ndarray  # float32 (), 1, or 0 for a sample of silence, which has no sync loss


def generator_sample(
    dataset: ClipDataset,
    seed: int,
    index: int,
    mel_offset: int = 0,
    hflip: bool = False,
    reference: str = "random",
    silence_share: float = 0.0,
) -> GeneratorBatch:
    """One window and a reference window of the same clip without common frames, or silence.

    Pure function of its arguments. mel_offset: frame f is generated from the mel window of frame
    f + mel_offset. Inference uses 0; the public training code uses -1, a shift of 40 ms between
    training and inference. The window of the sync loss is never shifted.
    reference: "random", or "pose_matched", see `pose_matched`. silence_share: share of the samples
    that are `silent_sample`s.
    """
    rng = np.random.default_rng((GENERATOR_STREAM, seed, index))
    # A separate stream: the other samples do not depend on the share of silence.
    silence = np.random.default_rng((SILENCE_STREAM, seed, index))
    if silence_share and silence.random() < silence_share:
        sample = silent_sample(dataset, silence, seed, index)
    else:
        clip = dataset.sample_clip(rng, seed, index)
        start = int(rng.choice(within_shots(clip.starts, clip.cuts, mel_offset)))
        elsewhere = clip.starts[np.abs(clip.starts - start) >= WINDOW]
        target = dataset.frames(clip, start)
        if reference == "pose_matched":
            chosen = pose_matched(dataset, clip, target, elsewhere, rng)
        else:
            chosen = int(rng.choice(elsewhere))
        mels = dataset.mels(clip, range(start + mel_offset, start + mel_offset + WINDOW))
        sync_mel = dataset.mels(clip, [start])[0]
        sample = GeneratorBatch(target, dataset.frames(clip, chosen), mels, sync_mel, np.float32(1))
    if hflip and rng.random() < 0.5:
        flipped = (augmentation.hflip(faces) for faces in sample[:2])
        sample = GeneratorBatch(*flipped, *sample[2:])
    return sample


def generator_batch(
    dataset: ClipDataset,
    seed: int,
    step: int,
    size: int,
    mel_offset: int = 0,
    hflip: bool = False,
    reference: str = "random",
    silence_share: float = 0.0,
) -> GeneratorBatch:
    """Samples step * size .. step * size + size - 1, stacked on a new first axis."""
    samples = [
        generator_sample(dataset, seed, index, mel_offset, hflip, reference, silence_share)
        for index in range(step * size, (step + 1) * size)
    ]
    return GeneratorBatch(*map(np.stack, zip(*samples, strict=True)))


def pose_matched(
    dataset: ClipDataset,
    clip: DatasetClip,
    target: np.ndarray,
    elsewhere: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """First frame of a reference with the head's pose of the target and another mouth.

    In a dubbing the reference is the frame itself, in the same pose but with the wrong mouth. A
    generator that is trained with references in other poses draws blurred skin, and one whose
    references show the right mouth copies it instead of listening. Of `CANDIDATES` windows in
    `elsewhere`, the third nearest in pose; of them the one whose mouth differs most.

    target: uint8 (5, S, S, 3). elsewhere: int64 (n,), first frames of windows.
    """
    starts = rng.choice(elsewhere, size=min(CANDIDATES, len(elsewhere)), replace=False)
    middle = WINDOW // 2
    frames = np.stack([dataset.frame(clip, int(start) + middle) for start in starts])
    same = target[None, middle]
    pose = _distances(_upper_half(frames), _upper_half(same))
    mouth = _distances(region(frames, MOUTH), region(same, MOUTH))
    near = np.argsort(pose, kind="stable")[: max(1, len(starts) // 3)]
    return int(starts[near[np.argmax(mouth[near])]])


def _upper_half(frames: np.ndarray) -> np.ndarray:
    """The half of frames (n, S, S, 3) that the generator sees: a view (n, S / 2, S, 3)."""
    return frames[:, : frames.shape[1] // 2]


def _distances(frames: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Mean absolute difference of frames (n, h, w, 3) to `same` (1, h, w, 3), both made small."""
    return np.abs(_thumbnails(frames) - _thumbnails(same)).mean(axis=(1, 2, 3))


def _thumbnails(frames: np.ndarray) -> np.ndarray:
    small = [cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(small).astype(np.float32)


def silent_sample(
    dataset: ClipDataset, rng: np.random.Generator, seed: int, index: int
) -> GeneratorBatch:
    """Frames with the mouth closed, to be generated from silence and references that speak.

    The frames are not consecutive: the generator works on each by itself. The references are those
    of `CANDIDATES` frames whose mouths differ most. The audio is digital silence, or that of the
    frames themselves with the recording's noise.
    """
    clip, closed, silent = _closed_mouths(dataset, rng, seed, index)
    chosen = rng.choice(closed, size=WINDOW)
    target = np.stack([dataset.frame(clip, int(frame)) for frame in chosen])
    others = rng.choice(clip.starts, CANDIDATES) + rng.integers(WINDOW, size=CANDIDATES)
    candidates = np.stack([dataset.frame(clip, int(frame)) for frame in others])
    middle = target[None, WINDOW // 2]
    mouth = _distances(region(candidates, MOUTH), region(middle, MOUTH))
    reference = candidates[np.argsort(mouth, kind="stable")[-WINDOW:]]
    if rng.random() < DIGITAL_SILENCE or not silent:
        mels = np.full((WINDOW, *dataset.mels(clip, chosen[:1]).shape[1:]), -MAX_ABS, np.float32)
    else:
        mels = dataset.mels(clip, chosen)
    return GeneratorBatch(target, reference, mels, mels[0], np.float32(0))


def _closed_mouths(
    dataset: ClipDataset, rng: np.random.Generator, seed: int, index: int
) -> tuple[DatasetClip, np.ndarray, bool]:
    """A clip, its frames with a closed mouth, int64 (n,), and whether they are silent.

    Frames of silence; where `CLIPS_TRIED` clips have none, the frames of one whose mouth is most
    closed by `opening`.
    """
    for _ in range(CLIPS_TRIED):
        clip = dataset.sample_clip(rng, seed, index)
        silent = silent_frames(dataset, clip)
        if len(silent) >= MIN_CLOSED:
            return clip, silent, True
    every = np.unique(clip.starts[:, None] + np.arange(WINDOW))
    few = np.sort(rng.choice(every, size=min(len(every), 4 * CANDIDATES), replace=False))
    openings = opening(np.stack([dataset.frame(clip, int(frame)) for frame in few]))
    count = max(MIN_CLOSED, round(CLOSED_SHARE * len(few)))
    return clip, few[np.argsort(openings, kind="stable")[:count]], False


def silent_frames(dataset: ClipDataset, clip: DatasetClip) -> np.ndarray:
    """Frames of a clip whose mel window and surroundings are silent: int64 (n,), ascending."""
    found = dataset.cache.get(("silent frames", clip.id))
    if found is not None:  # an hour of one speaker may be one clip
        return found
    mel = dataset.mel(clip)
    speech = speech_frames(loudness(mel))
    counts = np.concatenate(([0], np.cumsum(speech)))
    frames = np.unique(clip.starts[:, None] + np.arange(WINDOW))
    frames = frames[frames * MEL_RATE // FPS + MEL_WINDOW <= len(mel)]
    first = np.maximum(frames - SILENT_MARGIN, 0)
    last = np.minimum(frames + WINDOW + SILENT_MARGIN, len(speech))
    found = frames[counts[last] == counts[first]]
    dataset.cache.add(("silent frames", clip.id), found)
    return found
