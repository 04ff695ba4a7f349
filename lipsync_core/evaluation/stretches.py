"""Stretches of a split's clips to evaluate systems on: consecutive frames and their audio."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_core.audio import mel_windows
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.dataset import WINDOW, ClipDataset, DatasetClip, longest_run
from lipsync_core.data.loudness import loudness, speech_frames
from lipsync_core.evaluation.judges import Audio
from lipsync_core.media.audio import open_wav, shift_samples, to_float
from lipsync_core.media.speech import SpeechDetector
from lipsync_core.media.video import FPS

STRETCH_STREAM = 202  # random stream of the choice of clips and pairs


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of a clip in one shot, and the whole clip's audio.

    frames: uint8 (T, S, S, 3) BGR, the first one is frame `first` of the clip. reference: of the
    same clip, half of its run of frames away (cyclic): the frames that a generator sees.
    loudness: float32 (T,); speech: bool (T,), by frame.
    """

    clip: str
    speaker: str
    first: int
    frames: np.ndarray
    reference: np.ndarray
    audio: Audio
    loudness: np.ndarray
    speech: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def mels(self, count: int) -> np.ndarray:
        """The mel windows of the first `count` frames: float32 (count, 1, 80, 16)."""
        return mel_windows(self.audio.mel, self.first + np.arange(count))[:, None]


def choose_clips(dataset: ClipDataset, limit: int, seed: int) -> list[DatasetClip]:
    """At most `limit` clips, an equal share of each speaker where possible; pure function."""
    rng = np.random.default_rng((STRETCH_STREAM, seed))
    queues: dict[str, list[DatasetClip]] = defaultdict(list)
    for index in rng.permutation(len(dataset.clips)):
        queues[dataset.clips[index].speaker].append(dataset.clips[index])
    chosen: list[DatasetClip] = []
    while len(chosen) < limit and any(queues.values()):
        chosen += [queue.pop() for queue in queues.values() if queue]
    names = {clip.id for clip in chosen[:limit]}
    return [clip for clip in dataset.clips if clip.id in names]


def pairs(clips: Sequence[DatasetClip], seed: int) -> list[int]:
    """For each clip the index of the clip whose audio it is dubbed with.

    Fixed by the seed: each audio is used once, by a clip of another speaker where there are two
    speakers or more and none has more than half of the clips; by itself where there is one clip.
    """
    rng = np.random.default_rng((STRETCH_STREAM, seed, 1))
    names = sorted({clip.speaker for clip in clips})
    order = {names[index]: place for place, index in enumerate(rng.permutation(len(names)))}
    by_speaker = sorted(range(len(clips)), key=lambda i: (order[clips[i].speaker], clips[i].id))
    largest = max((sum(c.speaker == name for c in clips) for name in names), default=0)
    # In order of the speaker, a shift by the largest speaker's number of clips leaves the speaker.
    shift = largest if largest < len(clips) else 1
    found = [0] * len(clips)
    for place, index in enumerate(by_speaker):
        found[index] = by_speaker[(place + shift) % len(clips)]
    return found


def read_stretch(
    dataset: ClipDataset, clip: DatasetClip, max_frames: int, results: Path
) -> Stretch:
    """The middle `max_frames` frames, or fewer, of the clip's longest run of frames."""
    run = longest_run(clip.starts)
    blocks = (len(run) + WINDOW - 1) // WINDOW  # of five frames
    count = min(blocks, max(2, max_frames // WINDOW))
    chosen = (blocks - count) // 2 + np.arange(count)
    first = int(run[0]) + WINDOW * int(chosen[0])
    audio = Audio(dataset.mel(clip), _pcm(results, clip))
    part = slice(first, first + WINDOW * count)
    loud = np.pad(loudness(audio.mel), (0, part.stop))[part]
    return Stretch(
        clip.id,
        clip.speaker,
        first,
        _read(dataset, clip, run[WINDOW * chosen]),
        _read(dataset, clip, run[WINDOW * ((chosen + blocks // 2) % blocks)]),
        audio,
        loud,
        speech_of(audio, part.stop)[part] if audio.pcm is not None else speech_frames(loud),
    )


def speech_of(audio: Audio, count: int) -> np.ndarray:
    """Voice activity in the middle of each of `count` video frames: bool (count,)."""
    segments = _speech_detector().segments([to_float(audio.pcm)])
    middles = (np.arange(count) + 0.5) / FPS
    return np.searchsorted(segments.ravel(), middles, side="right") % 2 == 1


@functools.cache
def _speech_detector() -> SpeechDetector:
    return SpeechDetector()


def _read(dataset: ClipDataset, clip: DatasetClip, starts: np.ndarray) -> np.ndarray:
    windows = dataset.read_windows(clip, starts)
    return windows.reshape(-1, *windows.shape[2:])


def _pcm(results: Path, clip: DatasetClip) -> np.ndarray | None:
    """The clip's samples, int16 (N,), None where its wav file is missing."""
    path = results / "audio" / f"{clip.id}.wav"
    if not path.is_file():  # the speakers of one video share its audio
        path = path.with_name(f"{source_id(path.stem)}.wav")
    if not path.is_file():
        return None
    with open_wav(path) as stream:
        pcm = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    return shift_samples(pcm, clip.audio_shift)
