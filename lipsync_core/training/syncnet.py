"""Training of SyncNet: contrastive over the windows of a clip, then calibration by cross entropy.

The public recipe (one pair per sample, cross entropy of the cosine) often stays at 0.69 for days.
InfoNCE over the windows of the same clip has a gradient from the first step. Subtracting the mean
of the clip's embeddings (`losses.center`) makes it larger, and Muon scales up its small directions.
The binary cross entropy of the last steps then calibrates the cosines for the generator's sync
loss. Measured: benchmarks/syncnet.py.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core import checkpoints
from lipsync_core.config import SyncNetAugment, SyncNetConfig
from lipsync_core.corpus import split_summary
from lipsync_core.data.augmentation import scaled
from lipsync_core.data.dataset import (
    OTHER_SAMPLES,
    ClipDataset,
    load_splits,
)
from lipsync_core.data.syncnet_batches import SyncNetBatch, syncnet_batch
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.evaluation.syncnet import syncnet_metrics
from lipsync_core.models import SyncNet
from lipsync_core.training import diagnosis, losses
from lipsync_core.training.data_check import learnability
from lipsync_core.training.data_check.result import data_faults, has_constant_offset
from lipsync_core.training.data_facts import known_facts
from lipsync_core.training.engine import distributed, loop, precision
from lipsync_core.training.engine.muon import Muon
from lipsync_core.training.engine.optimization import (
    adam,
    detached,
    learning_rate,
    maybe_compile,
    mean_metrics,
    micro_batches,
    optimizer_step,
)

log = logging.getLogger(__name__)


class Temperature(nn.Module):
    """The learned inverse temperature of the contrastive loss; not part of SyncNet."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(losses.INIT_LOGIT_SCALE).log())


