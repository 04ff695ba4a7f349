"""The networks. The default arguments build the public ones; `blocks` explains the other sizes."""

from lipsync_core.models.discriminator import QualityDiscriminator
from lipsync_core.models.lse import LseSyncNet
from lipsync_core.models.patch_discriminator import PatchDiscriminator
from lipsync_core.models.syncnet import SyncNet
from lipsync_core.models.wav2lip import Wav2Lip

__all__ = ["LseSyncNet", "PatchDiscriminator", "QualityDiscriminator", "SyncNet", "Wav2Lip"]
