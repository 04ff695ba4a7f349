"""Same-audio and crossed-audio protocols: figures of each system on each clip, measured once.

Systems (rows of the result):
    ground_truth            the frames of the clip
    ground_truth_h264       the same, encoded as a dubbing writes them, and decoded
    copied_reference        the reference frames that a generator sees, unchanged
    <generator>             generated from the clip's masked frames, the reference and the audio
    <generator>_shuffled_audio   generated from other audio than it is scored with
    <generator>_silent_audio     generated from silence (same-audio only)

Same audio: face and audio of one clip, compared with its own frames. Crossed audio: the face of one
clip, the audio of another (`stretches.pairs`); the ground truth is the clip that the audio is of.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lipsync_core.audio import MAX_ABS
from lipsync_core.data.dataset import WINDOW, ClipDataset
from lipsync_core.data.tensors import generator_input, to_device
from lipsync_core.errors import ClipError
from lipsync_core.evaluation import appearance, articulation, mouth
from lipsync_core.evaluation.judges import Judge
from lipsync_core.evaluation.stretches import Stretch, choose_clips, pairs, read_stretch
from lipsync_core.faces.mouth_region import opening
from lipsync_core.media.video import VideoWriter, read_frames
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)
BATCH_SIZE = 16  # frames
GROUND_TRUTH, H264, REFERENCE = "ground_truth", "ground_truth_h264", "copied_reference"
SHUFFLED, SILENT = "_shuffled_audio", "_silent_audio"
SAME, CROSSED = "same_audio", "crossed_audio"
Row = dict[str, Any]
AudioEmbeddings = dict[str, tuple[np.ndarray, torch.Tensor]]  # by judge


def run_protocols(
    dataset: ClipDataset,
    results: Path,
    generators: Mapping[str, Wav2Lip],
    judges: Sequence[Judge],
    seed: int = 0,
    max_clips: int = 500,
    max_frames: int = 100,
) -> list[Row]:
    """Rows of figures, one for each protocol, system and clip; see `measure` for the columns.

    A clip that cannot be scored has the column `reason`. Deterministic; holds two clips at a time.
    """
    clips = choose_clips(dataset, max_clips, seed)
    rows: list[Row] = []
    with Progress(len(clips), "evaluate", "clip") as progress:
        for clip, other in zip(clips, pairs(clips, seed), strict=True):
            face = read_stretch(dataset, clip, max_frames, results)
            voice = read_stretch(dataset, clips[other], max_frames, results)
            rows += _evaluate_pair(face, voice, generators, judges)
            progress.advance()
    truths = {row["clip"]: row for row in rows if row["system"] in (GROUND_TRUTH,)}
    encoded = {row["clip"]: row for row in rows if row["system"] == H264}
    for clip, other in zip(clips, pairs(clips, seed), strict=True):
        for found in (truths, encoded):  # of the clip that the audio is of
            own = {"protocol": CROSSED, "clip": clip.id, "audio": clips[other].id}
            rows.append(found[clips[other].id] | own | {"speaker": clip.speaker})
    return rows


def _evaluate_pair(
    face: Stretch, voice: Stretch, generators: Mapping[str, Wav2Lip], judges: Sequence[Judge]
) -> list[Row]:
    """The rows of one face with its own audio and with that of `voice`."""
    own, other = Target(face, face, judges), Target(face, voice, judges)
    gt, reference = face.frames, Shown(face.reference, judges)
    rows = [
        own.row(GROUND_TRUTH, Shown(gt, judges)),
        own.row(H264, Shown(encode_h264(gt), judges)),
        own.row(REFERENCE, reference),
        other.row(REFERENCE, reference),
    ]
    for name, model in generators.items():
        same = Shown(generate(model, face, face.mels(len(face))), judges)
        count = min(len(face), len(voice))
        crossed = Shown(generate(model, face, voice.mels(count)), judges)
        silence = np.full((len(face), 1, 80, 16), -MAX_ABS, np.float32)
        silent = generate(model, face, silence)
        rows += [
            own.row(name, same),
            own.row(name + SHUFFLED, crossed),
            other.row(name, crossed),
            other.row(name + SHUFFLED, same),
            own.identity(name + SILENT) | still_figures(silent),
        ]
    return rows


@torch.inference_mode()
def generate(model: Wav2Lip, face: Stretch, mels: np.ndarray) -> np.ndarray:
    """Generated frames for mels (n, 1, 80, 16): uint8 (n, S, S, 3) BGR, the lower halves new.

    The upper halves are those of the ground truth, as dubbing keeps them.
    """
    device = next(model.parameters()).device
    frames = face.frames[: len(mels)].copy()
    half = frames.shape[1] // 2
    for start in range(0, len(mels), BATCH_SIZE):
        part = slice(start, min(start + BATCH_SIZE, len(mels)))
        target, reference = (
            to_device(array[part], device).permute(0, 3, 1, 2).float() / 255
            for array in (frames, face.reference)
        )
        inputs = generator_input(target[:, :, None], reference[:, :, None])[:, :, 0]
        made = model(to_device(mels[part], device), inputs).float().permute(0, 2, 3, 1).cpu()
        frames[part, half:] = (made[:, half:].numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return frames


def encode_h264(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (T, S, S, 3) after encoding as a dubbing is written, and decoding.

    At the size of the crops: a dubbed face has more pixels, and loses less.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crop.mp4"
        with VideoWriter(path, frames.shape[2:0:-1], threads=1) as writer:
            for frame in frames:
                writer.write(frame)
        decoded = np.stack([frame.copy() for frame in read_frames(path, exact_color=True)])
    return decoded[: len(frames)]


class Shown:
    """Frames of a system, and what is computed of them once: embeddings and opening.

    wide: the same frames as `Judge.wide` takes them.
    """

    def __init__(
        self, frames: np.ndarray, judges: Sequence[Judge], wide: np.ndarray | None = None
    ) -> None:
        self.frames = frames
        self.opening = opening(frames)
        self.embeddings = {
            judge.name: judge.embed_faces(frames if wide is None or not judge.wide else wide)
            for judge in judges
        }


class Target:
    """Face and audio that systems are scored with, and the embeddings of the audio."""

    def __init__(self, face: Stretch, voice: Stretch, judges: Sequence[Judge]) -> None:
        self.face, self.voice, self.judges = face, voice, judges
        self.protocol = SAME if face is voice else CROSSED
        self.audio = {
            judge.name: judge.audio_around(voice.audio, voice.first, len(voice)) for judge in judges
        }

    def identity(self, system: str) -> Row:
        """The columns that name a row."""
        return {
            "protocol": self.protocol,
            "system": system,
            "clip": self.face.clip,
            "audio": self.voice.clip,
            "speaker": self.face.speaker,
            "reason": "",
        }

    def row(self, system: str, shown: Shown) -> Row:
        """The figures of a system's frames."""
        row = self.identity(system)
        count = min(len(shown.frames), len(self.voice))
        row |= score_row(shown, self.voice.first, self.audio, self.judges, count)
        frames = shown.frames[:count]
        row |= lip_figures(shown.opening[:count], self.voice.loudness, self.voice.speech)
        row |= still_figures(frames)
        if self.protocol == SAME:
            row |= quality_figures(frames, self.face.frames[:count])
        return row


