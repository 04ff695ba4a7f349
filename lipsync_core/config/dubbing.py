"""Options of a dubbing, and the entries of `dub`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lipsync_core.config.types import Natural, NonNegative, Pads, Positive, Section, Text

FaceChoice = Annotated[
    str,
    Field(
        pattern=r"^(largest|everyone|speaking|index [1-9]\d*"
        r"|nearest \d+(\.\d+)?, ?\d+(\.\d+)?|reference .+)$"
    ),
]
Rate = (
    Literal["source"]
    | Annotated[float, Field(ge=1, le=120)]
    | Annotated[str, Field(pattern=r"^[1-9][0-9]*/[1-9][0-9]*$")]
)
Sides = Annotated[list[int], Field(min_length=4, max_length=4)]


class VoiceConfig(Section):
    """A face of the video and the audio that it speaks."""

    face_select: FaceChoice
    """Which face, as `face_select` of the dubbing."""
    audio: Text
    """Any file with an audio track."""


class DubOptions(Section):
    """How a face is dubbed: the options of `lipsync dub`."""

    face_select: FaceChoice = "largest"
    """Which face is dubbed: largest, index N (1 is the largest), nearest X,Y (pixels, or shares of
    the frame), reference PICTURE (a picture of it), speaking (the one in sync with the video's own
    audio), or everyone (all that are never seen together). The others stay as they are."""
    fps: Rate = "source"
    """Frames a second, such as 25 or 30000/1001; source: every frame of the video at its own time,
    25 for a picture."""
    length: Literal["loop", "ping-pong", "hold", "trim"] = "loop"
    """Where the audio is longer than the video: play it again, backwards and forwards, hold its
    last frame, or end with the shorter of the two."""
    start: NonNegative = 0
    """Second of the video at which it begins."""
    end: Annotated[float, Field(gt=0)] | None = None
    """Second of the video at which it ends; null for its end."""
    final_audio: str = ""
    """Audio of the result, such as the mix with music, when the lips follow the voice alone."""
    pads: Pads | None = None
    """Pixels added to the face box (top, bottom, left, right); null: as in the training of the
    model where its model card is there, else 0 10 0 0 as in the public script."""
    box: Sides | None = None
    """A constant face box (top, bottom, left, right) instead of detection."""
    resize_factor: Positive = 1
    """Divide width and height of the frames by this first."""
    rotate: bool = False
    """Then turn them by 90 degrees clockwise."""
    crop: Sides | None = None
    """Then cut this region out (top, bottom, left, right); -1 is the frame's own edge."""
    static: bool = False
    """Use the first frame of the video only."""
    smooth: bool = True
    """Smooth the face boxes over time."""
    max_gap: Natural | None = None
    """Longest gap (frames at 25 fps) in which a lost face is followed; null: as in training."""
    blend: Literal["soft", "poisson", "hard"] = "soft"
    """Blend the mouth in by a mask in the shape of the face, by Poisson blending, or paste the
    whole rectangle, as the public script does."""
    occluder: Literal["keep", "ignore"] = "keep"
    """Keep what is in front of the mouth (a hand, a microphone), or draw over it."""
    enhancer: str = ""
    """ONNX file of a face restoration model that improves the generated face."""
    silence: Literal["rest", "follow"] = "rest"
    """In pauses of the speech, ease the mouth to rest, or let it follow the sound."""
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    """Constant rate factor of the video: less is better and larger; 18 is nearly lossless."""
    label: str = ""
    """Text of a visible mark, such as AI-generated."""
    sign_cert: str = ""
    """Certificate chain (PEM) to sign a C2PA manifest; needs `sign_key`."""
    sign_key: str = ""
    """Private key (PEM) of that certificate."""
    long_side: Annotated[int, Field(ge=64, le=4096)] | None = None
    """Frames are scaled down to this longer side (pixels) to find faces; null: as in training."""
    batch_size: Positive = 128
    """Most frames in a call of the generator."""
    face_det_batch_size: Natural = 0
    """Frames in a call of the face detector; 0 takes what the memory holds."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the generator; auto is bf16 where that is faster."""


class DubConfig(DubOptions):
    """A dubbing: a face (image or video) with the audio of another file."""

    face: Text = "auto"
    """Image or video; auto is a test clip."""
    audio: Text = "auto"
    """Any file with an audio track; auto: another test clip, of another speaker if there is one."""
    voices: list[VoiceConfig] = []
    """Several faces of the video, each with its own audio, instead of `audio` and `face_select`."""
    output: Annotated[str, Field(pattern=r"^[^/.][^/]*\.mp4$")] = "result_voice.mp4"
    """File name in the results folder."""
    checkpoint: str = ""
    """Generator weights; nothing means the last variant trained."""

    @model_validator(mode="after")
    def _signed_by_both(self) -> DubConfig:
        if bool(self.sign_cert) != bool(self.sign_key):
            raise ValueError("sign_cert and sign_key: give both or none")
        return self
