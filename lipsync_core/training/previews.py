"""Moving previews of a generator: at each evaluation a short video of fixed faces and fixed audio.

A column a face of a validation clip, rows as in `ROWS`. The bottom row speaks the audio of another
clip, the one that is heard: a generator that listens moves all its mouths alike, one that does not
repeats the row above. The reference is the frame itself and the audio that of the frame, as in
dubbing. The files lie in the folder of the run, so that an interrupted training keeps them; a
resumed one writes those again whose evaluation it repeats, with the same bytes on a CPU.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.corpus.filelists import SAMPLES_A_FRAME
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.dataset import WINDOW, ClipDataset, DatasetClip
from lipsync_core.data.generator_samples import GeneratorBatch
from lipsync_core.dubbing.provenance import STATEMENT
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.generator import BATCH_SIZE, generate
from lipsync_core.media.audio import read_pcm, shift_samples, write_wav
from lipsync_core.media.timestamps import FPS
from lipsync_core.media.video import VideoWriter
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.files import remove_stale_temporaries
from lipsync_core.training.engine.run_folder import Row, hard_link

log = logging.getLogger(__name__)
FOLDER = "previews"  # in the folder of a run
FACES = 3
LENGTHS = (35, 25, 15, 10, 5)  # frames; the longest of which the clips have `MIN_EXCERPTS`
MIN_EXCERPTS = 3  # two faces, and the audio that is heard
ROWS = ("ground truth", "generated from its own audio", "generated from another clip's audio")
HEARD = " (heard)"
FIGURES = (  # lines below the step
    "L1 {val_l1:.3g}, sync loss {val_sync_loss:.3g} (truth {val_sync_loss_gt:.3g})",
    "lip motion in silence {val_silent_lip_motion_ratio:.0%}, sharpness {val_sharpness_ratio:.0%}",
)
STRIP_MOMENTS = (1, 2, 3)  # quarters of the video that TensorBoard shows
LINE, MARGIN, FONT_SCALE = 16, 4, 0.36  # pixels and scale of the text at 96 px


@dataclass(frozen=True)
class Excerpt:
    """Consecutive frames of a clip, all with a face and audio, within one shot."""

    clip: DatasetClip
    start: int
    length: int


class Previews:
    """Writes the previews of a training, each from the same excerpts of validation clips.

    results: folder of the prepared data; without results/audio the videos are silent.
    """

    def __init__(self, results: str | Path, dataset: ClipDataset) -> None:
        self._results, self._dataset = Path(results), dataset
        *self._shown, self._heard = excerpts(dataset.clips)
        self._pcm = self._read_pcm()

    def write(self, model: Wav2Lip, row: Row, run_dir: Path) -> np.ndarray | None:
        """Write run_dir/previews/step_<step>.mp4 of the network in evaluation mode.

        row: of metrics.csv, with `step` and the figures that the frames show. Returns three frames
        side by side, uint8 (H, W, 3) BGR. A file that cannot be written costs no training: then
        the log has a warning, and the result is None.
        """
        path = preview_path(run_dir / FOLDER, int(row["step"]))
        remove_stale_temporaries([path.parent])
        try:
            frames = list(self._frames(model, row))
            self._encode(path, frames)
        except LipsyncError as error:
            log.warning("no preview of step %d: %s", row["step"], error)
            return None
        return np.hstack([frames[len(frames) * quarter // 4] for quarter in STRIP_MOMENTS])

    def _frames(self, model: Wav2Lip, row: Row) -> Iterator[np.ndarray]:
        """The frames of the video: uint8 (H, W, 3) BGR."""
        truth = [self._windows(excerpt) for excerpt in self._shown]
        heard = self._mels(self._heard)
        own = [
            _generate(model, windows, self._mels(excerpt))
            for windows, excerpt in zip(truth, self._shown, strict=True)
        ]
        other = [_generate(model, windows, heard) for windows in truth]
        size = self._dataset.image_size
        background = _background(size, row, self._pcm is not None)
        for time in range(self._heard.length):
            frame = background.copy()
            for number, faces in enumerate((truth, own, other)):
                top = _row_top(size, number)
                for column, clip in enumerate(faces):
                    face = clip.reshape(-1, size, size, 3)[time]
                    frame[top : top + size, column * size : (column + 1) * size] = face
            yield frame

    def _encode(self, path: Path, frames: Sequence[np.ndarray]) -> None:
        height, width = frames[0].shape[:2]
        with tempfile.TemporaryDirectory() as folder:
            wav = None
            if self._pcm is not None:
                wav = Path(folder) / "audio.wav"
                write_wav(wav, [self._pcm])
            # One thread: the bytes do not depend on the machine's number of cores.
            tags, seconds = {"comment": STATEMENT}, len(frames) / FPS
            with VideoWriter(path, (width, height), FPS, wav, tags, seconds, threads=1) as writer:
                for frame in frames:
                    writer.write(frame)

    def _windows(self, excerpt: Excerpt) -> np.ndarray:
        """The frames of an excerpt as windows: uint8 (n, 5, S, S, 3) BGR."""
        starts = range(excerpt.start, excerpt.start + excerpt.length, WINDOW)
        return self._dataset.read_windows(excerpt.clip, starts)

    def _mels(self, excerpt: Excerpt) -> np.ndarray:
        """The mel windows of the frames of an excerpt: float32 (n, 5, 1, 80, 16)."""
        frames = range(excerpt.start, excerpt.start + excerpt.length)
        found = self._dataset.mels(excerpt.clip, frames)
        return found.reshape(-1, WINDOW, *found.shape[1:])

    def _read_pcm(self) -> np.ndarray | None:
        """The audio that is heard, int16 (n,) at 16 kHz; None where there is no file of it."""
        clip, start = self._heard.clip, self._heard.start * SAMPLES_A_FRAME
        wav = self._results / "audio" / f"{source_id(clip.id)}.wav"
        if not wav.is_file():
            return None
        length = self._heard.length * SAMPLES_A_FRAME
        pcm = shift_samples(read_pcm(wav), clip.audio_shift)[start : start + length]
        return np.pad(pcm, (0, length - len(pcm)))


def excerpts(clips: Sequence[DatasetClip]) -> list[Excerpt]:
    """Up to four excerpts of equal length, of as many speakers and clips as there are.

    The last one is that whose audio is heard. Their length is the longest of `LENGTHS` of which
    there are three.
    """
    for length in LENGTHS:
        speakers: dict[str, list[list[Excerpt]]] = {}
        for clip in clips:
            speakers.setdefault(clip.speaker, []).append(_excerpts_of(clip, length))
        found = _in_turn([_in_turn(of_clips) for of_clips in speakers.values()])
        if len(found) >= MIN_EXCERPTS:
            break
    return found[: FACES + 1]


def _excerpts_of(clip: DatasetClip, length: int) -> list[Excerpt]:
    """Disjoint excerpts of the longest run of a clip, those in its middle first."""
    runs = np.split(clip.starts, np.flatnonzero(np.diff(clip.starts) != 1) + 1)
    run = max(runs, key=len)
    frames = len(run) + WINDOW - 1
    count = min(FACES + 1, frames // length)
    first = int(run[0]) + (frames - count * length) // 2
    order = sorted(range(count), key=lambda index: abs(index - (count - 1) / 2))
    return [Excerpt(clip, first + index * length, length) for index in order]


def _in_turn(queues: Sequence[Sequence[Excerpt]]) -> list[Excerpt]:
    return [each for rank in zip_longest(*queues) for each in rank if each is not None]


def _generate(model: Wav2Lip, windows: np.ndarray, mels: np.ndarray) -> np.ndarray:
    """Generated frames, uint8 (n, 5, S, S, 3) BGR, of windows and mels of the same n."""
    parts = []
    for first in range(0, len(windows), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        target, audio = windows[part], mels[part]
        batch = GeneratorBatch(target, target, audio, audio[:, 0], np.ones(len(target), np.float32))
        parts.append((generate(model, batch) * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def preview_path(folder: Path, step: int) -> Path:
    """The preview of the evaluation after `step` steps."""
    return folder / f"step_{step:07d}.mp4"


def publish(run_dir: Path, target: str | Path, steps: Collection[int]) -> None:
    """Make `target` the folder of a finished run's previews, of the evaluations at `steps`.

    Previews in it of other steps are removed. It is empty for a run without previews.
    """
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    wanted = {preview_path(target, step) for step in steps}
    for path in set(target.glob("step_*.mp4")) - wanted:
        path.unlink()
    for path in sorted(wanted):
        source = run_dir / FOLDER / path.name
        if source.is_file():
            hard_link(source, path)


def _row_top(size: int, number: int) -> int:
    """The first line of pixels of the faces in row `number`."""
    return (len(FIGURES) + number + 2) * _scaled(LINE, size) + number * size


def _scaled(length: float, size: int) -> int:
    return round(length * size / 96)


def _background(size: int, row: Row, audible: bool) -> np.ndarray:
    """A frame without faces: the step and the figures above, and the names of the rows."""
    height = _row_top(size, len(ROWS) - 1) + size
    frame = np.full((height, FACES * size, 3), 24, np.uint8)
    _put_text(frame, f"step {int(row['step'])}", 0, size)
    for number, figures in enumerate(FIGURES, 1):
        _put_text(frame, figures.format(**row), number * _scaled(LINE, size), size)
    for number, name in enumerate(ROWS):
        heard = HEARD if audible and name == ROWS[-1] else ""
        _put_text(frame, name + heard, _row_top(size, number) - _scaled(LINE, size), size)
    return frame


def _put_text(frame: np.ndarray, text: str, top: int, size: int) -> None:
    place = _scaled(MARGIN, size), top + _scaled(LINE - 5, size)
    scale, thickness = FONT_SCALE * size / 96, max(1, size // 144)
    font, color = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235)
    cv2.putText(frame, text, place, font, scale, color, thickness, cv2.LINE_AA)
