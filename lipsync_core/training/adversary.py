"""The discriminator of a GAN: what it tells the generator, and its own losses.

"public" is the visual quality discriminator of Wav2Lip with its binary cross entropy. "patch"
classifies patches of the lower half with a hinge loss and R1; the generator also matches its
features.
"""

from __future__ import annotations

import torch
from torch import nn

from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.models import PatchDiscriminator, QualityDiscriminator
from lipsync_core.models.blocks import fold_time, lower_half
from lipsync_core.training import losses
from lipsync_core.training.engine import precision
from lipsync_core.training.engine.optimization import adam

Losses = dict[str, torch.Tensor]
R1_EVERY = 8  # steps; its weight is raised accordingly
BETAS = {"public": (0.5, 0.999), "patch": (0.0, 0.99)}


class Adversary:
    """A discriminator with its optimizer. `discriminator` decides which losses it has."""

    def __init__(
        self,
        discriminator: QualityDiscriminator | PatchDiscriminator,
        config: GeneratorVariantConfig,
        precision_name: str,
        device: torch.device,
    ) -> None:
        self.discriminator = precision.float32_sigmoids(
            discriminator.to(device, memory_format=torch.channels_last)
        )
        self.config, self.precision, self.device = config, precision_name, device
        self.is_patch = isinstance(discriminator, PatchDiscriminator)
        betas = BETAS["patch" if self.is_patch else "public"]
        self.optimizer = adam(discriminator.parameters(), betas)

    def generator_losses(self, gt: torch.Tensor, generated: torch.Tensor) -> Losses:
        """train_adv_loss and, of patches, train_feature_loss: frames (B, 3, 5, S, S) twice."""
        self.discriminator.requires_grad_(False)  # its gradients belong to its own step
        if not self.is_patch:
            with self._autocast():
                probability = self.discriminator(generated)
            return {"train_adv_loss": losses.gan_bce(probability, 1)}
        with self._autocast():
            logits, features = self.discriminator(generated)
            with torch.no_grad():
                _, true = self.discriminator(gt)
        return {
            "train_adv_loss": -logits.float().mean(),
            "train_feature_loss": losses.feature_distance(features, true),
        }

    def own_losses(self, gt: torch.Tensor, generated: torch.Tensor, step: int) -> Losses:
        """Loss and accuracy on real and on generated frames; train_disc_loss is what it minimizes.

        step: R1 is computed in every `R1_EVERY`-th one.
        """
        self.discriminator.requires_grad_(True)
        if self.is_patch:
            return self._patch_losses(gt, generated, step)
        with self._autocast():
            on_gt, on_generated = self.discriminator(torch.cat((gt, generated))).float().chunk(2)
        real, fake = losses.gan_bce(on_gt, 1), losses.gan_bce(on_generated, 0)
        return _report(real, fake, on_gt > 0.5, on_generated <= 0.5, real + fake)

    def _patch_losses(self, gt: torch.Tensor, generated: torch.Tensor, step: int) -> Losses:
        assert isinstance(self.discriminator, PatchDiscriminator)
        penalized = self.config.r1_weight > 0 and step % R1_EVERY == 0
        halves = lower_half(fold_time(gt)).contiguous().requires_grad_(penalized)
        with self._autocast():
            on_gt, _ = self.discriminator.classify(halves)
            on_generated, _ = self.discriminator(generated)
        real, fake = losses.hinge(on_gt, 1), losses.hinge(on_generated, 0)
        total = real + fake
        if penalized:
            weight = self.config.r1_weight / 2 * R1_EVERY
            total = total + weight * losses.gradient_penalty(on_gt, halves)
        return _report(real, fake, on_gt > 0, on_generated <= 0, total)

    def _autocast(self) -> torch.autocast:
        return precision.autocast(self.precision, self.device)


def _report(
    real: torch.Tensor,
    fake: torch.Tensor,
    real_right: torch.Tensor,
    fake_right: torch.Tensor,
    total: torch.Tensor,
) -> Losses:
    return {
        "train_disc_real": real,
        "train_disc_fake": fake,
        "train_disc_real_accuracy": real_right.float().mean(),
        "train_disc_fake_accuracy": fake_right.float().mean(),
        "train_disc_loss": total,
    }


def build(config: GeneratorVariantConfig, image_size: int) -> nn.Module:
    """The discriminator that `config` names, at random."""
    kind = PatchDiscriminator if config.discriminator == "patch" else QualityDiscriminator
    return kind(width=config.width, image_size=image_size)
