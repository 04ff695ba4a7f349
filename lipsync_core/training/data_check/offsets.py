"""Do mouths and sound of a corpus belong together, without a constant offset?

By the offsets of its clips, where a trained network has measured them, otherwise by `correlation`,
which needs no network. Offsets are in frames; above 0 the picture comes late.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.data.dataset import WINDOW, Clip, ClipDataset
from lipsync_core.evaluation.syncnet import clip_offset
from lipsync_core.media.video import FPS
from lipsync_core.models import SyncNet
from lipsync_core.runtime.tables import read_table
from lipsync_core.training.data_check import correlation
from lipsync_core.training.data_check.result import OUT_OF_SYNC, STREAM, Check

# Looked at, at most: frames of a clip, frames in all (short clips: the more of them), seconds of
# this thread's work. 40 GRID clips of 3 s were too few to tell swapped audio from chance.
MAX_CLIP_FRAMES, MAX_FRAMES, MAX_SECONDS = 250, 10_000, 8.0
MAX_MEASURED_CLIPS = 20  # clips whose offset a trained network measures
MIN_MOTION = (
    0.6  # grey levels from frame to frame; noise of the encoding stays below, speech is above 2
)
MIN_LEVEL_STD = 0.05  # spread of the sound's level, 0.6 dB: speech has 0.5 or more
MAX_OFFSET = 2  # frames
MIN_HISTOGRAM_CLIPS = 8  # clips, below which their measured offsets are no histogram


def sample_features(dataset: ClipDataset, seed: int = 0) -> list[tuple[str, correlation.Features]]:
    """The middle of clips, speakers in turn, up to 10 s of each, 400 s in all, for some seconds."""
    began, runs, total = time.thread_time(), [], 0
    for clip in _in_turn(dataset.clips, seed):
        first, count = _middle(clip)
        if count < 2 * WINDOW:
            continue
        faces = np.concatenate(
            [dataset.frames(clip, start) for start in range(first, first + count, WINDOW)]
        )
        runs.append((clip.id, correlation.features(faces, dataset.mel(clip), first)))
        total += count
        if total >= MAX_FRAMES or time.thread_time() - began > MAX_SECONDS:
            break
    return runs


def _in_turn(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """The clips, drawn, so that each speaker comes once before anybody comes twice."""
    rng = np.random.default_rng((STREAM, seed))
    queues: dict[str, list[Clip]] = {}
    for place in rng.permutation(len(clips)):
        queues.setdefault(clips[place].id.partition("/")[0], []).append(clips[place])
    ranked = [(rank, clip) for queue in queues.values() for rank, clip in enumerate(queue)]
    return [clip for _, clip in sorted(ranked, key=lambda pair: pair[0])]


def _middle(clip: Clip) -> tuple[int, int]:
    """First frame and length (a multiple of 5) of the middle of a clip's longest run in one shot.

    Not its begin: clips often begin with the same pause, which fits any face.
    """
    breaks = np.flatnonzero(np.diff(clip.starts) != 1) + 1
    run = max(np.split(clip.starts, breaks), key=len)
    frames = len(run) + WINDOW - 1
    count = min(MAX_CLIP_FRAMES, frames) // WINDOW * WINDOW
    return int(run[0]) + (frames - count) // 2, count


def recorded_offsets(results: str | Path, dataset: ClipDataset) -> dict[int, int]:
    """Clips by offset in frames, as measured by a network while cropping; {} where none was."""
    path = Path(results) / "filelists" / "clips.csv"
    if not path.is_file():
        return {}
    ids = {clip.id for clip in dataset.clips}
    rows = [row for row in read_table(path) if row["clip"] in ids]
    offsets = [round(float(row["sync_offset"])) for row in rows if row.get("sync_offset")]
    return {offset: offsets.count(offset) for offset in sorted(set(offsets))}


def measure_offsets(model: SyncNet, dataset: ClipDataset, seed: int = 0) -> dict[int, int]:
    """Clips by offset in frames in the eyes of a trained network; {} when it is of no use.

    An untrained one, or one that another kind of crop was trained on, finds any offset.
    """
    began, offsets, mode = time.thread_time(), [], model.training
    model.eval()
    for clip in _in_turn(dataset.clips, seed)[:MAX_MEASURED_CLIPS]:
        offsets.append(clip_offset(model, dataset, clip, windows=16))
        if time.thread_time() - began > MAX_SECONDS:
            break
    model.train(mode)
    agree = np.mean(np.abs(np.array(offsets) - np.median(offsets)) <= 1)
    if agree < 0.5:
        return {}
    return {offset: offsets.count(offset) for offset in sorted(set(offsets))}


def check_sync(
    runs: Sequence[tuple[str, correlation.Features]], measured: dict[int, int]
) -> tuple[Check, dict[str, Any]]:
    """Do mouths move with the sound, and is the offset's histogram centred?"""
    name = "mouth and sound belong together"
    still = [clip for clip, run in runs if run.motion < MIN_MOTION]
    silent = [clip for clip, run in runs if run.level < MIN_LEVEL_STD]
    offsets: dict[str, Any] = {"clips": {str(key): value for key, value in measured.items()}}
    for few, word, remedy in (
        (still, "faces do not move", "videos of still pictures teach nothing: leave them out"),
        (silent, "no sound", "the sound tracks are empty or steady noise: see `check.max_silence`"),
    ):
        if len(few) > len(runs) / 2:
            figures = f"{len(few)} of {len(runs)} clips, such as {few[0]}"
            return Check(name, "bad", word, figures, remedy), offsets
    runs = [pair for pair in runs if pair[0] not in {*still, *silent}]
    frames = sum(len(run.mouth) for _, run in runs)
    if frames < 4 * correlation.MAX_SHIFT:
        return Check(name, "none", "not enough to tell", f"{frames} frames"), offsets
    found = correlation.av_correlation([run for _, run in runs])
    offsets |= {
        "correlations": list(found.correlations),
        "offset": found.offset,
        "found": found.certain,
    }
    if sum(measured.values()) >= MIN_HISTOGRAM_CLIPS:
        return check_histogram(name, measured), offsets
    return _check_correlation(name, found, frames), offsets


