"""The start of a discriminator that has learned nothing yet."""

from __future__ import annotations

import torch
from torch import nn

from lipsync_core.data.dataset import Corpus, generator_batch
from lipsync_core.data.tensors import to_planes
from lipsync_core.evaluation.syncnet import draw
from lipsync_core.models import QualityDiscriminator, Wav2Lip

WOKEN = 0.3  # standard deviation of the logits at the start: no picture is judged for sure
SHOWN = 8  # windows


@torch.no_grad()
def wake(judge: QualityDiscriminator, faces: torch.Tensor) -> QualityDiscriminator:
    """Scale the discriminator's random weights so that it sees its input; returns it.

    torch's default shrinks the signal in every layer; after thirteen without normalisation the
    answer is the same for every picture, and training needs thousands of steps to notice any. Here
    each layer begins with mean 0 and variance 1 over some pictures (Salimans and Kingma, 2016).

    faces: true and drawn ones, (B, 3, T, S, S) in [0, 1].
    """

    def normalise(layer: nn.Conv2d, _: object, out: torch.Tensor) -> torch.Tensor:
        mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)) + 1e-4
        layer.weight.div_(deviation[:, None, None, None])
        layer.bias.sub_(mean).div_(deviation)
        return (out - mean[:, None, None]) / deviation[:, None, None]

    layers = [layer for layer in judge.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=0.01, nonlinearity="leaky_relu")
        nn.init.zeros_(layer.bias)
    hooks = [layer.register_forward_hook(normalise) for layer in layers]
    judge(faces)
    for hook in hooks:
        hook.remove()
    for last in (judge.binary_pred[0].weight, judge.binary_pred[0].bias):
        last.mul_(WOKEN)
    return judge


def first_faces(model: Wav2Lip, corpus: Corpus, seed: int) -> torch.Tensor:
    """True faces of the first training windows and those that `model` draws, for `wake`."""
    batch = generator_batch(corpus, seed, 0, SHOWN)
    drawn = torch.from_numpy(draw(model.eval(), batch)).permute(0, 4, 1, 2, 3)
    return torch.cat((to_planes(torch.from_numpy(batch.target)), drawn))
