"""Dataset of a split: opens and checks its clips, and samples windows from them.

Reads the artifacts of the preparation: filelists, faces/*.zip, mels/*.npy. Every sample is a pure
function of (dataset, seed, index). There is no sampler state: any number of threads or processes
gives the same samples, and training resumes exactly. Samples are NumPy arrays with uint8 frames;
scaling to [0, 1], masking and stacking happen on the device (`lipsync_core.data.tensors`).
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_core.audio import (
    HOP,
    MEL_RATE,
    MEL_WINDOW,
    mel_length,
    mel_windows,
    melspectrogram,
    read_mel,
)
from lipsync_core.corpus.filelists import parse_line, read_line, speaker_of
from lipsync_core.corpus.journal import report_damage, reporting_damage
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.array_cache import ArrayCache
from lipsync_core.data.weights import CorpusSampler, position, read_weights
from lipsync_core.errors import ClipError, DamagedFile, LipsyncError, Reason
from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.audio import read_pcm, shift_samples, to_float
from lipsync_core.media.video import FPS

WINDOW = 5  # frames of one window: 200 ms at 25 fps
MIN_RUN = 16  # consecutive frames with a face
CACHE_BYTES = 1 << 30
MAX_OPEN_ARCHIVES = 256  # a large corpus has more clips than a process may open files

# Separate random streams, so that two uses of a seed are not correlated; 1 is that of SyncNet.
GENERATOR_STREAM, CORPUS_STREAM, SILENCE_STREAM = 2, 3, 4
OTHER_SAMPLES = 1 << 40  # offset of the batch index after a rollback


@dataclass(frozen=True)
class DatasetClip:
    """One usable clip: its files and the first frames of its complete windows."""

    id: str
    faces: Path
    mel: Path
    starts: np.ndarray  # int64, ascending; frames start .. start + 4 are in the archive
    cuts: tuple[int, ...] = ()  # first frames of further shots; see `within_shots`
    wav: Path | None = None  # the audio, where it is shifted by audio_shift samples to be in sync
    audio_shift: int = 0

    @property
    def speaker(self) -> str:
        """The speaker of the clip."""
        return speaker_of(self.id)


class ClipDataset:
    """The clips of one split, with a bounded cache of frames and mels. Thread-safe."""

    def __init__(
        self,
        name: str,
        clips: Sequence[DatasetClip],
        image_size: int = 96,
        cache_bytes: int = CACHE_BYTES,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        self.clips = list(clips)
        # With one corpus, or without weights, every clip is drawn equally often.
        self.sampler = CorpusSampler([clip.id for clip in self.clips], weights) if weights else None
        self.image_size = image_size
        self._archive = functools.lru_cache(MAX_OPEN_ARCHIVES)(CropArchive)
        self.cache = ArrayCache(cache_bytes)

    @classmethod
    def load(
        cls,
        results: str | Path,
        split: str | Sequence[str],
        image_size: int = 96,
        cache_bytes: int = CACHE_BYTES,
    ) -> ClipDataset:
        """Open and check every clip of a split.

        Parameters
        ----------
        results: the folder with filelists/, faces/ and mels/.
        split: "train", "val", "test" (a file of results/filelists), or lines of such a file.
        image_size: side S of the square frames in pixels.
        cache_bytes: memory for decoded frames and mels; others are read again when needed.

        Raises LipsyncError if clips are unusable (their number, reasons and five examples) or if
        the split is empty. Damaged files are reported, so that the next run recreates them.
        """
        results = Path(results)
        if isinstance(split, str):
            source = results / "filelists" / f"{split}.txt"
            name, ids = split, read_filelist(source, results / "faces")
        else:
            source, name, ids = results, "clips", list(dict.fromkeys(split))
        if not ids:
            raise LipsyncError(
                f"{source}: no clip in it; the split needs more data, or other shares in `split:`"
            )
        with ThreadPoolExecutor(8) as pool:  # reading many small files waits for the disk
            opened = list(pool.map(functools.partial(_open, results), ids))
        clips = [clip for clip in opened if isinstance(clip, DatasetClip)]
        problems = [problem for problem in opened if isinstance(problem, ClipError)]
        if problems:
            for problem in problems:
                if isinstance(problem, DamagedFile):
                    report_damage(Path(problem.path))
            raise LipsyncError(_complaint(source, problems, len(ids)))
        # Held-out clips count alike in metrics, whatever corpus they are of.
        weights = read_weights(results) if name == "train" else {}
        return cls(name, clips, image_size, cache_bytes, weights)

    @property
    def speakers(self) -> set[str]:
        """The speakers of all clips."""
        return {clip.speaker for clip in self.clips}

    def sample_clip(self, rng: np.random.Generator, seed: int, index: int) -> DatasetClip:
        """The clip of sample `index`, drawn from `rng`, a stream of (seed, index).

        Where corpora have weights, first the corpus is drawn, so that its share of the samples is
        its weight, then a clip of it.
        """
        if self.sampler is None:
            return self.clips[rng.integers(len(self.clips))]
        start = float(np.random.default_rng((CORPUS_STREAM, seed)).random())
        members = self.sampler.clips(position(start, index))
        return self.clips[members[rng.integers(len(members))]]

    def frames(self, clip: DatasetClip, start: int) -> np.ndarray:
        """Frames start .. start + 4: uint8 (5, S, S, 3) BGR."""
        return self.read_windows(clip, [start])[0]

    def read_windows(self, clip: DatasetClip, starts: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of the windows that begin at each of `starts`: uint8 (n, 5, S, S, 3) BGR."""
        chosen = [self.frame(clip, int(s) + step) for s in starts for step in range(WINDOW)]
        side = self.image_size
        return np.concatenate(chosen).reshape(len(starts), WINDOW, side, side, 3)

    def lower_half(self, clip: DatasetClip, start: int) -> np.ndarray:
        """The lower halves of frames start .. start + 4: uint8 (5, S/2, S, 3) BGR, as `frames`."""
        return self.frames(clip, start)[:, self.image_size // 2 :]

    def mels(self, clip: DatasetClip, frames: Iterable[int]) -> np.ndarray:
        """The mel windows that begin with each of `frames`: float32 (n, 1, 80, 16)."""
        return mel_windows(self.mel(clip), np.fromiter(frames, np.int64))[:, None]

    def mel(self, clip: DatasetClip) -> np.ndarray:
        """The whole mel spectrogram of a clip: float32 (T, 80)."""
        found = self.cache.get(clip.id)
        if found is None:
            with reporting_damage():
                if clip.wav is not None:
                    shifted = shift_samples(read_pcm(clip.wav), clip.audio_shift)
                    found = melspectrogram(to_float(shifted)).T
                else:
                    found = read_mel(clip.mel)
            self.cache.add(clip.id, found)
        return found

    def frame(self, clip: DatasetClip, frame: int) -> np.ndarray:
        """One frame, uint8 (S, S, 3) BGR; must not be modified."""
        found = self.cache.get((clip.id, frame))
        if found is None:
            with reporting_damage():
                found = self._archive(clip.faces).decode(frame, self.image_size)
            self.cache.add((clip.id, frame), found)
        return found


def load_splits(
    results: str | Path, splits: Sequence[str], image_size: int, cache_bytes: int
) -> list[ClipDataset]:
    """Load splits; they share `cache_bytes` in proportion to their numbers of frames."""
    datasets = [ClipDataset.load(results, split, image_size, cache_bytes) for split in splits]
    frames = [sum(len(clip.starts) + WINDOW - 1 for clip in dataset.clips) for dataset in datasets]
    for dataset, count in zip(datasets, frames, strict=True):
        dataset.cache.room = cache_bytes * count // sum(frames)
    return datasets


def read_filelist(path: str | Path, faces: str | Path) -> list[str]:
    """The lines of a file list, unique and in order: clip ids or parts of clips.

    See `corpus.filelists`. An id may contain spaces, also at its ends. The second token of LRS2
    lists is dropped if the whole line has no archive under `faces`, but the line without it has.
    Raises LipsyncError if the file is missing or not UTF-8.
    """
    path, faces = Path(path), Path(faces)
    if not path.is_file():
        raise LipsyncError(f"{path}: no such file; prepare the data first: snakemake filelists")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark
    except UnicodeDecodeError as error:
        raise LipsyncError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    lines = [line for line in text.splitlines() if line.strip()]
    known = functools.cache(lambda name: _faces_of(faces, name).is_file())
    return list(dict.fromkeys(str(read_line(line, known)) for line in lines))


def _faces_of(faces: Path, clip_id: str) -> Path:
    return faces / f"{clip_id}.zip"


def _open(results: Path, line: str) -> DatasetClip | ClipError:
    """The clip of a line of a file list, or why it cannot be used."""
    clip_id, first, last, audio_shift = parse_line(line)
    # The speakers of one video share its audio.
    faces, mel = _faces_of(results / "faces", clip_id), results / "mels" / f"{clip_id}.npy"
    if not mel.is_file():
        mel = mel.with_name(f"{source_id(mel.stem)}.npy")
    wav = results / "audio" / f"{source_id(clip_id)}.wav" if audio_shift else None
    try:
        for path in filter(None, (faces, mel, wav)):
            if not path.is_file():
                return DamagedFile(path, "no such file")
        archive = CropArchive(faces)
        try:
            frames = np.unique(np.asarray(archive.frames, dtype=np.int64))
            cuts = archive.cuts
        finally:
            archive.close()
        columns = mel_length(mel) + (audio_shift // HOP)
    except ClipError as error:
        return error
    if first is not None:
        frames = frames[(frames >= first) & (frames <= last)]
    shots = np.split(frames, np.searchsorted(frames, cuts))
    run = max(len(longest_run(shot)) for shot in shots)
    if run < MIN_RUN:
        return ClipError(
            Reason.TOO_SHORT, f"{faces}: {run} consecutive frames with a face, {MIN_RUN} needed"
        )
    starts = window_starts(frames, columns)
    if len(longest_run(starts)) < MIN_RUN - WINDOW + 1:
        return ClipError(
            Reason.LENGTH_MISMATCH, f"{mel}: {columns / MEL_RATE:.2f} s of audio end too early"
        )
    return DatasetClip(clip_id, faces, mel, within_shots(starts, cuts), cuts, wav, audio_shift)


def window_starts(frames: np.ndarray, columns: int) -> np.ndarray:
    """First frames of the windows that have all 5 frames and 16 mel columns: int64, ascending.

    frames: int64 (n,), ascending, the frames present. columns: length of the mel spectrogram.
    """
    first, last = frames[: 1 - WINDOW], frames[WINDOW - 1 :]
    complete = last - first == WINDOW - 1
    heard = first * MEL_RATE // FPS + MEL_WINDOW <= columns
    return first[complete & heard]


def within_shots(starts: np.ndarray, cuts: Sequence[int], mel_offset: int = 0) -> np.ndarray:
    """The `starts`, int64 (n,), of windows that lie within one shot, with frames and audio.

    cuts: first frames of the shots after the first. The mel window of each frame starts
    `mel_offset` frames after it and lasts five frames.
    """
    if not len(cuts):
        return starts
    first, last = starts + min(0, mel_offset), starts + 2 * (WINDOW - 1) + max(0, mel_offset)
    return starts[np.searchsorted(cuts, first, "right") == np.searchsorted(cuts, last, "right")]


def longest_run(numbers: np.ndarray) -> np.ndarray:
    """The longest run of consecutive integers in `numbers`, ascending and unique; int64 (n,)."""
    return max(np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1), key=len)


def _complaint(source: Path, problems: Sequence[ClipError], total: int) -> str:
    reasons = collections.Counter(str(problem.reason) for problem in problems)
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    examples = "; ".join(problem.detail for problem in problems[:5])
    return (
        f"{source}: {len(problems)} of {total} clips cannot be used ({counts}): {examples}"
        "; prepare the data again (snakemake filelists), or remove them from the list"
    )
