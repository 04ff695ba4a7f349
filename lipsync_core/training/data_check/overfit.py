"""Overfit test: SyncNet must memorize 32 windows; if it cannot, the data or the model is broken."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.models import SyncNet
from lipsync_core.training import losses
from lipsync_core.training.data_check.result import DATA_CHECK_STREAM, OVERFIT
from lipsync_core.training.diagnosis import Diagnosis
from lipsync_core.training.engine import precision
from lipsync_core.training.engine.optimization import adam, optimizer_step

CLIPS, WINDOWS_PER_CLIP = 4, 8
MAX_STEPS, MAX_SECONDS = 30, 8.0  # of CPU time of this thread, whatever the load; typical: 5 steps
MEMORIZED, PARTLY_MEMORIZED = 0.9, 0.5  # fraction of windows that find their own audio among eight
MAX_CPU_WIDTH = 0.25  # a step of a wider network takes seconds on a CPU
LEARNING_RATE = 1e-3


def overfit_test(
    model: SyncNet, dataset: ClipDataset, kind: str = "float32", seed: int = 0
) -> tuple[int, float, bool]:
    """Train a copy of the network on 32 windows until it has memorized them.

    Returns the steps taken, the fraction of windows that then found their own audio among the eight
    of their clip, and whether the test was not cut off by its time limit. kind: the precision.
    """
    device = next(model.parameters()).device
    net = _copy_of(model, device, seed)
    frames, mels = _few_windows(dataset, seed)
    faces, mels = stack_window(to_device(frames, device)), to_device(mels, device)
    scale = torch.nn.Parameter(torch.tensor(losses.INIT_LOGIT_SCALE, device=device).log())
    optimizer = adam([*net.parameters(), scale])
    own = torch.eye(WINDOWS_PER_CLIP, dtype=torch.bool, device=device).expand(CLIPS, -1, -1)
    began, found, step = time.thread_time(), 0.0, 0
    net.train()
    while step < MAX_STEPS and found < MEMORIZED and time.thread_time() - began < MAX_SECONDS:
        with precision.autocast(kind, device):
            audio, face = net(mels, faces)
        groups = (CLIPS, WINDOWS_PER_CLIP, -1)
        cosines = losses.cosine_matrix(audio.reshape(groups), face.reshape(groups))
        others = cosines.masked_fill(own, -1).amax(1)
        found = float((cosines.diagonal(dim1=1, dim2=2) > others).float().mean())
        optimizer.zero_grad(set_to_none=True)
        losses.info_nce(cosines, own, scale).backward()
        optimizer_step(optimizer, LEARNING_RATE, grad_clip=1.0)
        step += 1
    return step, found, step == MAX_STEPS or found >= MEMORIZED


def _copy_of(model: SyncNet, device: torch.device, seed: int) -> SyncNet:
    """A copy of the network; on a CPU a new one narrow enough to finish in seconds."""
    if device.type != "cpu" or model.width <= MAX_CPU_WIDTH:
        return copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SyncNet(MAX_CPU_WIDTH, model.image_size).to(memory_format=torch.channels_last)


def _few_windows(dataset: ClipDataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight distant windows of each of four clips: lower halves uint8 (32, 5, ...) and mels."""
    rng = np.random.default_rng((DATA_CHECK_STREAM, seed))
    frames, mels = [], []
    for index in rng.permutation(max(CLIPS, len(dataset.clips)))[:CLIPS]:
        clip = dataset.clips[index % len(dataset.clips)]
        picked = np.linspace(0, len(clip.starts) - 1, WINDOWS_PER_CLIP).round().astype(int)
        starts = clip.starts[picked]
        frames += [dataset.lower_half(clip, int(start)) for start in starts]
        mels.append(dataset.mels(clip, starts))
    return np.stack(frames), np.concatenate(mels)


def check_overfit(steps: int, memorized: float, complete: bool) -> Diagnosis:
    """Rate the result of `overfit_test`; chance is one in eight."""
    figures = f"{memorized:.0%} memorized after {steps} steps"
    if memorized >= MEMORIZED:
        return Diagnosis(OVERFIT, "good", "passed", figures)
    if not complete:  # the machine was too slow for a result
        return Diagnosis(OVERFIT, "none", "no result", f"{figures}, in {MAX_SECONDS:.0f} s")
    if memorized >= PARTLY_MEMORIZED:
        note = "slower than usual: train for more steps, or with a larger `lr`"
        return Diagnosis(OVERFIT, "fair", "slow", figures, note)
    note = (
        "the windows of a clip are too similar, or the crops show no mouth: look at the crops "
        "in results/faces and listen to results/audio"
    )
    return Diagnosis(OVERFIT, "bad", "failed", figures, note)
