"""Sections of the evaluation and of dubbing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lipsync_core.config.types import Natural, Pads, Positive, Section, Text


class EvaluateConfig(Section):
    """Evaluation of trained networks on the test split."""

    windows_per_clip: Annotated[int, Field(ge=2)] = 96
    """Windows of each clip for SyncNet."""
    generator_windows: Positive = 128
    """Windows for each generator."""
    max_clips: Positive = 500
    """Most clips of the same-audio and crossed-audio protocols, spread evenly over the speakers."""
    clip_frames: Annotated[int, Field(ge=20, le=10_000)] = 100
    """Most frames (25 a second) of each of these clips."""
    second_judge_steps: Natural = 0
    """Steps of the second judge, a SyncNet with another seed and other crops that no training
    minimizes; 0 for none. About a third of `syncnet.steps` is enough."""
    group_by: list[Text] = []
    """Columns of clips.csv by whose values the figures are shown as well, e.g. [sex, language]."""


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
