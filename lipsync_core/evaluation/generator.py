"""Metrics of a generator on fixed windows: quality, sync and reference leakage."""

from __future__ import annotations

import numpy as np
import torch

from lipsync_core.audio import MAX_ABS
from lipsync_core.data.dataset import GENERATOR_STREAM, WINDOW, ClipDataset
from lipsync_core.data.generator_samples import GeneratorBatch, generator_batch
from lipsync_core.data.loudness import loudness, speech_frames
from lipsync_core.data.tensors import generator_input, syncnet_input, to_device, to_planes
from lipsync_core.evaluation import metrics
from lipsync_core.evaluation.appearance import Appearance
from lipsync_core.faces.mouth_region import opening
from lipsync_core.models import SyncNet, Wav2Lip

BATCH_SIZE = 8  # windows
SILENCE = -MAX_ABS  # value of every mel band
TRIVIAL = ("l1_gt", "l1_lower_gt", "psnr_lower_gt", "output_std_reference")  # carry no information


@torch.no_grad()
def generate(model: Wav2Lip, batch: GeneratorBatch) -> np.ndarray:
    """Generated frames of a batch of windows: float32 (B, 5, S, S, 3) BGR in [0, 1]."""
    device = next(model.parameters()).device
    target, reference, mels = (to_device(part, device) for part in batch[:3])
    faces = generator_input(to_planes(target), to_planes(reference))
    return model(mels, faces).float().permute(0, 2, 3, 4, 1).cpu().numpy()


@torch.no_grad()
def sync_cosines(syncnet: SyncNet, frames: np.ndarray, sync_mels: np.ndarray) -> np.ndarray:
    """Cosines of the face and audio embeddings of windows: float32 (B,) in [0, 1].

    frames: float32 (B, 5, S, S, 3) in [0, 1]; sync_mels: float32 (B, 1, 80, 16).
    """
    device = next(syncnet.parameters()).device
    planes = to_device(frames, device).permute(0, 4, 1, 2, 3)
    audio, face = syncnet(to_device(sync_mels, device), syncnet_input(planes))
    return (audio.float() * face.float()).sum(1).cpu().numpy()