class SyncNetTask(loop.Task):
    """Training of a SyncNet on a dataset, see `loop.Task`."""

    label = "syncnet"
    export_after_failure = False  # before its end the cosines are not calibrated for a sync loss

    def __init__(
        self,
        model: SyncNet,
        train: ClipDataset,
        val: ClipDataset,
        config: SyncNetConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.train, self.val = train, val
        self.model = model.to(device, memory_format=torch.channels_last)
        self.forward = maybe_compile(self.model, config.compile)
        self.temperature = Temperature().to(device)
        weights = [*self.model.parameters(), *self.temperature.parameters()]
        self.precision = precision.resolve(config.precision, device)
        self.optimizer = (
            Muon(weights, precision=self.precision) if config.optimizer == "muon" else adam(weights)
        )
        if config.loss == "contrastive":  # the cosines are not calibrated: val_loss has no meaning
            self.monitor, self.mode = "val_auc", "max"
        else:
            self.monitor = "val_loss"
        self.parts = {
            "model": self.model,
            "temperature": self.temperature,
            "optimizer": self.optimizer,
        }
        self.extra_state = {}
        self.data_check: dict[str, Any] = {"checks": []}  # see `learnability`

    def batch(self, step: int) -> SyncNetBatch:
        """`windows_per_clip` windows of `clips_per_batch` clips; other samples after a rollback."""
        config = self.config
        index = step + OTHER_SAMPLES * int(self.extra_state.get("rollbacks", 0))
        part, clips = distributed.shard_batch(index, config.clips_per_batch)
        sizes = (clips, config.windows_per_clip, *self.curriculum(step), config.audio_negatives)
        return syncnet_batch(self.train, self.seed, part, *sizes)

    def curriculum(self, step: int) -> tuple[SyncNetAugment, int]:
        """Augmentation of a step, and the minimum distance between a clip's windows in frames."""
        config = self.config
        progress = min(1.0, step / config.curriculum_steps) if config.curriculum_steps else 1.0
        min_gap = round(1 + (config.min_window_gap - 1) * (1 - progress))
        return scaled(config.augment, progress), min_gap

    def uses_bce(self, step: int) -> bool:
        """Whether a step has the binary cross entropy instead of the contrastive loss."""
        config = self.config
        if config.loss == "contrastive+bce":
            return step >= round(config.steps * (1 - config.bce_fraction))
        return config.loss == "bce"

    def step(self, step: int, batch: SyncNetBatch) -> dict[str, torch.Tensor]:
        """One optimizer step with the loss of the phase that `step` belongs to."""
        config = self.config
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        reports = []
        for part in micro_batches(batch, config.grad_accumulation):
            loss = self.loss(step, part)
            loss.backward()
            reports.append(detached({"train_loss": loss}))
        lr = learning_rate(step, config.steps, config.lr, config.lr_schedule, config.warmup_steps)
        optimizer_step(self.optimizer, lr, config.grad_clip, len(reports))
        return mean_metrics(reports)

    def loss(self, step: int, batch: SyncNetBatch) -> torch.Tensor:
        """The loss of a batch in the phase that `step` belongs to; a scalar."""
        frames, mels, starts = (to_device(part, self.device) for part in batch)
        with precision.autocast(self.precision, self.device):
            audio, face = self.forward(mels.flatten(0, 1), stack_window(frames.flatten(0, 1)))
        groups = (len(frames), -1, audio.shape[1])
        audio, face = audio.reshape(groups), face.reshape(groups)
        in_sync = losses.same_window(starts, face.shape[1])
        if self.uses_bce(step):
            return losses.balanced_bce(losses.cosine_matrix(audio, face), in_sync)
        if step < self.config.center_steps:
            audio, face = losses.center(audio), losses.center(face)
        cosines = losses.cosine_matrix(audio, face)
        return losses.info_nce(cosines, in_sync, self.temperature.log_scale)

    def evaluate(self, step: int) -> loop.Row:
        """The phase, and `syncnet_metrics` of the validation clips prefixed by val_."""
        self.model.eval()
        metrics = syncnet_metrics(self.model, self.val, per_clip=self.config.val_windows)
        phase = "bce" if self.uses_bce(step - 1) else "contrastive"
        return {"phase": phase} | {f"val_{name}": value for name, value in metrics.items()}

    def failure(self, rows: list[loop.Row]) -> str:
        """A message if the validation loss is not finite, which `val_auc` does not show."""
        value = float(rows[-1]["val_loss"])
        return "" if math.isfinite(value) else f"val_loss is {value}"

    def counts_for_patience(self, step: int) -> bool:
        """Only in the last phase: `val_loss` has no meaning in the contrastive phase."""
        return self.mode == "max" or self.uses_bce(step - 1)

    def advice(self, rows: list[loop.Row]) -> str:
        """A warning with a remedy where the training does not learn as it should, or ""."""
        run = run_info(self.config, self.train, self.val, self.data_check)
        return diagnosis.diagnose(rows, run).advice

    def export(self, path: Path, step: int) -> None:
        """Public format, with Adam's state as public files have it, or none of Muon's."""
        optimizer = self.optimizer if self.config.optimizer == "adam" else None
        checkpoints.save_public(path, self.model, optimizer, step=step)


def run_info(
    config: SyncNetConfig, train: ClipDataset, val: ClipDataset, data_check: Mapping[str, Any]
) -> diagnosis.RunInfo:
    """What is known about a run besides its metrics. data_check: see `learnability`."""
    facts = known_facts(data_check)
    if facts is None:
        facts = learnability.dataset_facts(train, learnability.seen_speakers(train, val))
    return diagnosis.RunInfo(
        config, facts, data_faults(data_check), has_constant_offset(data_check)
    )


def train(
    results: str | Path,
    config: SyncNetConfig,
    image_size: int,
    run_dir: str | Path,
    checkpoint: str | Path,
    metrics: str | Path,
    seed: int,
    device: torch.device,
    pretrained: str | Path | None = None,
    data_check: str | Path | None = None,
) -> None:
    """Train SyncNet on results/filelists/train.txt; write its outputs atomically.

    Parameters
    ----------
    results: folder of the prepared data. config: the section `syncnet`. image_size: pixels.
    run_dir: folder of the state; a state found there is continued.
    checkpoint, metrics: the outputs: public-format weights, and one CSV row an evaluation.
    pretrained: public-format weights to start from (lipsync_expert.pth); tensors that do not fit
        are listed in the log and start at random.
    data_check: JSON file for the findings of `learnability.run_data_check`; without it the data
        are not checked.

    Raises LipsyncError for unusable data, Interrupted when stopped by a signal.
    """
    train_set, val_set = load_splits(results, ("train", "val"), image_size, config.cache_mb << 20)
    log.info("syncnet: validated on: %s", split_summary.evaluated_on(results, "val"))
    torch.manual_seed(seed)
    model = SyncNet(width=config.width, image_size=image_size)
    checkpoints.load_pretrained(model, pretrained)
    task = SyncNetTask(model, train_set, val_set, config, seed, device)
    if data_check is not None:
        seen = learnability.seen_speakers(train_set, val_set)
        facts = learnability.dataset_facts(train_set, seen, results)
        check = functools.partial(
            learnability.check_data,
            *(results, task.model, train_set, task.precision, seed, pretrained is not None, facts),
        )
        task.data_check = distributed.broadcast_from_rank0(
            functools.partial(
                learnability.run_data_check,
                *(config.data_check, check, Path(run_dir), data_check, facts),
            )
        )
    rows = loop.train(task, Path(run_dir), config)
    if distributed.is_main_process():
        loop.publish(task, Path(run_dir), checkpoint, metrics, rows[-1]["step"], config.export)
