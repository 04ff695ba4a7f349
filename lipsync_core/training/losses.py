"""Losses of the three trainings, in float32 whatever the precision of the networks.

Sources: SyncNet's binary cross entropy, the sync loss and the adversarial cross entropy are those
of Wav2Lip (Prajwal et al., 2020); the hinge loss is that of Lim and Ye (2017), R1 of Mescheder et
al. (2018), feature matching of Wang et al. (2018), the perceptual distance of Johnson et al.
(2016); InfoNCE is the symmetric cross entropy of CLIP (Radford et al., 2021) over the windows of
one clip, with the mean of the embeddings subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from lipsync_core.faces.mouth_region import MOUTH

EPSILON = 1e-6
MIN_FEATURE_SIZE = 1e-3
STRIPE_BLOCK, STRIPE_PERIOD = 16, 4  # pixels
COLOR_BLOCK = 16  # pixels
TEXTURE_FLOOR = 1e-6  # of the mean square of a response: a quarter of a level of 255
INIT_LOGIT_SCALE = 10.0  # of the learned inverse temperature
MAX_LOGIT_SCALE = 100.0  # as in CLIP


def cosine_bce(cosine: torch.Tensor, label: float) -> torch.Tensor:
    """Binary cross entropy of cosines in [0, 1] against one label (1 in sync, 0 not); a scalar."""
    probability = cosine.float().clamp(EPSILON, 1 - EPSILON)
    return -(probability if label else 1 - probability).log().mean()


def cosine_matrix(audio: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """Cosines of all pairs in each group: (G, A, D), (G, K, D) -> float32 (G, A, K)."""
    return audio.float() @ face.float().transpose(1, 2)


def center(embeddings: torch.Tensor) -> torch.Tensor:
    """Embeddings less the mean of their group, normalized again: (G, K, D) -> float32 (G, K, D).

    Windows of one clip share speaker, light and room, which dominate the embeddings at first: their
    cosines hardly differ, and the contrastive loss has almost no gradient.
    """
    centered = embeddings.float()
    return F.normalize(centered - centered.mean(1, keepdim=True), dim=2)


def same_window(starts: torch.Tensor, faces: int | None = None) -> torch.Tensor:
    """Which pairs of a group are in sync: starts (G, A) -> bool (G, A, K), the diagonal included.

    Off the diagonal only where a short clip gave the same window twice. faces: K, the first ones
    of the A windows; all by default.
    """
    return starts.unsqueeze(2) == starts[:, None, :faces]


def info_nce(cosines: torch.Tensor, in_sync: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Symmetric cross entropy of matching audio to faces and faces to audio within each group.

    cosines: (G, A, K), A >= K; audio i belongs to face i, and the audio from K on to no face; it is
    a candidate for the faces. in_sync: bool (G, A, K), repeated windows are no candidates;
    log_scale: scalar, logarithm of the inverse temperature. Chance is (log(A) + log(K)) / 2.
    """
    audio, faces = cosines.shape[1:]
    logits = cosines * log_scale.float().exp().clamp(max=MAX_LOGIT_SCALE)
    repeated = in_sync & ~torch.eye(audio, faces, dtype=torch.bool, device=in_sync.device)
    logits = logits.masked_fill(repeated, float("-inf"))
    targets = torch.arange(faces, device=logits.device).repeat(logits.shape[0])
    audio_to_face = F.cross_entropy(logits[:, :faces].flatten(0, 1), targets)
    face_to_audio = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), targets)
    return (audio_to_face + face_to_audio) / 2