def check_histogram(name: str, measured: dict[int, int]) -> Check:
    """Is the histogram of clips by offset (frames), measured by a network, centred?"""
    every = np.repeat(list(measured), list(measured.values()))
    middle = int(np.median(every))
    near = float(np.mean(np.abs(every - middle) <= 1))
    figures = f"offset {middle} frames, {near:.0%} of {len(every)} clips within one frame of it"
    if abs(middle) > MAX_OFFSET:
        return Check(name, "bad", OUT_OF_SYNC, figures, shift_remedy(middle))
    if near < 0.5:
        remedy = (
            "the clips' offsets differ: set `check.max_sync_offset` and `check.min_sync_confidence`"
        )
        return Check(name, "fair", "offsets differ", figures, remedy)
    return Check(name, "good", "in sync", figures)


def _check_correlation(name: str, found: correlation.Correlation, frames: int) -> Check:
    seconds, (mean, deviation) = frames / FPS, found.chance
    figures = (
        f"correlation {found.peak:.2f} at offset {found.offset} frames, by chance up to "
        f"{mean + correlation.DETECTION_SIGMAS * deviation:.2f}, in {seconds:.0f} s"
    )
    if found.certain and abs(found.offset) > MAX_OFFSET:
        return Check(name, "bad", OUT_OF_SYNC, figures, shift_remedy(found.offset))
    if found.certain:
        return Check(name, "good", "in sync", figures)
    if found.found:
        remedy = "other offsets fit nearly as well: measure clip by clip with `sync_model`"
        return Check(name, "fair", "linked, offset unsure", figures, remedy)
    if found.enough:
        remedy = (
            "play a few clips: does each have its own sound, less than half a second off, and is "
            "the mouth seen? Then the expert can only learn its clips by heart"
        )
        return Check(name, "bad", "no link found", figures, remedy)
    return Check(name, "none", "not enough to tell", figures)


def shift_remedy(offset: int) -> str:
    """What to do about sound and picture that are `offset` frames apart."""
    seconds = offset / FPS
    late = "late" if offset > 0 else "early"
    return (
        f"the picture comes {abs(seconds):.2f} s too {late}: move the sound of your videos with "
        f"`ffmpeg -i in.mp4 -itsoffset {seconds:.2f} -i in.mp4 -map 0:v -map 1:a -c copy out.mp4`"
    )
