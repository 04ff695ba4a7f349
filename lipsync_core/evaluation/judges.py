"""Judges of sync: networks that measure offset, distance and confidence of frames and audio.

Each gives embeddings of windows of five frames and of the audio, at 25 windows a second, so that
they are computed once and compared with any audio. `av_offset` scores them.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn import functional as F

from lipsync_core.audio import MEL_RATE, MEL_WINDOW, mel_windows
from lipsync_core.checkpoints import build_from
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.errors import ClipError, Reason
from lipsync_core.evaluation import lse
from lipsync_core.evaluation.av_offset import (
    MAX_SHIFT,
    SHIFTS,
    AvOffset,
    cosine_distance,
    summarize,
    window_distances,
)
from lipsync_core.faces.archive import resize_square
from lipsync_core.media.video import FPS
from lipsync_core.models import LseSyncNet, SyncNet
from lipsync_core.pretrained import LSE_WEIGHTS, find_weights

WINDOW = 5  # frames
BATCH_SIZE = 64
MIN_WINDOWS = 10  # of a score
# Where the public protocol has the face in its 224 pixels: 40 % of it added at the sides and below.
FACE_PIXELS, FACE_MARGIN = 160, 32


@dataclass(frozen=True)
class Audio:
    """The audio of a clip from its time zero on.

    mel: float32 (T, 80), 80 columns a second. pcm: int16 (N,), 16 kHz, None where it is unknown.
    """

    mel: np.ndarray
    pcm: np.ndarray | None = None


class Judge(abc.ABC):
    """Measures how far frames are in sync with audio.

    name: in the result. description: in words. is_loss: a training minimized it, so that it favors
    what was trained with it. wide: takes crops with a margin, where there are some. distance: of
    embeddings, as `av_offset` takes it.
    """

    name: str
    description: str
    is_loss: bool = False
    wide: bool = False
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @abc.abstractmethod
    def embed_faces(self, frames: np.ndarray) -> torch.Tensor:
        """Embeddings (T - 4, D) of the windows of frames uint8 (T, S, S, 3) BGR, on the CPU."""

    @abc.abstractmethod
    def embed_audio(self, audio: Audio, starts: np.ndarray) -> torch.Tensor:
        """Embeddings (n, D) of the audio windows at frames `starts`, all of which are complete."""

    @abc.abstractmethod
    def last_start(self, audio: Audio) -> int:
        """The last frame whose audio window is complete; -1 without any."""

    def audio_around(self, audio: Audio, first: int, count: int) -> tuple[np.ndarray, torch.Tensor]:
        """Embeddings of all windows within `MAX_SHIFT` frames of `count` windows from `first` on.

        Returns the frames at which they start, int64 (n,), and the embeddings (n, D).
        """
        last = min(first + count - 1 + MAX_SHIFT, self.last_start(audio))
        starts = np.arange(max(0, first - MAX_SHIFT), last + 1)
        if not len(starts):
            raise ClipError(Reason.TOO_SHORT, f"no audio at frame {first}")
        return starts, self.embed_audio(audio, starts)

    def score(
        self, faces: torch.Tensor, first: int, audio: tuple[np.ndarray, torch.Tensor]
    ) -> AvOffset:
        """Offset, distance and confidence of face windows; arguments as for `distances`."""
        return summarize(self.distances(faces, first, audio))

    def distances(
        self, faces: torch.Tensor, first: int, audio: tuple[np.ndarray, torch.Tensor]
    ) -> np.ndarray:
        """Distances of face windows (n, D), the first at frame `first`, to shifted audio: (n, 31).

        See `window_distances`. audio: as from `audio_around`. Raises ClipError(too_short) for fewer
        than `MIN_WINDOWS` windows with audio.
        """
        starts, embeddings = audio
        wanted = first + np.arange(len(faces))[:, None] + SHIFTS
        heard = (wanted >= starts[0]) & (wanted <= starts[-1])
        if heard[:, MAX_SHIFT].sum() < MIN_WINDOWS:
            raise ClipError(Reason.TOO_SHORT, f"{len(faces)} windows; {MIN_WINDOWS} are needed")
        rows = np.where(heard, wanted - starts[0], -1)
        return window_distances(faces, embeddings, rows, self.distance)


class SyncNetJudge(Judge):
    """A SyncNet of this project: cosine distance, 0 to 1. Not comparable with LSE-D and LSE-C."""

    distance = staticmethod(cosine_distance)

    def __init__(
        self, name: str, model: SyncNet, description: str = "", is_loss: bool = False
    ) -> None:
        self.name, self.model, self.is_loss = name, model.eval(), is_loss
        self.description = description or "SyncNet of this project"

    @torch.inference_mode()
    def embed_faces(self, frames: np.ndarray) -> torch.Tensor:
        device, side = next(self.model.parameters()).device, self.model.image_size
        if frames.shape[1] != side:
            frames = np.stack([resize_square(frame, side) for frame in frames])
        windows = np.moveaxis(sliding_window_view(frames[:, side // 2 :], WINDOW, axis=0), -1, 1)
        chunks = np.split(windows, range(BATCH_SIZE, len(windows), BATCH_SIZE))
        found = [
            self.model.encode_faces(stack_window(to_device(chunk, device))).float().cpu()
            for chunk in chunks
        ]
        return torch.cat(found)

    @torch.inference_mode()
    def embed_audio(self, audio: Audio, starts: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        mels = mel_windows(audio.mel, starts)[:, None]
        chunks = np.split(mels, range(BATCH_SIZE, len(mels), BATCH_SIZE))
        return torch.cat(
            [self.model.encode_audio(to_device(chunk, device)).float().cpu() for chunk in chunks]
        )

    def last_start(self, audio: Audio) -> int:
        # Frame f reads the columns from f * 80 // 25 on, 16 of them.
        return ((len(audio.mel) - MEL_WINDOW + 1) * FPS - 1) // MEL_RATE


class LseJudge(Judge):
    """syncnet_v2: LSE-D and LSE-C. Crops of the face alone are put where its protocol has them."""

    name = "syncnet_v2"
    wide = True
    description = "syncnet_v2 (LSE-D, LSE-C); face crops with their edge pixels as the margin"
    distance = staticmethod(F.pairwise_distance)

    def __init__(self, path: Path, device: torch.device) -> None:
        self.model = build_from(path, LseSyncNet).to(device)

    @torch.inference_mode()
    def embed_faces(self, frames: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        count, found = len(frames) - WINDOW + 1, []
        for start in range(0, count, 16):  # 16 MB a window
            chunk = frames[start : min(start + 16, count) + WINDOW - 1]
            track = torch.from_numpy(np.stack([lse_canvas(frame) for frame in chunk]))
            track = track.to(device).float().permute(3, 0, 1, 2)
            found.append(self.model.encode_faces(track[None]).cpu())
        return torch.cat(found)

    @torch.inference_mode()
    def embed_audio(self, audio: Audio, starts: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        columns = self._cepstrum(audio).unfold(1, lse.COLUMNS, lse.COLUMNS_A_FRAME)
        windows = columns[:, starts].permute(1, 0, 2)[:, None]
        return torch.cat([self.model.encode_audio(w.to(device)).cpu() for w in windows.split(64)])

    def last_start(self, audio: Audio) -> int:
        samples = 0 if audio.pcm is None else len(audio.pcm)
        # As in the public protocol, `lse.usable_windows`.
        return samples // lse.SAMPLES_A_FRAME - WINDOW - 1

    def distances(
        self, faces: torch.Tensor, first: int, audio: tuple[np.ndarray, torch.Tensor]
    ) -> np.ndarray:
        """As the public protocol: the last window is left out, missing audio is zeros."""
        starts, embeddings = audio
        faces = faces[:-1]
        wanted = first + np.arange(len(faces))[:, None] + SHIFTS
        heard = (wanted >= starts[0]) & (wanted <= starts[-1])
        own = heard[:, MAX_SHIFT]
        if own.sum() < MIN_WINDOWS:
            raise ClipError(Reason.TOO_SHORT, f"{len(faces)} windows; {MIN_WINDOWS} are needed")
        rows = np.where(heard, wanted - starts[0], len(embeddings))
        padded = F.pad(embeddings, (0, 0, 0, 1))
        return window_distances(faces[own], padded, rows[own], self.distance)

    def _cepstrum(self, audio: Audio) -> torch.Tensor:
        if audio.pcm is None:
            raise ClipError(Reason.NO_AUDIO, "its wav file is missing, which LSE is measured by")
        return torch.from_numpy(lse.mfcc(audio.pcm).astype(np.float32))


def lse_canvas(frame: np.ndarray) -> np.ndarray:
    """A face crop uint8 (H, W, 3) where LSE's protocol has it: uint8 (224, 224, 3).

    A crop of 224 pixels is taken to be one of the public protocol.
    """
    if frame.shape[:2] == (224, 224):
        return frame
    face = cv2.resize(frame, (FACE_PIXELS, FACE_PIXELS), interpolation=cv2.INTER_LINEAR)
    margins = (0, 2 * FACE_MARGIN, FACE_MARGIN, FACE_MARGIN)
    return cv2.copyMakeBorder(face, *margins, cv2.BORDER_REPLICATE)


def load_judges(
    syncnets: Mapping[str, str | Path],
    models: str | Path,
    device: torch.device,
    losses: tuple[str, ...] = ("syncnet",),
) -> list[Judge]:
    """syncnet_v2 where its weights lie in `models`, then SyncNets by name.

    losses: names of those that a training minimized.
    """
    public = find_weights(LSE_WEIGHTS, models)
    judges: list[Judge] = [] if public is None else [LseJudge(public, device)]
    for name, path in syncnets.items():
        text = "the SyncNet of the generators' sync loss" if name in losses else "never a loss"
        model = build_from(path, SyncNet).to(device)
        judges.append(SyncNetJudge(name, model, text, name in losses))
    return judges