def balanced_bce(cosines: torch.Tensor, in_sync: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy over all pairs of each group, positives and negatives equally weighted.

    Its expectation is that of the public code, which draws one pair at a time; chance is 0.693.
    cosines: (G, A, K); in_sync: bool (G, A, K).
    """
    negatives = cosines[~in_sync]
    positives = cosine_bce(cosines[in_sync], 1)
    return (positives + cosine_bce(negatives, 0)) / 2 if len(negatives) else positives


def sync_loss(
    audio: torch.Tensor, face: torch.Tensor, spoken: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross entropy of SyncNet's cosines against 1: embeddings (B, D) twice -> scalar.

    spoken: (B,), 1, or 0 for windows of silence, whose loss is 0.
    """
    cosines = (audio.float() * face.float()).sum(1)
    if spoken is None:
        return cosine_bce(cosines, 1)
    return -(cosines.clamp(EPSILON, 1 - EPSILON).log() * spoken).mean()


def mouth_l1(generated: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """L1 of the mouth region (`faces.mouth_region.MOUTH`): (B, 3, T, S, S) twice -> scalar."""
    side = gt.shape[-1]
    top, bottom, left, right = (round(part * side) for part in MOUTH)
    return F.l1_loss(
        generated[..., top:bottom, left:right].float(), gt[..., top:bottom, left:right].float()
    )


def texture_distance(generated: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """Difference in local contrast of each of 8 spatial frequencies: (N, 3, h, w) twice -> scalar.

    L1 alone averages fine detail away that it cannot place; this asks for as much of it as there
    is, not for its place. The gray images are filtered by the 3 x 3 DCT kernels but the constant
    one, and the root mean square of the responses in blocks of 8 pixels, every 4, is compared.
    """
    return F.l1_loss(_local_contrast(generated), _local_contrast(gt))


def _local_contrast(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, h, w) -> float32 (N, 8, h', w')."""
    gray = images.float().mean(1, keepdim=True)
    root2, root3, root6 = 2**0.5, 3**0.5, 6**0.5
    rows = [[1 / root3] * 3, [1 / root2, 0, -1 / root2], [1 / root6, -2 / root6, 1 / root6]]
    basis = gray.new_tensor(rows)
    kernels = (basis[:, None, :, None] * basis[None, :, None, :]).reshape(9, 1, 3, 3)[1:]
    return (F.avg_pool2d(F.conv2d(gray, kernels).square(), 8, 4) + TEXTURE_FLOOR).sqrt()


def stripe_distance(generated: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """Difference in patterns that repeat every 4 pixels: (N, 3, h, w) twice -> scalar.

    Transposed convolutions of stride 2 draw such patterns, which would pass for texture. In blocks
    of 16 pixels, the mean of the pixels at each of the 4 x 4 places of the pattern, less the
    block's mean, is compared.
    """
    return F.l1_loss(_repeated(generated), _repeated(gt))


def _repeated(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, h, w) -> float32 (N, 3, h // 16, w // 16, 4, 4)."""
    count, colors, height, width = images.shape
    rows, columns = height // STRIPE_BLOCK, width // STRIPE_BLOCK
    times = STRIPE_BLOCK // STRIPE_PERIOD
    whole = images[..., : rows * STRIPE_BLOCK, : columns * STRIPE_BLOCK].float()
    split = whole.reshape(count, colors, rows, times, STRIPE_PERIOD, columns, times, STRIPE_PERIOD)
    pattern = split.mean((3, 6)).transpose(3, 4)
    return pattern - pattern.mean((-2, -1), keepdim=True)


def color_distance(generated: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """Difference in the mean colors of blocks of 16 pixels: (N, 3, h, w) twice -> scalar."""
    return F.l1_loss(*(F.avg_pool2d(images.float(), COLOR_BLOCK) for images in (generated, gt)))


def feature_distance(
    generated: Sequence[torch.Tensor], gt: Sequence[torch.Tensor], relative: bool = False
) -> torch.Tensor:
    """Mean L1 between the features (N, C, H, W) of each layer; a scalar.

    relative: each sample's distance is divided by the mean size of its true features, so that all
    layers count alike.
    """
    total = torch.zeros((), device=gt[0].device)
    for ours, true in zip(generated, gt, strict=True):
        true = true.float().detach()
        distance = (ours.float() - true).abs().mean((1, 2, 3))
        size = true.abs().mean((1, 2, 3)) + MIN_FEATURE_SIZE if relative else 1
        total = total + (distance / size).mean()
    return total / len(gt)


def gan_bce(probability: torch.Tensor, label: float) -> torch.Tensor:
    """Binary cross entropy of the discriminator's probabilities against 1 (gt) or 0 (generated).

    NaN where a probability is: torch's own refuses it, on a GPU by ending the process.
    """
    probability = probability.float()
    # Clamped to the logarithm's range by torch, so that a saturated discriminator has a gradient.
    loss = F.binary_cross_entropy(probability.nan_to_num(0.5), torch.full_like(probability, label))
    return loss + 0 * probability.mean()


def hinge(logits: torch.Tensor, label: int) -> torch.Tensor:
    """Hinge loss of the discriminator's logits for real (1) or generated (0) patches; a scalar."""
    return F.relu(1 - logits.float() if label else 1 + logits.float()).mean()


def gradient_penalty(logits: torch.Tensor, halves: torch.Tensor) -> torch.Tensor:
    """R1: mean squared norm of the gradient of the logits for the real `halves` (N, 3, h, w)."""
    (gradient,) = torch.autograd.grad(logits.float().sum(), halves, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()
