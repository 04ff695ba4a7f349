"""Sections of the preparation: detection, tracks, crops, checks, splits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lipsync_core.config.types import (
    Angle,
    GrayLevel,
    Mos,
    Natural,
    NonNegative,
    OffWord,
    Pads,
    Positive,
    Section,
    Share,
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
    active speaker (by `sync.model`, else models/syncnet_v2.model)."""
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


class SyncConfig(Section):
    """Audio-visual sync of the clips: measured, and corrected where it is wrong."""

    correct: Annotated[Literal["off", "measure", "correct"], OffWord] = "off"
    """off; measure: columns in clips.csv; correct: also shift the audio of clips that are out of
    sync, and drop those that stay so, drift or cannot be measured."""
    model: str = ""
    """Weights that measure sync and select the active speaker: syncnet_v2.model or a SyncNet
    checkpoint (outside of results). Nothing: models/syncnet_v2.model if it is there, else a SyncNet
    that is trained on the corpus as it is (bootstrap)."""
    bootstrap_steps: Positive = 500
    """Steps of each of the two rounds of that training; its other keys are those of `syncnet`."""
    min_agreement: Share = 0.9
    """Minimum agreement (correct): share of resamples of a clip's windows that give its offset
    within one frame."""


class AudioConfig(Section):
    """Measures of the audio."""

    dnsmos: Literal["sample", "all", "off"] = "sample"
    """DNSMOS ratings of noise (columns signal_mos, background_mos, overall_mos): of a share of the
    clips that takes half a second of processor time a minute of audio (all from 30 s on, a tenth of
    those of 3 s), of all (0.25 s a clip), or of none."""


# Thresholds of `check.preset`; the other keys keep their defaults. Sources: docs/checks.md.
CHECK_PRESETS: dict[str, dict[str, float]] = {
    "lenient": {},
    "talkvid": {
        "min_seconds": 5,
        "min_face_px": 128,
        "min_coverage": 0.9,
        "max_tracks": 1,
        "max_yaw": 45,
        "max_pitch": 30,
        "max_roll": 30,
        "max_size_change": 0.25,
    },
    "strict": {
        "min_seconds": 2,
        "min_face_px": 180,
        "min_coverage": 0.95,
        "max_tracks": 1,
        "max_yaw": 30,
        "max_pitch": 25,
        "max_roll": 20,
        "max_size_change": 0.12,
        "max_head_speed": 2,
        "max_pause": 3,
    },
}


class CheckConfig(Section):
    """Thresholds beyond which a clip is dropped, with the reason in clips.csv. One word is a preset
    (`check: talkvid`)."""

    preset: Literal["lenient", "talkvid", "strict"] = "lenient"
    """Thresholds to begin with; the other keys of this section win. Lenient: the defaults below."""
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
    min_speech: NonNegative = 0.05
    """Minimum speech in the audio (seconds): less is noise, music or silence; 0 drops none."""
    min_speech_ratio: Share = 0
    """Minimum share of the time in which somebody speaks; 0 drops none."""
    max_pause: Annotated[float, Field(gt=0)] | None = None
    """Maximum time without speech, also before and after it (seconds); null for no limit."""
    min_signal_mos: Mos | None = None
    """Minimum DNSMOS rating of the speech itself (1 to 5), of clips that have one: see
    `audio.dnsmos`; null for no limit."""
    min_background_mos: Mos | None = None
    """Minimum DNSMOS rating of the background (5: no noise), likewise."""
    min_overall_mos: Mos | None = None
    """Minimum DNSMOS rating of the whole, likewise."""
    min_sharpness: NonNegative = 0
    """Minimum sharpness of the crops (variance of the Laplacian at 96 pixels); 0 drops none."""
    min_brightness: GrayLevel = 8
    """Minimum mean gray level of the crops."""
    max_brightness: GrayLevel = 247
    """Maximum mean gray level of the crops."""
    max_head_speed: Annotated[float, Field(gt=0)] | None = None
    """Maximum head speed (face widths a second); null for no limit."""
    max_yaw: Angle | None = None
    """Maximum turn of the head to a side (degrees, 95th percentile of the frames), needs the
    landmarks of centerface; null for no limit."""
    max_pitch: Angle | None = None
    """Maximum nod (degrees up or down), likewise."""
    max_roll: Annotated[float, Field(gt=0, le=180)] | None = None
    """Maximum tilt to a shoulder (degrees), likewise."""
    max_size_change: Annotated[float, Field(gt=0)] | None = None
    """Maximum change of the face's size along the clip, as a share of its size; null for no
    limit."""
    max_tracks: Positive | None = None
    """Maximum number of face tracks, to drop clips of several people; null for no limit."""
    max_sync_offset: Natural | None = None
    """Maximum audio-visual offset (frames; 3 is usual), needs `sync.correct`; null for no limit,
    and for 1 where sync is corrected."""
    min_sync_confidence: float | None = None
    """Minimum sync confidence (syncnet_v2.model: 3), needs `sync.correct`; null for no limit."""
    timeout: Annotated[float, Field(gt=0)] = 300
    """Time limit for reading a clip (seconds), and as much again for each minute of the clip;
    beyond it the clip is dropped as timed_out."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """The thresholds of the preset below the given keys; one word is the preset's name."""
        keys = {"preset": given} if isinstance(given, str) else given
        if not isinstance(keys, dict):
            return keys
        return CHECK_PRESETS.get(str(keys.get("preset", "lenient")), {}) | keys


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
    merge_aliases: bool = True
    """Keep a person whose clips lie under several names in one split, told by voice and face;
    better with speaker_encoder.pt in `models`."""
    max_dropped_share: Share = 1.0
    """Stop when more than this share of the clips was dropped; 1 for never."""
