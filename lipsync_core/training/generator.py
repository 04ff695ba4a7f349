"""Training of the generator, without and with a discriminator ("GAN").

The public recipe: L1, a sync loss by the frozen SyncNet (switched on once the validation sync loss
is below a threshold) and, with the discriminator, an adversarial loss. The default adds to it: L1
of the mouth, distance in the features of SyncNet's face encoder, local contrast, samples of
silence, references in the pose of the target, Muon, and an audio encoder that starts as SyncNet's
(docs/training.md).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from lipsync_core.checkpoints import build_from, load_pretrained, save_public
from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.corpus import split_summary
from lipsync_core.data.dataset import OTHER_SAMPLES, ClipDataset, load_splits
from lipsync_core.data.generator_samples import GeneratorBatch, generator_batch
from lipsync_core.data.tensors import generator_input, syncnet_input, to_device, to_planes
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation.generator import generate, generator_metrics, reference_leakage
from lipsync_core.models import PatchDiscriminator, QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.models.blocks import fold_time, lower_half
from lipsync_core.models.discriminator import data_dependent_init
from lipsync_core.training import adversary, gan_health, generator_diagnosis, losses, previews
from lipsync_core.training.adversary import Adversary
from lipsync_core.training.engine import distributed, loop, precision
from lipsync_core.training.engine.ema import ema_model
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
from lipsync_core.training.frozen_syncnet import copy_audio_encoder, freeze, load_syncnet
from lipsync_core.training.samples import write_samples

log = logging.getLogger(__name__)
DISCRIMINATOR = "discriminator.pth"  # in the run folder, public format
START_METRICS = {  # column -> key in the extra state
    name: name.replace("val_", "start_")
    for name in (
        *("val_l1", "val_l1_reference", "val_output_std", "val_output_std_gt"),
        *("val_color_shift_b", "val_color_shift_g", "val_color_shift_r"),
    )
}
ROLLBACK_LR_SCALE = 0.5  # both learning rates of a GAN are multiplied by this at every rollback
LEAKAGE_WINDOWS = 16  # of an evaluation: three more generations each
STRIPE_WEIGHT = 5.0  # of the stripes relative to the texture
INIT_WINDOWS = 8  # for the data-dependent initialization of the discriminator
Losses = dict[str, torch.Tensor]


class GeneratorTask(loop.Task):
    """Training of a Wav2Lip on a dataset, see `loop.Task`.

    discriminator: given exactly when `config.adv_weight` is above 0.
    """

    monitor = "val_l1"

    def __init__(
        self,
        label: str,
        model: Wav2Lip,
        syncnet: SyncNet,
        discriminator: QualityDiscriminator | PatchDiscriminator | None,
        train: ClipDataset,
        val: ClipDataset,
        config: GeneratorVariantConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.label, self.config, self.seed, self.device = label, config, seed, device
        self.train, self.val = train, val
        if config.syncnet_batchnorm == "batch" and config.batch_size < 2 * config.grad_accumulation:
            raise LipsyncError(
                "syncnet_batchnorm: batch: one window has no statistics; raise `batch_size`"
            )
        self.model = precision.float32_sigmoids(model.to(device, memory_format=torch.channels_last))
        self.forward = maybe_compile(self.model, config.compile)
        self.syncnet = distributed.sync_batchnorm(
            freeze(syncnet.to(device, memory_format=torch.channels_last))
        )
        self.precision = precision.resolve(config.precision, device)
        weights = self.model.parameters()
        if config.optimizer == "muon":
            self.optimizer = Muon(weights, precision=self.precision)
        else:
            self.optimizer = adam(weights, (0.9, 0.999) if discriminator is None else (0.5, 0.999))
        self.parts = {"model": self.model, "optimizer": self.optimizer}
        self.adversary: Adversary | None = None
        if discriminator is not None:
            self.adversary = Adversary(discriminator, config, self.precision, device)
            self.parts |= {
                "discriminator": discriminator,
                "disc_optimizer": self.adversary.optimizer,
            }
        self.ema: AveragedModel | None = None
        if config.ema_decay > 0:
            self.ema = self.parts["ema"] = ema_model(self.model, config.ema_decay)
        waits = config.sync_threshold > 0
        self.extra_state = {
            "sync_weight": 0.0 if waits else config.sync_weight,
            "sync_from": 0,  # the step in which the sync loss was switched on
            "lr_scale": 1.0,
        }
        self.previews: previews.Previews | None = None

    def batch(self, step: int) -> GeneratorBatch:
        """`batch_size` windows, see `dataset.generator_batch`; other samples after a rollback."""
        config = self.config
        index = step + OTHER_SAMPLES * int(self.extra_state.get("rollbacks", 0))
        part, size = distributed.shard_batch(index, config.batch_size)
        return generator_batch(
            self.train,
            self.seed,
            part,
            size,
            config.mel_offset,
            config.augment.hflip,
            config.reference,
            config.silence_share,
        )

    @property
    def result(self) -> Wav2Lip:
        """The network that is evaluated and exported: the EMA if there is one."""
        return self.model if self.ema is None else self.ema.module

    def step(self, step: int, batch: GeneratorBatch) -> Losses:
        """One step of the generator, then one of the discriminator if there is one."""
        config = self.config
        self._measure_start()
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        reports, frames = [], []
        for part in micro_batches(batch, config.grad_accumulation):
            gt, generated, loss = self.generator_losses(part, self.sync_weight(step))
            loss["train_loss"].backward()
            reports.append(detached(loss))
            frames.append((gt, generated.detach()))
        optimizer_step(self.optimizer, self._lr(step, config.lr), config.grad_clip, len(reports))
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        if self.adversary is not None:
            optimizer = self.adversary.optimizer
            optimizer.zero_grad(set_to_none=True)
            for report, (gt, generated) in zip(reports, frames, strict=True):
                loss = self.adversary.own_losses(gt, generated, step)
                loss.pop("train_disc_loss").backward()
                report |= detached(loss)
            optimizer_step(
                optimizer, self._lr(step, config.disc_lr), config.grad_clip, len(reports)
            )
        return mean_metrics(reports)

    def sync_weight(self, step: int) -> float:
        """Weight of the sync loss in a step: grows over `sync_ramp_steps` once it is on."""
        since = step + 1 - self.extra_state["sync_from"]
        ramp = min(1.0, since / max(1, self.config.sync_ramp_steps))
        return self.extra_state["sync_weight"] * ramp

    def generator_losses(
        self, batch: GeneratorBatch, sync_weight: float
    ) -> tuple[torch.Tensor, torch.Tensor, Losses]:
        """Ground-truth frames, generated frames, both float32 (B, 3, 5, S, S), and the losses."""
        config = self.config
        target, reference, mels, sync_mel, spoken = (to_device(part, self.device) for part in batch)
        gt = to_planes(target)
        with self._autocast():
            generated = self.forward(mels, generator_input(gt, to_planes(reference))).float()
        loss = {"train_l1": F.l1_loss(generated, gt)}
        weights = {"train_l1": 1 - sync_weight - config.adv_weight}
        if sync_weight > 0:
            loss["train_sync_loss"] = self.sync_loss(generated, sync_mel, spoken)
            weights["train_sync_loss"] = sync_weight
        if config.mouth_weight > 0:
            loss["train_mouth_l1"] = losses.mouth_l1(generated, gt)
            weights["train_mouth_l1"] = config.mouth_weight
        if config.perceptual_weight > 0:
            loss["train_perceptual_loss"] = self.perceptual_loss(generated, gt)
            weights["train_perceptual_loss"] = config.perceptual_weight
        halves = [lower_half(fold_time(faces)) for faces in (generated, gt)]
        if config.color_weight > 0:
            loss["train_color_loss"] = losses.color_distance(*halves)
            weights["train_color_loss"] = config.color_weight
        if config.texture_weight > 0:
            loss["train_texture_loss"] = losses.texture_distance(*halves)
            loss["train_stripe_loss"] = losses.stripe_distance(*halves)
            weights["train_texture_loss"] = config.texture_weight
            weights["train_stripe_loss"] = STRIPE_WEIGHT * config.texture_weight
        if self.adversary is not None:
            loss |= self.adversary.generator_losses(gt, generated)
            weights["train_adv_loss"] = config.adv_weight
            weights["train_feature_loss"] = config.feature_weight
        loss["train_loss"] = torch.stack([weights[name] * loss[name] for name in loss]).sum()
        return gt, generated, loss

    def sync_loss(
        self, generated: torch.Tensor, sync_mel: torch.Tensor, spoken: torch.Tensor
    ) -> torch.Tensor:
        """SyncNet's loss of generated frames (B, 3, 5, S, S) and mels (B, 1, 80, 16).

        spoken: (B,), see `GeneratorBatch`.
        """
        self.syncnet.train(self.config.syncnet_batchnorm == "batch")
        with self._autocast():
            audio, face = self.syncnet(sync_mel, syncnet_input(generated))
        self.syncnet.eval()
        return losses.sync_loss(audio, face, spoken)

    def perceptual_loss(self, generated: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        """Distance in the features of SyncNet's face encoder: frames (B, 3, 5, S, S) twice."""
        with self._autocast():
            ours = self.syncnet.face_features(syncnet_input(generated))
            with torch.no_grad():
                true = self.syncnet.face_features(syncnet_input(gt))
        return losses.feature_distance(ours, true, relative=True)

    def _lr(self, step: int, peak: float) -> float:
        config = self.config
        peak = peak * self.extra_state["lr_scale"]
        return learning_rate(step, config.steps, peak, config.lr_schedule, config.warmup_steps)

    def _autocast(self) -> torch.autocast:
        return precision.autocast(self.precision, self.device)

    def _val_metrics(self) -> dict[str, float]:
        metrics = generator_metrics(
            self.result.eval(),
            self.syncnet,
            self.val,
            windows=self.config.val_windows,
            mel_offset=self.config.mel_offset,
        )
        leakage = reference_leakage(
            self.result, self.val, windows=LEAKAGE_WINDOWS, mel_offset=self.config.mel_offset
        )
        metrics |= {name: value for name, value in leakage.items() if name.endswith("_ratio")}
        return {f"val_{name}": value for name, value in metrics.items()}

    def _measure_start(self) -> None:
        """Keep the metrics before the first step of a GAN: it may collapse before its first row."""
        if self.adversary is None or self.extra_state.keys() & START_METRICS.values():
            return
        found = self._val_metrics()
        self.extra_state |= {kept: found[name] for name, kept in START_METRICS.items()}

    def evaluate(self, step: int) -> loop.Row:
        """`generator_metrics` prefixed by val_; switches the sync loss on below its threshold."""
        row: loop.Row = dict(self._val_metrics())
        row["sync_weight"] = self.sync_weight(step)
        in_reach = row["val_sync_loss"] < self.config.sync_threshold
        if self.extra_state["sync_weight"] == 0 and in_reach:
            self.extra_state |= {"sync_weight": self.config.sync_weight, "sync_from": step}
            log.info("%s: the sync loss is switched on", self.label)
        return row

    def preview(self, row: loop.Row, run_dir: Path) -> np.ndarray | None:
        """Write a moving preview, see `previews.Previews`."""
        if self.previews is None:
            return None
        with self._autocast():
            return self.previews.write(self.result.eval(), row, run_dir)

    def export(self, path: Path, step: int) -> None:
        """Public format, with Adam's state as public files have it, or none of Muon's."""
        optimizer = self.optimizer if self.config.optimizer == "adam" else None
        save_public(path, self.result, optimizer, step=step)

    def advice(self, rows: list[loop.Row]) -> str:
        """A warning with a remedy where the training does not learn as it should, or ""."""
        return generator_diagnosis.diagnose_generator(rows, self.config.steps).advice

    def failure(self, rows: list[loop.Row]) -> str:
        """A message if a GAN has collapsed, see `gan_health.collapse`, else ""."""
        if self.adversary is None:
            return ""
        state = self.extra_state
        start = {name: state[kept] for name, kept in START_METRICS.items() if kept in state}
        return gan_health.collapse([start, *rows])

    def on_rollback(self, count: int) -> None:
        """Halve both learning rates at each rollback, and continue from the EMA.

        The EMA was evaluated as good; the weights themselves may have been about to collapse.
        """
        self.extra_state["lr_scale"] = ROLLBACK_LR_SCALE**count
        if self.ema is not None:
            self.model.load_state_dict(self.ema.module.state_dict())


