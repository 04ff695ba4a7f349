"""Types of config values, and the base of all sections."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
Mos = Annotated[float, Field(ge=1, le=5)]  # mean opinion score
Angle = Annotated[float, Field(gt=0, le=90)]
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
