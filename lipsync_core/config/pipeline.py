"""The whole config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lipsync_core.config.corpus import CorpusConfig, LayoutName
from lipsync_core.config.dubbing import DubConfig
from lipsync_core.config.evaluation import EvaluateConfig
from lipsync_core.config.preparation import (
    AudioConfig,
    CheckConfig,
    CropConfig,
    DetectConfig,
    SplitConfig,
    SyncConfig,
    TrackConfig,
)
from lipsync_core.config.training import GeneratorConfig, SyncNetConfig
from lipsync_core.config.types import Natural, Section, Text

# Bounds of the crops that the second judge learns from, as `SyncNetAugment`.
SECOND_JUDGE_TRANSLATE, SECOND_JUDGE_SCALE = 0.08, 0.12
# Keys of SyncNet whose defaults the second judge takes where SyncNet starts from public weights.
FROM_SCRATCH = ("loss", "optimizer", "lr", "lr_schedule", "warmup_steps")


class Config(Section):
    """Configuration of the lip-sync pipeline."""

    preset: str = ""
    """Name of a file in config/presets; your keys win over its keys, those over the defaults: demo,
    finetune, full, one_speaker, hd192, hd288, hd384; nothing for the defaults alone."""
    data_root: Text = "data_root"
    """Folder of videos, <speaker>/<clip>.<ext> with or without main/ above, or as in `layout`."""
    layout: LayoutName = "speaker_folders"
    """Layout of data_root: speaker folders, a known corpus, crops by Wav2Lip's preprocess.py, or a
    manifest (CSV, JSON, JSON Lines, parquet)."""
    licence: str = ""
    """Licence of the clips in data_root (an SPDX name such as CC-BY-4.0, or "own"), where the
    layout or the manifest does not give one."""
    corpora: list[CorpusConfig] = []
    """Several corpora in one run, instead of data_root, layout and licence. Adding one prepares no
    clip of the others again."""
    licences: Literal["any", "commercial"] = "any"
    """commercial refuses corpora and weights whose licence forbids commercial use or is unknown."""
    results: Text = "results"
    """Folder that everything is written to."""
    models: Text = "models"
    """Folder of public weights (s3fd.pth, lipsync_expert.pth, wav2lip.pth, ...)."""
    seed: Natural = 0
    """Seed of splits, samples and weights."""
    shards: Annotated[int, Field(ge=1, le=4096)] = 8
    """Preparation jobs a stage, over which the clips are spread; 8 for a few hundred clips, 256 for
    LRS2. Changing it prepares no clip again."""
    signature: Literal["mtime", "content"] = "mtime"
    """What tells that a video changed: size and modification time, or its content (SHA-1). Changing
    it prepares all clips once more."""
    detector: Literal["auto", "s3fd", "centerface"] = "auto"
    """Face detector; auto is S3FD when models/s3fd.pth is there, else the bundled CenterFace."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = "auto"
    """Processor of detection, training and inference."""
    ffmpeg: Text = "auto"
    """Program that reads and writes media: auto is the bundled one (the same everywhere); or the
    path of another, 5.1 or newer. Changing it prepares again."""
    audio: AudioConfig = AudioConfig()
    """Measures of the audio."""
    detect: DetectConfig = DetectConfig()
    """Face detection."""
    track: TrackConfig = TrackConfig()
    """Tracks of faces."""
    crop: CropConfig = CropConfig()
    """Face crops."""
    sync: SyncConfig = SyncConfig()
    """Audio-visual sync of the clips."""
    check: CheckConfig = CheckConfig()
    """Thresholds beyond which a clip is dropped."""
    split: SplitConfig = SplitConfig()
    """Training, validation and test clips."""
    image_size: Literal[96, 192, 288, 384] = 96
    """Side (pixels) of the faces that SyncNet and generator work on; 96 is the public size."""
    syncnet: SyncNetConfig = SyncNetConfig()
    """Training of SyncNet."""
    generator: GeneratorConfig = GeneratorConfig()
    """Training of the generators."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Evaluation of trained networks on the test split."""
    dub: list[DubConfig] = [DubConfig()]
    """Dubbings to make."""

    def second_judge(self) -> SyncNetConfig:
        """The training of the second judge: that of SyncNet with other crops, and its own steps.

        It starts from nothing; the loss and optimization that suit a pretrained SyncNet do not.
        """
        steps = max(1, self.evaluate.second_judge_steps)
        scratch = SyncNetConfig()
        from_scratch = {key: getattr(scratch, key) for key in FROM_SCRATCH}
        augment = self.syncnet.augment
        stronger = augment.model_copy(
            update={
                "translate": max(augment.translate, SECOND_JUDGE_TRANSLATE),
                "scale": max(augment.scale, SECOND_JUDGE_SCALE),
            }
        )
        return self.syncnet.model_copy(
            update={
                "augment": stronger,
                "steps": steps,
                "curriculum_steps": min(self.syncnet.curriculum_steps, steps // 2),
                "pretrained": "",
                "data_check": "off",
            }
            | (from_scratch if self.syncnet.pretrained not in ("", "demo") else {})
        )
