"""The frozen SyncNet that trains a generator."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from lipsync_core.checkpoints import build_from
from lipsync_core.errors import LipsyncError
from lipsync_core.models import SyncNet, Wav2Lip

log = logging.getLogger(__name__)


def freeze(syncnet: SyncNet) -> SyncNet:
    """Freeze the weights and statistics of a SyncNet, in evaluation mode; returns it.

    In training mode, as in the public code, it normalizes by the statistics of the batch; even then
    its own statistics stay as they are, so that evaluations and resumed runs are exact.
    """
    for layer in syncnet.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False  # read in evaluation mode, written in neither
    return syncnet.requires_grad_(False).eval()


def load_syncnet(checkpoint: str | Path, image_size: int) -> SyncNet:
    """The SyncNet of a checkpoint. Raises LipsyncError when it is for another image size."""
    syncnet = build_from(checkpoint, SyncNet)
    if syncnet.image_size != image_size:
        raise LipsyncError(
            f"{checkpoint}: a SyncNet for {syncnet.image_size} pixels cannot train a generator of "
            f"{image_size}; train both with the same `image_size`"
        )
    return syncnet


def copy_audio_encoder(syncnet: SyncNet, model: Wav2Lip) -> None:
    """Start the generator's audio encoder as SyncNet's, which has one residual layer more.

    SyncNet's knows already what of the audio shows on the lips. Nothing is copied from a SyncNet of
    another width.
    """
    *layers, _, last, embedding = syncnet.audio_encoder
    source = nn.Sequential(*layers, last, embedding).state_dict()
    own = model.audio_encoder.state_dict()
    if all(own[name].shape == tensor.shape for name, tensor in source.items()):
        model.audio_encoder.load_state_dict(source)
    else:
        log.info("the audio encoder starts at random: SyncNet has another width")