def generator_metrics(
    model: Wav2Lip,
    syncnet: SyncNet,
    dataset: ClipDataset,
    seed: int = 0,
    windows: int = 64,
    mel_offset: int = 0,
    shuffled_audio: bool = False,
) -> dict[str, float]:
    """Quality and sync of generated windows, with reference values.

    windows: their number, rounded up to a multiple of 8; a pure function of (dataset, seed).
    shuffled_audio: also generate each window from the audio of another window.

    Returns
    -------
    l1, l1_lower: mean absolute difference to the ground truth, of whole faces and of their lower
        halves in [0, 1]; psnr_lower: peak signal-to-noise ratio of the lower halves in dB;
        sync_loss: sync loss by `syncnet`; output_std: standard deviation over the frames of all
        windows, mean over the pixels of the lower halves (0: all outputs are equal).
    sharpness_ratio, color_shift_b, color_shift_g, color_shift_r, stripes: of the mouth region
        against the ground truth, see `appearance`; 1, 0, 0, 0 and 1 are like the ground truth.
    <name>_reference: the same of the reference frames instead of generated ones; a useful generator
        is better.
    sync_loss_gt: sync loss of the ground truth; sync_loss_out_of_sync: of the ground truth with the
        audio of another window. The sync loss of a generator lies between them.
    <name>_shuffled_audio: the same of frames generated from the audio of another window, with the
        `sync_loss` against the right audio; worse if the generator uses the audio.
    """
    suffixes = ("", "_reference", "_gt", *(["_shuffled_audio"] if shuffled_audio else []))
    accumulators = {suffix: MetricAccumulator(syncnet) for suffix in suffixes}
    out_of_sync: list[np.ndarray] = []
    appearance = Appearance()
    for index in range(-(-windows // BATCH_SIZE)):
        batch = generator_batch(dataset, seed, index, BATCH_SIZE, mel_offset)
        gt = batch.target.astype(np.float32) / 255
        generated = generate(model, batch)
        accumulators[""].add(batch, generated)
        appearance.add(_frames(generated), _frames(gt))
        accumulators["_reference"].add(batch, batch.reference.astype(np.float32) / 255)
        accumulators["_gt"].add(batch, gt)
        out_of_sync.append(sync_cosines(syncnet, gt, np.roll(batch.sync_mel, 1, axis=0)))
        if shuffled_audio:
            shuffled = batch._replace(mels=np.roll(batch.mels, 1, axis=0))
            accumulators["_shuffled_audio"].add(batch, generate(model, shuffled))
    found = {
        f"{name}{suffix}": value
        for suffix, accumulator in accumulators.items()
        for name, value in accumulator.result().items()
    }
    found["sync_loss_out_of_sync"] = metrics.sync_loss(np.concatenate(out_of_sync))
    found |= appearance.result()
    return {name: value for name, value in found.items() if name not in TRIVIAL}


def _frames(windows: np.ndarray) -> np.ndarray:
    """Windows, float32 (B, 5, S, S, 3) in [0, 1], as uint8 (5 B, S, S, 3)."""
    levels = (windows * 255).round().clip(0, 255).astype(np.uint8)
    return levels.reshape(-1, *levels.shape[2:])


class MetricAccumulator:
    """Accumulates metrics of frames against the ground truth over batches."""

    def __init__(self, syncnet: SyncNet) -> None:
        self.syncnet = syncnet
        self.errors: list[tuple[float, float, float]] = []  # L1, L1 and MSE of the lower half
        self.cosines: list[np.ndarray] = []
        self.sums, self.squares, self.frames = 0.0, 0.0, 0

    def add(self, batch: GeneratorBatch, frames: np.ndarray) -> None:
        """Add frames, float32 (B, 5, S, S, 3) in [0, 1], to be compared with the batch's target."""
        error = np.abs(frames - batch.target.astype(np.float32) / 255)
        half = error.shape[2] // 2
        lower = error[:, :, half:]
        self.errors.append((error.mean(), lower.mean(), (lower**2).mean()))
        self.cosines.append(sync_cosines(self.syncnet, frames, batch.sync_mel))
        mouths = frames[:, :, half:].reshape(frames.shape[0] * frames.shape[1], -1).astype(float)
        self.sums, self.squares = self.sums + mouths.sum(0), self.squares + (mouths**2).sum(0)
        self.frames += len(mouths)

    def result(self) -> dict[str, float]:
        """Means over all that was added."""
        l1, l1_lower, mse_lower = np.mean(self.errors, axis=0)
        variance = self.squares / self.frames - (self.sums / self.frames) ** 2
        return {
            "l1": float(l1),
            "l1_lower": float(l1_lower),
            "psnr_lower": metrics.psnr(float(mse_lower)),
            "sync_loss": metrics.sync_loss(np.concatenate(self.cosines)),
            "output_std": float(np.sqrt(np.maximum(variance, 0)).mean()),
        }


def reference_leakage(
    model: Wav2Lip, dataset: ClipDataset, seed: int = 0, windows: int = 64, mel_offset: int = 0
) -> dict[str, float]:
    """Reference leakage: what the generator takes from its visual input instead of the audio.

    windows: as in `generator_metrics`. The reference frames are those of the windows and speak.

    Returns
    -------
    motion (generated from the audio), motion_silent_audio (generated from silence), motion_gt:
        mean absolute differences, in [0, 1], of the lower halves of consecutive frames. The head
        moves in all three, so even a perfect generator moves in silence; see `gt_motion`.
    lip_motion, lip_motion_silent_audio, lip_motion_gt: the same differences of the opening of the
        mouth (`mouth_region.opening`), on which the head has little influence.
    silent_motion_ratio, silent_lip_motion_ratio: each with silent audio over that with audio.
    l1_shuffled_ratio: L1 with the audio of another window over L1 with its own. 1: the audio is
        not used.
    """
    parts: dict[str, list[np.ndarray]] = {"": [], "_silent_audio": [], "_gt": []}
    errors = []
    for index in range(-(-windows // BATCH_SIZE)):
        batch = generator_batch(dataset, seed, index, BATCH_SIZE, mel_offset)
        silent = batch._replace(mels=np.full_like(batch.mels, SILENCE))
        shuffled = batch._replace(mels=np.roll(batch.mels, 1, axis=0))
        gt, own = batch.target.astype(np.float32) / 255, generate(model, batch)
        parts[""].append(_motions(own))
        parts["_silent_audio"].append(_motions(generate(model, silent)))
        parts["_gt"].append(_motions(gt))
        errors.append([np.abs(faces - gt).mean() for faces in (own, generate(model, shuffled))])
    found = {
        f"{name}{suffix}": float(value)
        for suffix, values in parts.items()
        for name, value in zip(("motion", "lip_motion"), np.mean(values, axis=0), strict=True)
    }
    for name in ("motion", "lip_motion"):
        found[f"silent_{name}_ratio"] = _ratio(found[f"{name}_silent_audio"], found[name])
    l1, l1_shuffled = np.mean(errors, axis=0)
    return found | {"l1_shuffled_ratio": _ratio(l1_shuffled, l1)}


def gt_motion(dataset: ClipDataset, seed: int = 0, windows: int = 64) -> dict[str, float]:
    """Motion of the ground truth in windows without and with speech: what silence may look like.

    windows: of each kind at most; one a clip. Silence: `loudness.speech_frames` of the window
    and of two frames on each side of it.

    Returns motion_gt_silence, motion_gt_speech and silent_motion_ratio_gt, their ratio, and the
    same of lip_motion, as in `reference_leakage`; nan where the clips have no such window.
    """
    rng = np.random.default_rng((GENERATOR_STREAM, seed))
    order = rng.permutation(len(dataset.clips))[:windows]
    motions: dict[str, list[np.ndarray]] = {"silence": [], "speech": []}
    for clip in (dataset.clips[index] for index in order):
        speech = speech_frames(loudness(dataset.mel(clip)))
        starts = clip.starts[(clip.starts >= 2) & (clip.starts + WINDOW + 2 <= len(speech))]
        counts = np.concatenate(([0], np.cumsum(speech)))
        heard = counts[starts + WINDOW + 2] - counts[starts - 2]
        for kind, wanted in (("silence", heard == 0), ("speech", heard == WINDOW + 4)):
            if wanted.any():
                frames = dataset.frames(clip, int(rng.choice(starts[wanted])))
                motions[kind].append(_motions(frames[None].astype(np.float32) / 255))
    found = {}
    for index, name in enumerate(("motion", "lip_motion")):
        silence, speech = (
            float(np.mean([m[index] for m in kind])) if kind else float("nan")
            for kind in motions.values()
        )
        found |= {f"{name}_gt_silence": silence, f"{name}_gt_speech": speech}
        found[f"silent_{name}_ratio_gt"] = _ratio(silence, speech)
    return found


def _ratio(value: float, of: float) -> float:
    return float(value / of) if of else float("nan")


def _motions(windows: np.ndarray) -> np.ndarray:
    """Motion of the lower halves and of the mouth's opening in windows (B, 5, S, S, 3): (2,)."""
    lower = windows[:, :, windows.shape[2] // 2 :]
    openings = np.stack([opening(frames * 255) for frames in windows])
    return np.array([np.abs(np.diff(part, axis=1)).mean() for part in (lower, openings)])
