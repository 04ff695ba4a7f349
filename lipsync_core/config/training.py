"""Sections of the trainings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, create_model

from lipsync_core.config.types import (
    Export,
    GradClip,
    LearningRate,
    Natural,
    NonNegative,
    OffWord,
    PeakLearningRate,
    Positive,
    Schedule,
    Section,
    Share,
    Steps,
    UpToHalf,
    Warmup,
)


class SyncNetAugment(Section):
    """Augmentation of SyncNet's windows; grows to full strength over `curriculum_steps`."""

    hflip: bool = True
    """Flip half of the windows horizontally."""
    translate: UpToHalf = 0.02
    """Maximum translation, as a share of the crop's side."""
    scale: UpToHalf = 0.03
    """Maximum change of scale (share)."""
    color_jitter: UpToHalf = 0.08
    """Maximum change of brightness, contrast and tint; 0.1 is about 10 %."""
    mel_gain: Annotated[float, Field(ge=0, le=4)] = 0.3
    """Maximum change of loudness and of spectral tilt (mel units of 12.5 dB)."""
    vtlp: UpToHalf = 0.06
    """Maximum warp of the mel bands, like another voice (vocal tract length perturbation)."""
    spec_augment: Share = 0.1
    """Probability of masking mel bands, and separately of masking mel columns (SpecAugment)."""


class GeneratorAugment(Section):
    """Augmentation of the generator's windows."""

    hflip: bool = False
    """Flip half of the windows horizontally."""


class TrainingConfig(Section):
    """Keys of both trainings."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Channels relative to the public network; 1 is the public size."""
    steps: Steps = 20_000
    pretrained: str = ""
    """Weights to start from: a file in the public format, or nothing."""
    lr: PeakLearningRate = 2e-3
    lr_schedule: Schedule = "cosine"
    warmup_steps: Warmup = 100
    grad_clip: GradClip = 1.0
    export: Export = "best"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the networks; auto is bf16 where the processor gains from it."""
    eval_every: Positive = 500
    """Steps between evaluations (rows of metrics.csv)."""
    save_every: Positive = 500
    """Steps between saves; a killed run loses at most these."""
    checkpoint_every: Natural = 0
    """Steps between copies of the state that are kept; 0 for none."""
    patience: Natural = 0
    """Stop after this number of evaluations without improvement; 0 for never."""
    max_rollbacks: Natural = 3
    """Maximum number of rollbacks of a diverged training to its last good state, each with other
    samples. After them a generator exports that state, and SyncNet ends with an error."""
    num_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes on this machine that share each batch, one GPU each; same samples and results."""
    grad_accumulation: Positive = 1
    """Number of micro-batches of a batch, to use less memory."""
    compile: bool = False
    """Use torch.compile (needs a C++ compiler, one process): slow start, somewhat faster steps."""
    max_runs: Natural = 2
    """Number of runs of a training that keep their state, the newest ones; 0 for all."""
    num_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads that prepare batches."""
    cache_mb: Positive = 2048
    """Memory (MiB) of each process for decoded face crops and mels of both splits."""


class SyncNetConfig(TrainingConfig):
    """Training of SyncNet."""

    pretrained: str = ""
    """Weights to start from: a file in the public format, demo (bundled, trained on the demo
    corpus; needs `width: 0.25`), or nothing."""
    loss: Literal["contrastive+bce", "contrastive", "bce"] = "contrastive+bce"
    """Contrastive, then binary cross entropy (bce) to calibrate; or one of them alone."""
    bce_fraction: Share = 0.5
    """Share of the steps (the last ones) with the binary cross entropy."""
    center_steps: Natural = 250
    """First steps whose contrastive loss has a clip's mean embedding subtracted (less plateau)."""
    optimizer: Literal["muon", "adam"] = "muon"
    """Muon leaves the plateau in fewer steps; adam (public code) saves its state in checkpoints."""
    clips_per_batch: Positive = 6
    """Clips per batch."""
    windows_per_clip: Annotated[int, Field(ge=2)] = 8
    """Windows of each clip in a batch."""
    audio_negatives: Natural = 0
    """Further windows of each clip of which a batch has the audio alone, as wrong audio for all
    its faces; 16 beside 8 windows cost a quarter more time."""
    min_window_gap: Annotated[int, Field(ge=1, le=1000)] = 1
    """Minimum distance (frames) between a clip's windows in the first step; 1 for no minimum."""
    curriculum_steps: Natural = 500
    """Steps in which the minimum distance falls to 1 and augmentation grows to full strength."""
    augment: SyncNetAugment = SyncNetAugment()
    """Augmentation of the windows."""
    val_windows: Annotated[int, Field(ge=2)] = 48
    """Windows of each validation clip in an evaluation."""
    data_check: Annotated[Literal["warn", "stop", "off"], OffWord] = "warn"
    """Check before the training whether SyncNet can learn from the data; stop is an error."""


