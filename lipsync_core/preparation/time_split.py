"""Splits of videos by time into training, validation and test frames.

For a corpus of one speaker with few videos. The three parts follow each other in each video with
gaps of 2 s: no window (0.2 s) and no audio is in two parts, and a sentence seldom is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lipsync_core.corpus.filelists import ListedClip
from lipsync_core.corpus.layouts.items import SPLITS, source_id
from lipsync_core.data.dataset import MIN_RUN, WINDOW, ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.media.video import FPS

GAP_FRAMES = 2 * FPS  # frames between two parts, at least
MIN_HELD_OUT_WINDOWS = FPS  # windows of a held-out part, at least: a second
MIN_TRAIN_SHARE = 2 / 3  # of the windows that training should have are left to it at least
MIN_WINDOWS = MIN_RUN - WINDOW + 1  # windows in a row, without which training rejects a clip

Parts = dict[str, ListedClip]  # by split


def divide(results: Path, clips: Iterable[str], val: float, test: float) -> dict[str, Parts]:
    """The parts of each clip, with shares `val` and `test` of the windows of its video.

    A video too short for three parts has no test part, one too short for two is for training only;
    but the longest is divided if both parts can be used at all. The clips of one video share its
    audio, so all are divided at the same times; a clip in no part has {}. Reads the crops' frame
    numbers.
    """
    videos: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for clip in clips:
        videos[source_id(clip)][clip] = _starts(results, clip)
    whole = {name: np.unique(np.concatenate([*own.values()])) for name, own in videos.items()}
    cuts = {name: _cuts(starts, val, test) for name, starts in whole.items()}
    if videos and not any(cuts.values()):
        longest = max(whole, key=lambda name: (len(whole[name]), name))
        cuts[longest] = _cuts(whole[longest], val, test, kept=0, least=MIN_WINDOWS)
    divided: dict[str, Parts] = {}
    for name, people in videos.items():
        for clip, starts in people.items():
            divided[clip] = {"train": ListedClip(clip)} if not cuts[name] else {}
            for split, (first, last) in cuts[name].items():
                if usable(starts[(starts >= first) & (starts + WINDOW - 1 <= last)]):
                    divided[clip][split] = ListedClip(clip, first, last)
    return divided


def _starts(results: Path, clip: str) -> np.ndarray:
    """First frames of the clip's complete windows; none where it cannot be used."""
    try:
        return ClipDataset.load(results, [clip]).clips[0].starts
    except LipsyncError:  # training reports it, with the reason
        return np.empty(0, np.int64)


def _cuts(
    starts: np.ndarray,
    val: float,
    test: float,
    kept: float = MIN_TRAIN_SHARE,
    least: int = MIN_HELD_OUT_WINDOWS,
) -> dict[str, tuple[int, int]]:
    """Split -> its first and last frame; {} when too little is left for training."""
    for shares in ({"test": test, "val": val}, {"test": 0.0, "val": val}):
        found = _parts(starts, shares, least)
        due = kept * (1 - sum(shares.values())) * len(starts)
        if len(found) > 1 and len(found["train"]) >= due:
            return {
                split: (int(found[split][0]), int(found[split][-1]) + WINDOW - 1)
                for split in SPLITS
                if split in found
            }
    return {}


def _parts(starts: np.ndarray, shares: dict[str, float], least: int) -> dict[str, np.ndarray]:
    """Split -> first frames of its windows, from the end of the video on; {} if it is too short."""
    parts, rest = {}, starts
    for split, share in shares.items():
        if share:
            parts[split] = rest[-max(least, round(share * len(starts))) :]
            if not usable(parts[split]):
                return {}
            rest = rest[rest + WINDOW - 1 < parts[split][0] - GAP_FRAMES]
    parts["train"] = rest
    return parts if usable(rest) else {}


def usable(starts: np.ndarray) -> bool:
    """Whether these windows are from a run of frames that is long enough for training."""
    breaks = np.flatnonzero(np.diff(starts) != 1) + 1
    return max(map(len, np.split(starts, breaks))) >= MIN_WINDOWS
