"""Check of audio-visual sync: do audio and video match, without a constant offset?

Uses the offsets of clips that a trained network has measured, else `correlation`, which needs no
network. Offsets are in frames; above 0 the video is late.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.data.dataset import WINDOW, ClipDataset, DatasetClip, longest_run
from lipsync_core.evaluation.syncnet import clip_sync
from lipsync_core.media.video import FPS
from lipsync_core.models import SyncNet
from lipsync_core.training.data_check import correlation
from lipsync_core.training.data_check.result import AV_SYNC, DATA_CHECK_STREAM, OUT_OF_SYNC
from lipsync_core.training.data_facts import certain_offsets, read_columns
from lipsync_core.training.diagnosis import Diagnosis

# Limits of the sample: frames of a clip, frames in all (more clips if they are short), CPU seconds
# of this thread. 40 GRID clips of 3 s were too few to tell swapped audio from chance.
MAX_CLIP_FRAMES, MAX_FRAMES, MAX_SECONDS = 250, 10_000, 8.0
MAX_MEASURED_CLIPS = 20
MIN_MOTION = 0.6  # gray levels between frames; encoding noise stays below, speech is above 2
MIN_LEVEL_STD = 0.05  # of the audio level, 0.6 dB: speech has 0.5 or more
MAX_OFFSET = 2  # frames
MIN_HISTOGRAM_CLIPS = 8  # measured clips needed for a histogram


def sample_features(dataset: ClipDataset, seed: int = 0) -> list[tuple[str, correlation.Features]]:
    """Features of the middle of clips, one speaker after the other, within the limits above."""
    began, runs, total = time.thread_time(), [], 0
    for clip in _alternating(dataset.clips, seed):
        first, count = _middle(clip)
        if count < 2 * WINDOW:
            continue
        windows = dataset.read_windows(clip, range(first, first + count, WINDOW))
        faces = windows.reshape(-1, *windows.shape[2:])
        runs.append((clip.id, correlation.features(faces, dataset.mel(clip), first)))
        total += count
        if total >= MAX_FRAMES or time.thread_time() - began > MAX_SECONDS:
            break
    return runs


def _alternating(clips: Sequence[DatasetClip], seed: int) -> list[DatasetClip]:
    """The clips in random order, such that each speaker comes once before any comes twice."""
    rng = np.random.default_rng((DATA_CHECK_STREAM, seed))
    queues: dict[str, list[DatasetClip]] = {}
    for index in rng.permutation(len(clips)):
        queues.setdefault(clips[index].speaker, []).append(clips[index])
    return [clip for rank in zip_longest(*queues.values()) for clip in rank if clip is not None]


def _middle(clip: DatasetClip) -> tuple[int, int]:
    """First frame and length (a multiple of 5) of the middle of a clip's longest unbroken run.

    Not its start: clips often start with the same pause, which matches any face.
    """
    run = longest_run(clip.starts)
    frames = len(run) + WINDOW - 1
    count = min(MAX_CLIP_FRAMES, frames) // WINDOW * WINDOW
    return int(run[0]) + (frames - count) // 2, count


def recorded_offsets(results: str | Path, dataset: ClipDataset) -> dict[int, int]:
    """Number of clips by offset in frames, as measured during the preparation; {} if not.

    Only of clips whose offset is certain.
    """
    path = Path(results) / "filelists" / "clips.csv"
    if not path.is_file():
        return {}
    rows = read_columns(path, {clip.id for clip in dataset.clips})
    return _histogram(certain_offsets(rows.values()))


def measure_offsets(model: SyncNet, dataset: ClipDataset, seed: int = 0) -> dict[int, int]:
    """Number of clips by offset in frames, measured by a trained network; {} if they disagree.

    An untrained network, or one trained on other crops, finds random offsets.
    """
    began, offsets, mode = time.thread_time(), [], model.training
    model.eval()
    for clip in _alternating(dataset.clips, seed)[:MAX_MEASURED_CLIPS]:
        offsets.append(clip_sync(model, dataset, clip, windows=25).offset)
        if time.thread_time() - began > MAX_SECONDS:
            break
    model.train(mode)
    agree = np.mean(np.abs(np.array(offsets) - np.median(offsets)) <= 1)
    return _histogram(offsets) if agree >= 0.5 else {}


def _histogram(offsets: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(offsets).items()))


def check_sync(
    runs: Sequence[tuple[str, correlation.Features]], measured: dict[int, int]
) -> tuple[Diagnosis, dict[str, Any]]:
    """Rate whether mouths move with the audio, and whether the offsets are centered at 0."""
    still = [clip for clip, run in runs if run.motion < MIN_MOTION]
    silent = [clip for clip, run in runs if run.level < MIN_LEVEL_STD]
    offsets: dict[str, Any] = {"clips": {str(key): value for key, value in measured.items()}}
    for clips, word, note in (
        (still, "faces do not move", "still images in a video teach nothing: remove these videos"),
        (silent, "silent audio", "no audio or steady noise: see `check.max_silence`"),
    ):
        if len(clips) > len(runs) / 2:
            figures = f"{len(clips)} of {len(runs)} clips, such as {clips[0]}"
            return Diagnosis(AV_SYNC, "bad", word, figures, note), offsets
    features = [run for clip, run in runs if clip not in {*still, *silent}]
    frames = sum(len(run.mouth) for run in features)
    if frames < 4 * correlation.MAX_SHIFT:
        return Diagnosis(AV_SYNC, "none", "not enough to tell", f"{frames} frames"), offsets
    found = correlation.av_correlation(features)
    offsets |= {
        "correlations": list(found.correlations),
        "offset": found.offset,
        "found": found.certain,
    }
    if sum(measured.values()) >= MIN_HISTOGRAM_CLIPS:
        return check_histogram(measured), offsets
    return _check_correlation(found, frames), offsets


def check_histogram(measured: dict[int, int]) -> Diagnosis:
    """Rate the number of clips by offset (frames), as measured by a network."""
    every = np.repeat(list(measured), list(measured.values()))
    middle = int(np.median(every))
    near = float(np.mean(np.abs(every - middle) <= 1))
    figures = f"offset {middle} frames, {near:.0%} of {len(every)} clips within one frame of it"
    if abs(middle) > MAX_OFFSET:
        return Diagnosis(AV_SYNC, "bad", OUT_OF_SYNC, figures, shift_remedy(middle))
    if near < 0.5:
        note = "the offsets of the clips differ: set `sync.correct: correct`"
        return Diagnosis(AV_SYNC, "fair", "offsets differ", figures, note)
    return Diagnosis(AV_SYNC, "good", "in sync", figures)


def _check_correlation(found: correlation.Correlation, frames: int) -> Diagnosis:
    figures = (
        f"correlation {found.peak:.2f} at offset {found.offset} frames, by chance up to "
        f"{found.threshold:.2f}, in {frames / FPS:.0f} s"
    )
    if found.certain and abs(found.offset) > MAX_OFFSET:
        return Diagnosis(AV_SYNC, "bad", OUT_OF_SYNC, figures, shift_remedy(found.offset))
    if found.certain:
        return Diagnosis(AV_SYNC, "good", "in sync", figures)
    if found.found:
        note = "other offsets fit nearly as well: measure each clip, `sync.correct: measure`"
        return Diagnosis(AV_SYNC, "fair", "offset uncertain", figures, note)
    if found.enough:
        note = (
            "play a few clips: does each have its own audio, less than half a second off, and is "
            "the mouth visible? Otherwise the SyncNet can only memorize its clips"
        )
        return Diagnosis(AV_SYNC, "bad", "no correlation", figures, note)
    return Diagnosis(AV_SYNC, "none", "not enough to tell", figures)


def shift_remedy(offset: int) -> str:
    """How to correct a constant audio-visual offset of `offset` frames."""
    seconds = offset / FPS
    return (
        f"the video is {abs(seconds):.2f} s too {'late' if offset > 0 else 'early'}: shift the "
        f"audio of your videos with `ffmpeg -i in.mp4 -itsoffset {seconds:.2f} -i in.mp4 -map 0:v "
        "-map 1:a -c copy out.mp4`"
    )
