"""The config: one model a section, the only place where an option is described.

The models give types, ranges, defaults and descriptions. They generate the JSON schema and
`docs/config.md`, and are what the code receives. Reading a config file: `runtime.config_file`.
Light: the Snakefile imports it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
UpToHalf = Annotated[float, Field(ge=0, le=0.5)]
GrayLevel = Annotated[float, Field(ge=0, le=255)]
# YAML 1.1 reads 1e-4, which has no point, as text.
Exponent = BeforeValidator(
    lambda value: float(value) if re.fullmatch(r"\d+[eE]-?\d+", str(value)) else value
)
LearningRate = Annotated[float, Field(gt=0, le=1), Exponent]
# Keys of both trainings whose defaults differ.
Steps = Annotated[int, Field(ge=1, description="Total number of optimizer steps.")]
PeakLearningRate = Annotated[LearningRate, Field(description="Peak learning rate.")]
Schedule = Annotated[
    Literal["constant", "cosine"],
    Field(description="Learning-rate schedule after the warm-up."),
]
Warmup = Annotated[
    int,
    Field(ge=0, description="Warm-up steps: the learning rate rises linearly to its peak."),
]
GradClip = Annotated[float, Field(ge=0, description="Maximum gradient norm; 0 for no clipping.")]
Export = Annotated[Literal["best", "last"], Field(description="Which weights to export.")]
Text = Annotated[str, Field(min_length=1)]
Padding = Annotated[int, Field(ge=-4096, le=4096)]
Pads = Annotated[list[Padding], Field(min_length=4, max_length=4)]
# YAML reads a bare `off` as false.
OffWord = BeforeValidator(lambda value: "off" if value is False else value)


class Section(BaseModel):
    """A section: unknown keys are errors, and no value is converted to another type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class DetectConfig(Section):
    """Face detection."""

    long_side: Annotated[int, Field(ge=64, le=4096)] = 480
    """Frames are scaled down to this longer side (pixels) for detection."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Minimum score of a face."""
    stride: Annotated[int, Field(ge=1, le=50)] = 5
    """Frames (at 25 fps) from one detection to the next; frames between are interpolated."""
    motion: Annotated[float, Field(ge=0, le=10)] = 0.15
    """Every frame between two detections is searched if their boxes differ by more than this share
    of the face's size, or if a face is lost."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of S3FD; auto is bf16 on CPUs that have it (four times faster), else float32."""
    batch_size: Annotated[int, Field(ge=0, le=4096)] = 0
    """Frames per batch; does not change the result. 0 fills half of a GPU's free memory."""


class TrackConfig(Section):
    """Face tracks, and which face is used where there are several."""

    max_gap: Natural = 10
    """Longest gap (frames) between detections that is interpolated."""
    smooth: Annotated[int, Field(ge=0, le=101)] = 9
    """Width (frames) of the two-sided smoothing of the boxes; 0 or 1 for none."""
    select: Literal["largest", "longest", "all", "active_speaker"] = "largest"
    """Which face is used: the largest, the one visible longest, all (each as its own clip), or the
    active speaker (by `sync_model`, else models/syncnet_v2.model)."""
    min_seconds: Annotated[float, Field(ge=0.64, le=3600)] = 1.0
    """Minimum time for which a person's face must be visible (all and active_speaker)."""


class CropConfig(Section):
    """Face crops."""

    pads: Pads = [0, 0, 0, 0]
    """Pixels added to the face box (top, bottom, left, right)."""
    mode: Literal["box", "square", "aligned"] = "box"
    """The detector's box as the public weights expect it, the square around it, or a square with
    eyes and mouth in fixed places (needs the landmarks of centerface)."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0
    """Margin on all sides, as a share of the face's longer side."""
    size: Annotated[int, Field(ge=32, le=2048)] = 192
    """Longest side (pixels) of a stored crop; larger faces are scaled down."""
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    """JPEG quality of the crops."""


class CheckConfig(Section):
    """Thresholds beyond which a clip is dropped, with the reason in clips.csv."""

    min_seconds: NonNegative = 0.64
    """Minimum length of a clip."""
    max_seconds: Annotated[float, Field(gt=0)] = 36000
    """Maximum length of a clip."""
    min_coverage: Share = 0.8
    """Minimum share of the frames with a face."""
    min_face_px: NonNegative = 48
    """Minimum size of the face (median longer side in pixels)."""
    min_loudness: Annotated[float, Field(le=0)] = -60
    """Minimum level of the audio (dBFS)."""
    max_length_difference: Annotated[float, Field(gt=0)] = 1.0
    """Maximum difference between the lengths of audio and video (seconds)."""
    max_silence: Share = 0.95
    """Maximum share of silence (25 ms windows below -50 dBFS)."""
    max_clipping: Share = 0.05
    """Maximum share of samples at full scale."""
    min_sharpness: NonNegative = 0
    """Minimum sharpness of the crops (variance of the Laplacian at 96 pixels); 0 drops none."""
    min_brightness: GrayLevel = 8
    """Minimum mean gray level of the crops."""
    max_brightness: GrayLevel = 247
    """Maximum mean gray level of the crops."""
    max_head_speed: Annotated[float, Field(gt=0)] | None = None
    """Maximum head speed (face widths a second); null for no limit."""
    max_tracks: Positive | None = None
    """Maximum number of face tracks, to drop clips of several people; null for no limit."""
    max_sync_offset: Natural | None = None
    """Maximum audio-visual offset (frames; 3 is usual), needs a `sync_model`; null for no limit."""
    min_sync_confidence: float | None = None
    """Minimum sync confidence (syncnet_v2.model: 3), needs a `sync_model`; null for no limit."""
    timeout: Annotated[float, Field(gt=0)] = 300
    """Time limit for reading a clip (seconds), and as much again for each minute of the clip;
    beyond it the clip is dropped as timed_out."""


