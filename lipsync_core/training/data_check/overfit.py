"""Can an expert learn 32 windows by heart? What cannot even do that will not learn at all."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.models import SyncNet
from lipsync_core.training import losses
from lipsync_core.training.data_check.result import OVERFIT, STREAM, Check
from lipsync_core.training.engine import precision
from lipsync_core.training.engine.optimization import adam, optimizer_step

GROUPS, GROUP = 4, 8  # 32 windows: so many of each of so many clips
MAX_STEPS, MAX_SECONDS = 30, 8.0  # of CPU time of this thread, whatever the load; typical: 5 steps
MEMORIZED, PARTLY_MEMORIZED = 0.9, 0.5  # fraction of windows that find their own audio among eight
CPU_WIDTH = 0.25  # a processor needs seconds a step for a wider one
RATE = 1e-3


def overfit_test(
    model: SyncNet, dataset: ClipDataset, kind: str = "float32", seed: int = 0, seconds: float = 0.0
) -> tuple[int, float, bool]:
    """Let a copy of the network learn 32 windows by heart.

    Returns the steps taken, the share of windows that then found their own sound among the eight of
    their clip, and whether it was given all its `MAX_STEPS` (or did not need them).
    """
    device = next(model.parameters()).device
    seconds = seconds or MAX_SECONDS
    net = _copy_of(model, device, seed)
    frames, mels = _few_windows(dataset, seed)
    faces = stack_window(to_device(frames, device))
    sounds = to_device(mels, device)
    scale = torch.nn.Parameter(torch.tensor(10.0, device=device).log())
    optimizer = adam([*net.parameters(), scale])
    own = torch.eye(GROUP, dtype=torch.bool, device=device).expand(GROUPS, GROUP, GROUP)
    began, share, step = time.thread_time(), 0.0, 0
    net.train()
    while step < MAX_STEPS and share < MEMORIZED and time.thread_time() - began < seconds:
        with precision.autocast(kind, device):
            audio, face = net(sounds, faces)
        groups = (GROUPS, GROUP, -1)
        cosines = losses.cosine_matrix(audio.reshape(groups), face.reshape(groups))
        others = cosines.masked_fill(own, -1).amax(1)
        share = float((cosines.diagonal(dim1=1, dim2=2) > others).float().mean())
        optimizer.zero_grad(set_to_none=True)
        losses.info_nce(cosines, own, scale).backward()
        optimizer_step(optimizer, RATE, grad_clip=1.0)
        step += 1
    return step, share, step == MAX_STEPS or share >= MEMORIZED


def _copy_of(model: SyncNet, device: torch.device, seed: int) -> SyncNet:
    """The network itself, or on a processor one narrow enough to be done in seconds."""
    if device.type != "cpu" or model.width <= CPU_WIDTH:
        return copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SyncNet(CPU_WIDTH, model.image_size).to(memory_format=torch.channels_last)


def _few_windows(dataset: ClipDataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight windows, far apart, of each of four clips: lower halves (32, 5, ...) and mels."""
    rng = np.random.default_rng((STREAM, seed))
    frames, mels = [], []
    for place in rng.permutation(max(GROUPS, len(dataset.clips)))[:GROUPS]:
        clip = dataset.clips[place % len(dataset.clips)]
        spread = np.linspace(0, len(clip.starts) - 1, GROUP).round().astype(int)
        starts = clip.starts[spread]
        frames += [dataset.lower_half(clip, int(start)) for start in starts]
        mels.append(dataset.mels(clip, starts))
    return np.stack(frames), np.concatenate(mels)


def check_overfit(steps: int, share: float, whole: bool) -> Check:
    """What the overfit test tells; chance is one in eight."""
    name, figures = OVERFIT, f"{share:.0%} of them after {steps} steps"
    if share >= MEMORIZED:
        return Check(name, "good", "yes", figures)
    if not whole:  # a slow machine says nothing about the data
        return Check(name, "none", "not told", f"{figures}, all that {MAX_SECONDS:.0f} s allow")
    if share >= PARTLY_MEMORIZED:
        remedy = "slower than usual: give the training more steps, or a larger `lr`"
        return Check(name, "fair", "slowly", figures, remedy)
    remedy = (
        "what is within a clip looks or sounds all the same, or the pictures show no mouth: look "
        "at the crops in results/faces and listen to results/audio"
    )
    return Check(name, "bad", "no", figures, remedy)
