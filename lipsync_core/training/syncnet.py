"""Training of the expert: first to tell the windows of a clip apart, then to be calibrated.

The classic recipe (one pair a sample, cross entropy of the cosine) often stands still at 0.69 for
days. Choosing the right one among the sounds of the same clip gives a gradient from the first step,
the sooner when what the clip's windows share is taken out (`losses.centred`) and small directions
of the gradient count as much as large ones (`muon`). The classic loss then puts the cosines where
the generator's sync loss expects them. Measured: benchmarks/expert.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipsync_core import checkpoints
from lipsync_core.corpus import split_summary
from lipsync_core.data.augmentation import Augmentation
from lipsync_core.data.dataset import (
    OTHER_SAMPLES,
    ClipDataset,
    SyncNetBatch,
    load_splits,
    syncnet_batch,
)
from lipsync_core.data.tensors import stack_window, to_device
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.syncnet import syncnet_metrics
from lipsync_core.models import SyncNet
from lipsync_core.training import diagnosis, losses
from lipsync_core.training.data_check import learnability
from lipsync_core.training.data_check.result import has_constant_offset
from lipsync_core.training.engine import distributed, loop, precision
from lipsync_core.training.engine.muon import Muon
from lipsync_core.training.engine.optimization import (
    adam,
    compiled,
    descend,
    learning_rate,
    mean,
    micro_batches,
)
from lipsync_core.training.engine.run_signature import from_section

log = logging.getLogger(__name__)
LOSSES = ("contrastive+bce", "contrastive", "bce")
OPTIMIZERS = ("muon", "adam")


@dataclass(frozen=True)
class ExpertOptions:
    """The `syncnet` section of the config.

    width: channels relative to the public network (1 = 16.4 M parameters). image_size: pixels.
    loss: "contrastive+bce" (the last `calibration` share of the steps has the classic loss),
    "contrastive" or "bce". centred: in so many first steps the contrastive loss compares what
    windows have of their own, see `losses.centred`. clips, windows: a batch is `windows` windows of
    each of `clips` clips.
    optimizer: "muon" or "adam". lr, schedule, warmup: peak learning rate; "cosine" or "constant";
    steps to reach the peak. clip: bound of the gradient's norm (0: none). flip ... mel_mask:
    `augmentation.Augmentation`. apart: least distance in frames of a clip's windows in the first
    step; it falls to 1 over `curriculum` steps, in which augmentation grows to its full strength.
    final: which weights to hand on, "best" (by validation loss) or "last". val_windows: windows of
    each validation clip in an evaluation. gate: what a look at the data beforehand may do, see
    `learnability.run_data_check`. accumulate, compile: see `optimization`. The rest:
    `loop.LoopOptions`, `precision`.
    """

    width: float = 1.0
    image_size: int = 96
    steps: int = 20_000
    loss: str = "contrastive+bce"
    calibration: float = 0.5
    centred: int = 250
    clips: int = 6
    windows: int = 8
    optimizer: str = "muon"
    lr: float = 2e-3
    schedule: str = "cosine"
    warmup: int = 100
    clip: float = 1.0
    flip: bool = True
    shift: float = 0.02
    zoom: float = 0.03
    colour: float = 0.08
    mel_gain: float = 0.3
    mel_warp: float = 0.06
    mel_mask: float = 0.1
    apart: int = 1
    curriculum: int = 500
    val_windows: int = 48
    final: str = "best"
    gate: str | bool = "warn"
    precision: str = "auto"
    accumulate: int = 1
    compile: bool = False
    cache_mb: int = 1024


class Temperature(nn.Module):
    """The learned scale of the contrastive loss; not part of the expert."""

    def __init__(self, start: float = 10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(start).log())


class ExpertTask(loop.Task):
    """What the loop needs to train a SyncNet on a corpus. See `loop.Task`."""

    label = "syncnet"
    unfinished = False  # half-way its cosines are not calibrated: a generator would follow noise

    def __init__(
        self,
        model: SyncNet,
        train: ClipDataset,
        val: ClipDataset,
        options: ExpertOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        if options.loss not in LOSSES:
            raise LipsyncError(f"loss {options.loss!r}: choose one of {', '.join(LOSSES)}")
        if options.optimizer not in OPTIMIZERS:
            raise LipsyncError(
                f"optimizer {options.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}"
            )
        self.options, self.seed, self.device = options, seed, device
        self.train, self.val = train, val
        self.model = model.to(device, memory_format=torch.channels_last)
        self.forward = compiled(self.model, options.compile)
        self.temperature = Temperature().to(device)
        weights = [*self.model.parameters(), *self.temperature.parameters()]
        self.precision = precision.resolve(options.precision, device)
        self.optimizer = (
            Muon(weights, precision=self.precision)
            if options.optimizer == "muon"
            else adam(weights)
        )
        self.maximise = options.loss == "contrastive"  # whose cosines are not calibrated
        self.goal = "val_auc" if self.maximise else "val_loss"
        self.parts = {
            "model": self.model,
            "temperature": self.temperature,
            "optimizer": self.optimizer,
        }
        self.memory = {}
        self.data_check: dict[str, Any] = {"checks": []}  # of the data, see `learnability`

    def batch(self, step: int) -> SyncNetBatch:
        """`clips` x `windows` windows; see `dataset.syncnet_batch`. Others after a rollback."""
        options = self.options
        index = step + OTHER_SAMPLES * int(self.memory.get("rollbacks", 0))
        part, clips = distributed.share(index, options.clips)
        return syncnet_batch(
            self.train, self.seed, part, clips, options.windows, *self.hardness(step)
        )

    def hardness(self, step: int) -> tuple[Augmentation, int]:
        """How far the windows of a step are augmented, and how far apart they are in frames."""
        options = self.options
        share = min(1.0, step / options.curriculum) if options.curriculum else 1.0
        change = from_section(Augmentation, asdict(options)).scaled(share)
        return change, round(1 + (options.apart - 1) * (1 - share))

    def step(self, step: int, batch: SyncNetBatch) -> dict[str, torch.Tensor]:
        """One step down the loss of the phase that `step` belongs to."""
        options = self.options
        self.model.train()
        reports: list[dict[str, torch.Tensor]] = []

        def judging() -> Iterator[torch.Tensor]:
            for part in micro_batches(batch, options.accumulate):
                loss = self._loss(step, part)
                reports.append({"train_loss": loss.detach()})
                yield loss

        rate = learning_rate(step, options.steps, options.lr, options.schedule, options.warmup)
        descend(judging(), self.optimizer, rate, options.clip)
        return mean(reports)

    def _loss(self, step: int, batch: SyncNetBatch) -> torch.Tensor:
        options = self.options
        frames, mels, starts = (to_device(part, self.device) for part in batch)
        with precision.autocast(self.precision, self.device):
            audio, face = self.forward(mels.flatten(0, 1), stack_window(frames.flatten(0, 1)))
        groups = (len(frames), -1, audio.shape[1])
        audio, face = audio.reshape(groups), face.reshape(groups)
        in_sync = losses.same_window(starts)
        if self.classic(step):
            return losses.balanced_bce(losses.similarities(audio, face), in_sync)
        if step < options.centred:
            audio, face = losses.centred(audio), losses.centred(face)
        cosines = losses.similarities(audio, face)
        return losses.contrastive(cosines, in_sync, self.temperature.log_scale)

    def classic(self, step: int) -> bool:
        """True in the steps that have the classic loss."""
        options = self.options
        if options.loss == "contrastive+bce":
            return step >= round(options.steps * (1 - options.calibration))
        return options.loss == "bce"

    def evaluate(self, step: int) -> loop.Row:
        """The phase, and `syncnet_metrics` of the validation clips prefixed by val_."""
        self.model.eval()
        found = syncnet_metrics(self.model, self.val, per_clip=self.options.val_windows)
        phase = "bce" if self.classic(step - 1) else "contrastive"
        return {"phase": phase} | {f"val_{name}": value for name, value in found.items()}

    def ill(self, rows: list[loop.Row]) -> str:
        """Whether the validation loss is no number any more: `val_auc` does not show that."""
        value = float(rows[-1]["val_loss"])
        return "" if math.isfinite(value) else f"val_loss is {value}"

    def settled(self, step: int) -> bool:
        """Only within the last phase: the contrastive loss does not calibrate `val_loss`."""
        return self.maximise or self.classic(step - 1)

    def advice(self, rows: list[loop.Row]) -> str:
        """How the training is going, in words, where something can be done about it."""
        facts = run_info(self.options, self.train, self.val, self.data_check)
        return diagnosis.advice(diagnosis.diagnose(rows, facts))

    def export(self, path: Path, step: int) -> None:
        """Public format, with Adam's state as public files have it, or none of Muon's."""
        adams = self.optimizer if self.options.optimizer == "adam" else None
        checkpoints.save_public(path, self.model, adams, step=step)


def run_info(
    options: ExpertOptions, train: ClipDataset, val: ClipDataset, data_check: Mapping[str, Any]
) -> diagnosis.RunInfo:
    """What a diagnosis weighs beside the metrics. data_check: of the data, see `learnability`."""
    minutes, speakers = learnability.corpus_size(train)
    return diagnosis.RunInfo(
        *(options.steps, options.loss, options.windows, speakers, minutes),
        learnability.data_faults(data_check),
        *(options.optimizer, options.lr),
        learnability.seen_speakers(train, val),
        has_constant_offset(data_check),
    )


def train(
    results: str | Path,
    options: Mapping[str, Any],
    run_dir: str | Path,
    checkpoint: str | Path,
    metrics: str | Path,
    seed: int,
    device: torch.device,
    init: str | Path | None = None,
    data_check: str | Path | None = None,
) -> None:
    """Train the expert on results/filelists/train.txt; write its outputs atomically.

    Parameters
    ----------
    results: folder of the prepared data. options: see `ExpertOptions`.
    run_dir: where the state lives; a state found there is continued.
    checkpoint, metrics: the outputs: public-format weights, and one CSV row an evaluation.
    init: public-format weights to start from (lipsync_expert.pth); tensors that do not fit are
        listed in the log and start at random.
    data_check: where to write what `learnability.run_data_check` finds (JSON); nowhere: it does not
    look.

    Raises LipsyncError for unusable data or options, Interrupted when stopped by a signal.
    """
    settings = from_section(ExpertOptions, options)
    train_set, val_set = load_splits(
        results, ("train", "val"), settings.image_size, settings.cache_mb << 20
    )
    log.info("syncnet: validated on: %s", split_summary.judged_on(results, "val"))
    torch.manual_seed(seed)
    model = SyncNet(width=settings.width, image_size=settings.image_size)
    checkpoints.load_pretrained(model, init)
    task = ExpertTask(model, train_set, val_set, settings, seed, device)
    if data_check is not None:
        task.data_check = distributed.of_first(
            lambda: learnability.run_data_check(
                *(settings.gate, results, task.model, train_set, Path(run_dir), data_check),
                kind=task.precision,
                seed=seed,
                knows=init is not None,
                seen=learnability.seen_speakers(train_set, val_set),
            )
        )
    rows = loop.train(task, Path(run_dir), from_section(loop.LoopOptions, options))
    if not distributed.first():
        return
    loop.publish(task, Path(run_dir), checkpoint, metrics, rows[-1]["step"], settings.final)