class SplitConfig(Section):
    """Training, validation and test clips."""

    val: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the speakers in the validation split (one speaker: of the clips or the time)."""
    test: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the speakers in the test split, likewise."""
    partial_lists: bool = False
    """Allow lists in the data root to name missing clips; otherwise such a line is an error."""
    drop_duplicates: bool = True
    """Keep one of several copies of a clip, and other encodings of a take in one split only."""
    max_dropped_share: Share = 1.0
    """Stop when more than this share of the clips was dropped; 1 for never."""


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
    lr: PeakLearningRate = 1e-4
    lr_schedule: Schedule = "constant"
    warmup_steps: Warmup = 0
    grad_clip: GradClip = 0
    export: Export = "last"
    batch_size: Positive = 16
    """Windows of five frames per batch."""
    mel_offset: Literal[-1, 0] = 0
    """Audio of the previous frame (-1, public training code) or of the frame (0, inference)."""
    sync_weight: Share = 0.01
    """Weight of the sync loss once it is switched on."""
    sync_threshold: NonNegative = 0.75
    """The sync loss is switched on when its validation value falls below this."""
    adv_weight: Share = 0
    """Weight of the adversarial loss; above 0 a quality discriminator is trained."""
    disc_lr: LearningRate = 1e-4
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


# The keys of one variant; those that are not given are the common ones.
VariantOverrides = create_model(
    "VariantOverrides",
    __base__=Section,
    **{
        name: (field.rebuild_annotation(), Field(None, description=field.description))
        for name, field in GeneratorVariantConfig.model_fields.items()
    },
)
GAN_DEFAULTS = {"pretrained": "wav2lip", "sync_weight": 0.03, "adv_weight": 0.07}


class GeneratorConfig(GeneratorVariantConfig):
    """Training of the generators; keys under a variant win over the common ones."""

    variants: Annotated[list[Literal["wav2lip", "wav2lip_gan"]], Field(min_length=1)] = [
        "wav2lip",
        "wav2lip_gan",
    ]
    """Which generators to train, without GAN and with GAN; the last one dubs."""
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


class EvaluateConfig(Section):
    """Evaluation of trained networks on the test split."""

    windows_per_clip: Annotated[int, Field(ge=2)] = 96
    """Windows of each clip for SyncNet."""
    generator_windows: Positive = 128
    """Windows for each generator."""


class DubConfig(Section):
    """A dubbing: a face (image or video) with the audio of another file."""

    face: Text = "auto"
    """Image or video; auto is a test clip."""
    audio: Text = "auto"
    """Any file with an audio track; auto: another test clip, of another speaker if there is one."""
    output: Annotated[str, Field(pattern=r"^[^/.][^/]*\.mp4$")] = "result_voice.mp4"
    """File name in the results folder."""
    checkpoint: str = ""
    """Generator weights; nothing means the last variant trained."""
    fps: (
        Literal["source"]
        | Annotated[float, Field(ge=1, le=120)]
        | Annotated[str, Field(pattern=r"^[1-9][0-9]*/[1-9][0-9]*$")]
    ) = "source"
    """Frames a second, such as 25 or 30000/1001; source: the video's own rate, 25 for an image."""
    pads: Pads = [0, 10, 0, 0]
    """Pixels added to the face box (top, bottom, left, right)."""


class Config(Section):
    """Configuration of the lip-sync pipeline."""

    preset: str = ""
    """Name of a file in config/presets; your keys win over its keys, those over the defaults: demo,
    finetune, full, one_speaker, hd192, hd288, hd384; nothing for the defaults alone."""
    data_root: Text = "data_root"
    """Folder of videos, <speaker>/<clip>.<ext> with or without main/ above, or as in `layout`."""
    layout: Literal[
        "speaker_folders", "lrs2", "lrs3", "lrw", "voxceleb2", "hdtf", "grid", "avspeech", "wav2lip"
    ] = "speaker_folders"
    """Layout of data_root: speaker folders, a known corpus, or crops by Wav2Lip's preprocess.py."""
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
    sync_model: str = ""
    """Weights that measure sync while faces are cropped, and select the active speaker:
    syncnet_v2.model or a SyncNet checkpoint (outside of results). Nothing: sync is not measured."""
    detect: DetectConfig = DetectConfig()
    """Face detection."""
    track: TrackConfig = TrackConfig()
    """Tracks of faces."""
    crop: CropConfig = CropConfig()
    """Face crops."""
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