class GeneratorVariantConfig(TrainingConfig):
    """Training of one generator."""

    steps: Steps = 100_000
    pretrained: str = ""
    """Weights to start from: a public-format file, the name of another variant, or nothing."""
    lr: PeakLearningRate = 1e-3
    lr_schedule: Schedule = "cosine"
    warmup_steps: Warmup = 100
    grad_clip: GradClip = 1.0
    export: Export = "last"
    optimizer: Literal["muon", "adam"] = "muon"
    """Muon needs less than half of the steps; adam (public code) saves its state in checkpoints."""
    batch_size: Positive = 16
    """Windows of five frames per batch."""
    mel_offset: Literal[-1, 0] = 0
    """Audio of the previous frame (-1, public training code) or of the frame (0, inference)."""
    reference: Literal["pose_matched", "random"] = "pose_matched"
    """Reference frames: in the target's pose with another mouth, or any (public code)."""
    silence_share: Share = 0.15
    """Share of the windows in which silence and a closed mouth are trained; 0 for none."""
    audio_encoder: Literal["syncnet", "random"] = "syncnet"
    """Start of the audio encoder without pretrained weights: SyncNet's, or random (public code)."""
    mouth_weight: NonNegative = 1.0
    """Weight of the L1 of the mouth region, beside the L1 of the face."""
    perceptual_weight: NonNegative = 0.03
    """Weight of the distance in the features of SyncNet's face encoder."""
    texture_weight: NonNegative = 1.0
    """Weight of the difference in local contrast of the lower half, and against stripes in it."""
    color_weight: NonNegative = 4.0
    """Weight of the difference in the mean colors of blocks of the lower half."""
    sync_weight: Share = 0.03
    """Weight of the sync loss once it is switched on."""
    sync_threshold: NonNegative = 0
    """Validation sync loss below which it is switched on (0.75: public code); 0: from the start."""
    sync_ramp_steps: Natural = 100
    """Steps in which the weight of the sync loss grows from 0 once it is switched on."""
    adv_weight: Share = 0
    """Weight of the adversarial loss; above 0 a discriminator is trained."""
    discriminator: Literal["patch", "public"] = "patch"
    """Patches of the lower half with hinge loss, or the public quality discriminator."""
    feature_weight: NonNegative = 1.0
    """Weight of matching the patch discriminator's features."""
    r1_weight: NonNegative = 0.002
    """Weight of the gradient penalty R1 of the patch discriminator."""
    disc_lr: LearningRate = 1e-3
    """Learning rate of the discriminator."""
    disc_pretrained: str = ""
    """Discriminator weights to start from, or nothing."""
    syncnet_batchnorm: Literal["eval", "batch"] = "eval"
    """Batch-norm statistics of the frozen SyncNet: its own, or of the batch (public code)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0
    """Decay of the exported moving average of the weights (EMA), e.g. 0.999; 0 for no average."""
    augment: GeneratorAugment = GeneratorAugment()
    """Augmentation of the windows."""
    val_windows: Positive = 64
    """Windows of an evaluation, always the same ones."""
    previews: bool = True
    """Write a short video of fixed validation faces at each evaluation."""


# The keys of one variant; those that are not given are the common ones.
VariantOverrides = create_model(
    "VariantOverrides",
    __base__=Section,
    **{
        name: (field.rebuild_annotation(), Field(None, description=field.description))
        for name, field in GeneratorVariantConfig.model_fields.items()
    },
)
GAN_DEFAULTS = {"pretrained": "wav2lip", "adv_weight": 0.06}


class GeneratorConfig(GeneratorVariantConfig):
    """Training of the generators; keys under a variant win over the common ones."""

    variants: Annotated[list[Literal["wav2lip", "wav2lip_gan"]], Field(min_length=1)] = [
        "wav2lip",
        "wav2lip_gan",
    ]
    """Which generators to train, without GAN and with GAN; the last one dubs."""
    syncnet: Literal["own", "public", "best"] = "own"
    """SyncNet of the sync loss: the one trained here, the public lipsync_expert.pth (96 pixels), or
    the one with the higher AUC on the validation clips (own where models/ has no public one)."""
    wav2lip: VariantOverrides = VariantOverrides()
    """Keys of the variant without GAN."""
    wav2lip_gan: Annotated[
        VariantOverrides,
        BeforeValidator(lambda given: GAN_DEFAULTS | given if isinstance(given, dict) else given),
    ] = VariantOverrides(**GAN_DEFAULTS)
    """Keys of the variant with GAN."""

    def variant(self, name: str) -> GeneratorVariantConfig:
        """The config of one variant: the common keys with its own on top."""
        common = self.model_dump(include=set(GeneratorVariantConfig.model_fields))
        return GeneratorVariantConfig(**common | getattr(self, name).model_dump(exclude_unset=True))