def score_row(
    shown: Shown,
    first: int,
    audio: AudioEmbeddings,
    judges: Sequence[Judge],
    count: int | None = None,
) -> Row:
    """Sync figures of the first `count` frames, whose first one is at frame `first` of the audio.

    The column `reason` where a judge cannot score them.
    """
    row: Row = {}
    try:
        for judge in judges:
            faces = shown.embeddings[judge.name]
            faces = faces if count is None else faces[: max(0, count - WINDOW + 1)]
            row |= sync_figures(judge.name, judge.score(faces, first, audio[judge.name]))
    except ClipError as error:
        row["reason"] = str(error.reason)
    return row


def sync_figures(judge: str, found: Any) -> Row:
    """Columns of an `AvOffset`: distance, confidence, offset (frames), in_sync (0 or 1)."""
    return {
        f"distance_{judge}": found.distance,
        f"confidence_{judge}": found.confidence,
        f"offset_{judge}": found.offset,
        f"in_sync_{judge}": float(abs(found.offset) <= 1),
    }


def lip_figures(opening: np.ndarray, loudness: np.ndarray, speech: np.ndarray) -> Row:
    """Columns by `articulation`; loudness and speech are cut to the frames of the opening."""
    loudness, speech = loudness[: len(opening)], speech[: len(opening)]
    return {
        "silent_lip_motion": articulation.silent_lip_motion(
            opening, articulation.silent_runs(speech)
        ),
        "loudness_correlation": articulation.loudness_correlation(opening, loudness, speech),
        "loudness_difference": articulation.loudness_difference(opening, loudness, speech),
        "lip_dynamics": articulation.lip_dynamics(opening),
    }


def still_figures(frames: np.ndarray) -> Row:
    """Columns that need no ground truth: motion, jitter, sharpness of the mouth."""
    return {
        "motion": mouth.motion(frames),
        "jitter": mouth.jitter(frames),
        "sharpness": mouth.sharpness(frames),
    }


def quality_figures(frames: np.ndarray, gt: np.ndarray) -> Row:
    """Columns that compare the mouth region with the ground truth's."""
    return {
        "mouth_l1": mouth.l1(frames, gt),
        "mouth_psnr": min(mouth.psnr(frames, gt), 100.0),
        "mouth_ssim": mouth.ssim(frames, gt),
        **appearance.figures(frames, gt),
    }
