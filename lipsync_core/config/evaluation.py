"""Section of the evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lipsync_core.config.types import Natural, Positive, Section, Text


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