def init_batch(model: Wav2Lip, corpus: ClipDataset, seed: int) -> torch.Tensor:
    """Ground-truth and generated faces of the first windows, for `data_dependent_init`."""
    batch = generator_batch(corpus, seed, 0, INIT_WINDOWS)
    generated = torch.from_numpy(generate(model.eval(), batch)).permute(0, 4, 1, 2, 3)
    return torch.cat((to_planes(torch.from_numpy(batch.target)), generated))


def train(
    results: str | Path,
    config: GeneratorVariantConfig,
    image_size: int,
    run_dir: str | Path,
    checkpoint: str | Path,
    metrics: str | Path,
    samples: str | Path,
    syncnet: str | Path,
    seed: int,
    device: torch.device,
    pretrained: str | Path | None = None,
    disc_pretrained: str | Path | None = None,
    label: str = "generator",
    preview_dir: str | Path | None = None,
) -> None:
    """Train a generator on results/filelists/train.txt; write its outputs atomically.

    Parameters
    ----------
    results: folder of the prepared data. config: of one variant. image_size: pixels.
    run_dir: folder of the state; a state found there is continued. A discriminator is written to
        run_dir/discriminator.pth.
    checkpoint, metrics, samples: the outputs: public-format weights, one CSV row an evaluation, a
        PNG of fixed validation windows (see `write_samples`).
    syncnet: checkpoint of SyncNet, public format; its sizes are read from it.
    pretrained, disc_pretrained: public-format weights to start from (wav2lip.pth,
        visual_quality_disc.pth, a checkpoint of ours); tensors that do not fit are listed in the
        log and start at random.
    label: name of the variant.
    preview_dir: another output, the folder of the moving previews (empty without
        `config.previews`); they lie in run_dir/previews while it trains.

    Raises LipsyncError for unusable data, Interrupted when stopped by a signal.
    """
    run_dir = Path(run_dir)
    train_set, val_set = load_splits(results, ("train", "val"), image_size, config.cache_mb << 20)
    log.info("%s: validated on: %s", label, split_summary.evaluated_on(results, "val"))
    frozen = load_syncnet(syncnet, image_size)
    torch.manual_seed(seed)
    model = Wav2Lip(width=config.width, image_size=image_size)
    if config.audio_encoder == "syncnet" and not pretrained:
        copy_audio_encoder(frozen, model)
    load_pretrained(model, pretrained)
    discriminator = None
    if config.adv_weight > 0:
        discriminator = adversary.build(config, image_size)
        if isinstance(discriminator, QualityDiscriminator):
            data_dependent_init(discriminator, init_batch(model, train_set, seed))
        load_pretrained(discriminator, disc_pretrained)
    task = GeneratorTask(
        label, model, frozen, discriminator, train_set, val_set, config, seed, device
    )
    if config.previews:
        task.previews = previews.Previews(results, val_set)
    rows = loop.train(task, run_dir, config)
    step = rows[-1]["step"]
    if not distributed.is_main_process():
        return
    loop.publish(task, run_dir, checkpoint, metrics, step, config.export)
    if task.adversary is not None:
        save_public(run_dir / DISCRIMINATOR, discriminator, task.adversary.optimizer, step=step)
    published = build_from(checkpoint, Wav2Lip).to(device)
    write_samples(published, val_set, samples, config.mel_offset)
    if preview_dir is not None:
        previews.publish(run_dir, preview_dir, [row["step"] for row in rows])
