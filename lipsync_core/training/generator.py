"""Training of the generator, without and with the quality discriminator ("GAN").

The public recipe: L1, a sync loss by the frozen expert that switches on once the validation sync
loss is below a threshold, and with the discriminator an adversarial loss.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from lipsync_core.checkpoints import build_from, load_pretrained, save_public
from lipsync_core.corpus import split_summary
from lipsync_core.data.dataset import (
    OTHER_SAMPLES,
    ClipDataset,
    GeneratorBatch,
    generator_batch,
    load_splits,
)
from lipsync_core.data.tensors import generator_input, syncnet_input, to_device, to_planes
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.generator import generate, generator_metrics
from lipsync_core.models import QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.models.discriminator import data_dependent_init
from lipsync_core.training import diagnosis, gan_health, losses
from lipsync_core.training.engine import distributed, loop, precision
from lipsync_core.training.engine.ema import average
from lipsync_core.training.engine.optimization import (
    adam,
    compiled,
    descend,
    learning_rate,
    mean,
    micro_batches,
)
from lipsync_core.training.engine.run_signature import from_section
from lipsync_core.training.samples import write_samples

log = logging.getLogger(__name__)
DISCRIMINATOR = "visual_quality_disc.pth"  # in the run folder, public format
EXPERT_MODES = ("eval", "train")
START = {  # column -> key in the memory
    name: name.replace("val_", "start_")
    for name in ("val_l1", "val_l1_reference", "val_output_std", "val_output_std_gt")
}
CAUTION = 0.5  # both learning rates of a GAN are multiplied by this at every rollback


@dataclass(frozen=True)
class GeneratorOptions:
    """The `generator` section of the config, one variant's own keys merged in.

    width: channels relative to the public network (1 = 36.3 M parameters). image_size: pixels.
    batch: windows of 5 frames in a step. lr, schedule, warmup: peak learning rate; "constant" or
    "cosine"; steps to reach the peak. clip: bound of the gradient's norm (0: none). flip: mirror
    half of the windows. mel_shift: see `dataset.generator_sample`. sync_weight, sync_threshold: the
    sync loss has this weight once its validation value is below the threshold, for good.
    gan_weight: weight of the adversarial loss; above 0 there is a discriminator. disc_lr: its
    learning rate. expert_mode: "eval", or "train" as in the public code, see `freeze`. ema: decay
    of the moving average of the weights that is evaluated and handed on (0: the weights
    themselves). val_windows: fixed windows of the evaluation. final: which weights to hand on,
    "last" or "best" (by validation L1). precision: see `precision`. accumulate, compile: see
    `optimization`. cache_mb: memory (MiB) for decoded frames and mels. The rest:
    `loop.LoopOptions`.
    """

    width: float = 1.0
    image_size: int = 96
    steps: int = 100_000
    batch: int = 16
    lr: float = 1e-4
    schedule: str = "constant"
    warmup: int = 0
    clip: float = 0.0
    flip: bool = False
    mel_shift: int = 0
    sync_weight: float = 0.01
    sync_threshold: float = 0.75
    gan_weight: float = 0.0
    disc_lr: float = 1e-4
    expert_mode: str = "eval"
    ema: float = 0.0
    val_windows: int = 64
    final: str = "last"
    precision: str = "auto"
    accumulate: int = 1
    compile: bool = False
    cache_mb: int = 1024


class GeneratorTask(loop.Task):
    """What the loop needs to train a Wav2Lip on a corpus. See `loop.Task`.

    judge: the discriminator; given exactly when `options.gan_weight` is above 0.
    """

    goal = "val_l1"

    def __init__(
        self,
        label: str,
        model: Wav2Lip,
        expert: SyncNet,
        judge: QualityDiscriminator | None,
        train: ClipDataset,
        val: ClipDataset,
        options: GeneratorOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        self.label, self.options, self.seed, self.device = label, options, seed, device
        self.train, self.val = train, val
        self.model = precision.sharpen(model.to(device, memory_format=torch.channels_last))
        if options.expert_mode not in EXPERT_MODES:
            raise LipsyncError(
                f"expert_mode {options.expert_mode!r}: choose one of {', '.join(EXPERT_MODES)}"
            )
        self.forward = compiled(self.model, options.compile)
        if options.expert_mode == "train" and options.batch < 2 * options.accumulate:
            raise LipsyncError("expert_mode train: one window has no statistics; raise `batch`")
        self.expert = distributed.join(freeze(expert.to(device, memory_format=torch.channels_last)))
        self.judge = judge
        betas = (0.9, 0.999) if judge is None else (0.5, 0.999)
        self.optimizer = adam(self.model.parameters(), betas)
        self.parts = {"model": self.model, "optimizer": self.optimizer}
        if judge is not None:
            self.judge = precision.sharpen(judge.to(device, memory_format=torch.channels_last))
            self.judge_optimizer = adam(judge.parameters(), betas)
            self.parts |= {"judge": self.judge, "judge_optimizer": self.judge_optimizer}
        self.average: AveragedModel | None = None
        if options.ema > 0:
            self.average = average(self.model, options.ema)
            self.parts["average"] = self.average
        self.memory = {"sync_weight": 0.0, "caution": 1.0}
        self.precision = precision.resolve(options.precision, device)

    def batch(self, step: int) -> GeneratorBatch:
        """`batch` windows; see `dataset.generator_batch`. Other ones after a rollback."""
        options = self.options
        index = step + OTHER_SAMPLES * int(self.memory.get("rollbacks", 0))
        part, size = distributed.share(index, options.batch)
        return generator_batch(self.train, self.seed, part, size, options.mel_shift, options.flip)

    @property
    def result(self) -> Wav2Lip:
        """What is evaluated and handed on: the averaged weights where there are any."""
        return self.model if self.average is None else self.average.module

    def step(self, step: int, batch: GeneratorBatch) -> dict[str, torch.Tensor]:
        """One step of the generator, then one of the discriminator if there is one."""
        options = self.options
        self._remember_start()
        if self.memory.pop("from_average", False) and self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.model.train()
        reports: list[dict[str, torch.Tensor]] = []
        pictures: list[tuple[torch.Tensor, torch.Tensor]] = []

        def drawing() -> Iterator[torch.Tensor]:
            for part in micro_batches(batch, options.accumulate):
                loss, report, *pair = self._draw(part)
                reports.append(report)
                pictures.append(tuple(pair))
                yield loss

        descend(drawing(), self.optimizer, self._rate(step, options.lr), options.clip)
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.judge is not None:
            rate = self._rate(step, options.disc_lr)
            judging = (
                self._judge(*pair, report) for pair, report in zip(pictures, reports, strict=True)
            )
            descend(judging, self.judge_optimizer, rate, options.clip)
        return mean(reports)

    def _draw(
        self, batch: GeneratorBatch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        """The generator's loss, what it consists of, the true pictures and the drawn ones."""
        options = self.options
        target, reference, mels, sync_mel = (to_device(part, self.device) for part in batch)
        real = to_planes(target)
        faces = generator_input(real, to_planes(reference))
        sync_weight = self.memory["sync_weight"]
        with self._autocast():
            drawn = self.forward(mels, faces).float()
        l1 = F.l1_loss(drawn, real)
        loss = (1 - sync_weight - options.gan_weight) * l1
        report = {"train_l1": l1}
        if sync_weight > 0:
            report["train_sync_loss"] = self._sync_loss(drawn, sync_mel)
            loss = loss + sync_weight * report["train_sync_loss"]
        if self.judge is not None:
            self.judge.requires_grad_(False)  # spares the gradients that only its own step needs
            with self._autocast():
                judged = self.judge(drawn)
            report["train_adv_loss"] = losses.adversarial(judged, 1)
            loss = loss + options.gan_weight * report["train_adv_loss"]
        report["train_loss"] = loss
        detached = {name: value.detach() for name, value in report.items()}
        return loss, detached, real, drawn.detach()

    def _judge(
        self, real: torch.Tensor, drawn: torch.Tensor, report: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """The discriminator's loss; adds to the `report` what it consists of."""
        assert self.judge is not None
        self.judge.requires_grad_(True)
        self.judge.train()
        with self._autocast():
            on_real, on_drawn = self.judge(torch.cat((real, drawn))).float().chunk(2)
        loss_real, loss_fake = losses.adversarial(on_real, 1), losses.adversarial(on_drawn, 0)
        report |= {
            "train_disc_real": loss_real.detach(),
            "train_disc_fake": loss_fake.detach(),
            "train_disc_real_accuracy": (on_real > 0.5).float().mean(),
            "train_disc_fake_accuracy": (on_drawn <= 0.5).float().mean(),
        }
        return loss_real + loss_fake

    def _sync_loss(self, drawn: torch.Tensor, sync_mel: torch.Tensor) -> torch.Tensor:
        self.expert.train(self.options.expert_mode == "train")
        with self._autocast():
            audio, face = self.expert(sync_mel, syncnet_input(drawn))
        self.expert.eval()
        return losses.sync_loss(audio, face)

    def _rate(self, step: int, peak: float) -> float:
        options = self.options
        peak = peak * self.memory["caution"]
        return learning_rate(step, options.steps, peak, options.schedule, options.warmup)

    def _autocast(self) -> torch.autocast:
        return precision.autocast(self.precision, self.device)

    def _measure(self) -> dict[str, float]:
        options = self.options
        found = generator_metrics(
            self.result.eval(),
            self.expert,
            self.val,
            windows=options.val_windows,
            mel_shift=options.mel_shift,
        )
        return {f"val_{name}": value for name, value in found.items()}

    def _remember_start(self) -> None:
        """Keep the figures that a GAN begins with: it may collapse before its first evaluation."""
        if self.judge is not None and not self.memory.keys() & START.values():
            found = self._measure()
            self.memory |= {kept: found[name] for name, kept in START.items()}

    def evaluate(self, step: int) -> loop.Row:
        """`generator_metrics` prefixed by val_; switches the sync loss on when it is time."""
        options = self.options
        row: loop.Row = dict(self._measure())
        row["sync_weight"] = self.memory["sync_weight"]
        if self.memory["sync_weight"] == 0 and row["val_sync_loss"] < options.sync_threshold:
            self.memory["sync_weight"] = options.sync_weight
            log.info("%s: the sync loss counts from now on", self.label)
        return row

    def export(self, path: Path, step: int) -> None:
        """Public format, with Adam's state as public files have it."""
        save_public(path, self.result, self.optimizer, step=step)

    def advice(self, rows: list[loop.Row]) -> str:
        """How the training is going, in words, where something can be done about it."""
        return diagnosis.advice(diagnosis.diagnose_generator(rows, self.options.steps))

    def ill(self, rows: list[loop.Row]) -> str:
        """Why a GAN has collapsed, in words, or nothing; see `gan_health.diagnose_gan`."""
        if self.judge is None:
            return ""
        start = {name: self.memory[kept] for name, kept in START.items() if kept in self.memory}
        return gan_health.diagnose_gan([start, *rows])

    def recover(self, count: int) -> None:
        """After the `count`-th rollback both networks learn at half the rate, as often.

        The generator goes on from its averaged weights: those were found healthy, while the weights
        themselves may have been on their way to the collapse.
        """
        self.memory |= {"caution": CAUTION**count, "from_average": 1.0}


def freeze(expert: SyncNet) -> SyncNet:
    """An expert that judges and no longer learns, in evaluation mode; returns it.

    In training mode, as the public code has it, it judges a window by the statistics of the batch;
    even then its own statistics stay as they are, so that evaluations and resumed runs are exact.
    """
    for layer in expert.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False  # read in evaluation mode, written in neither
    return expert.requires_grad_(False).eval()


def train(
    results: str | Path,
    options: Mapping[str, Any],
    run_dir: str | Path,
    checkpoint: str | Path,
    metrics: str | Path,
    samples: str | Path,
    expert: str | Path,
    seed: int,
    device: torch.device,
    init: str | Path | None = None,
    disc_init: str | Path | None = None,
    label: str = "generator",
) -> None:
    """Train a generator on results/filelists/train.txt; write its outputs atomically.

    Parameters
    ----------
    results: folder of the prepared data. options: see `GeneratorOptions`.
    run_dir: where the state lives; a state found there is continued. A discriminator ends up in
        run_dir/visual_quality_disc.pth.
    checkpoint, metrics, samples: the outputs: public-format weights, one CSV row an evaluation, and
        a PNG of fixed validation windows (rows: reference, masked input, generated, truth).
    expert: checkpoint of the expert, public format; its sizes are read from it.
    init, disc_init: public-format weights to start from (wav2lip.pth, visual_quality_disc.pth, a
        checkpoint of ours); tensors that do not fit are listed in the log and start at random.
    label: name of the variant, for messages.

    Raises LipsyncError for unusable data or options, Interrupted when stopped by a signal.
    """
    settings = from_section(GeneratorOptions, options)
    run_dir = Path(run_dir)
    splits = ("train", "val")
    loaded = load_splits(results, splits, settings.image_size, settings.cache_mb << 20)
    corpora = dict(zip(splits, loaded, strict=True))
    log.info("%s: validated on: %s", label, split_summary.judged_on(results, "val"))
    sizes = {"width": settings.width, "image_size": settings.image_size}
    judge_of_sync = build_from(expert, SyncNet)
    if judge_of_sync.image_size != settings.image_size:
        raise LipsyncError(
            f"{expert}: an expert for {judge_of_sync.image_size} pixels cannot judge a generator "
            f"of {settings.image_size}; give both the same `image_size`"
        )
    torch.manual_seed(seed)
    model = Wav2Lip(**sizes)
    load_pretrained(model, init)
    judge = None
    if settings.gan_weight > 0:
        judge = data_dependent_init(
            QualityDiscriminator(**sizes), init_batch(model, corpora["train"], seed)
        )
        load_pretrained(judge, disc_init)
    task = GeneratorTask(
        label, model, judge_of_sync, judge, corpora["train"], corpora["val"], settings, seed, device
    )
    rows = loop.train(task, run_dir, from_section(loop.LoopOptions, options))
    if not distributed.first():
        return
    loop.publish(task, run_dir, checkpoint, metrics, rows[-1]["step"], settings.final)
    if judge is not None:
        save_public(run_dir / DISCRIMINATOR, judge, task.judge_optimizer, step=rows[-1]["step"])
    published = build_from(checkpoint, Wav2Lip).to(device)
    write_samples(published, corpora["val"], samples, settings.mel_shift)


SHOWN = 8  # windows


def init_batch(model: Wav2Lip, corpus: ClipDataset, seed: int) -> torch.Tensor:
    """Ground-truth and generated faces of the first windows, for `data_dependent_init`."""
    batch = generator_batch(corpus, seed, 0, SHOWN)
    drawn = torch.from_numpy(generate(model.eval(), batch)).permute(0, 4, 1, 2, 3)
    return torch.cat((to_planes(torch.from_numpy(batch.target)), drawn))
