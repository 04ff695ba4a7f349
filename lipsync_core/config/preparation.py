"""Sections of the preparation: detection, tracks, crops, checks, splits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lipsync_core.config.types import (
    GrayLevel,
    Natural,
    NonNegative,
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
