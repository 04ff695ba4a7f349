"""Losses of the three trainings, in float32 whatever the precision of the networks.

Sources: SyncNet's binary cross entropy, the sync loss and the adversarial loss are those of Wav2Lip
(Prajwal et al., 2020); InfoNCE is the symmetric cross entropy of CLIP (Radford et al., 2021) over
the windows of one clip, with the mean of the embeddings subtracted.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

EPSILON = 1e-6
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


def sync_loss(audio: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of SyncNet's cosines against 1: embeddings (B, D) twice -> scalar."""
    return cosine_bce((audio.float() * face.float()).sum(1), 1)


def gan_bce(probability: torch.Tensor, label: float) -> torch.Tensor:
    """Binary cross entropy of the discriminator's probabilities against 1 (gt) or 0 (generated).

    NaN where a probability is: torch's own refuses it, on a GPU by ending the process.
    """
    probability = probability.float()
    # Clamped to the logarithm's range by torch, so that a saturated discriminator has a gradient.
    loss = F.binary_cross_entropy(probability.nan_to_num(0.5), torch.full_like(probability, label))
    return loss + 0 * probability.mean()
