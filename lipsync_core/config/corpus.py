"""Sections of the corpora."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lipsync_core.config.types import Section, Text

LayoutName = Literal[
    "speaker_folders",
    "lrs2",
    "lrs3",
    "lrw",
    "voxceleb2",
    "hdtf",
    "grid",
    "avspeech",
    "wav2lip",
    "manifest",
]


class CorpusConfig(Section):
    """One of several corpora; its clips are named <name>.<speaker>/<clip>."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    """Name of the corpus: letters, digits, _ and -."""
    data_root: Text
    """Folder of the corpus."""
    layout: LayoutName = "speaker_folders"
    """Layout of the folder, as the key `layout` outside."""
    weight: Annotated[float, Field(gt=0)] | None = None
    """Share of the training samples, relative to the weights of the other corpora; null for all of
    them: every clip is drawn equally often."""
    licence: str = ""
    """Licence of the clips (an SPDX name such as CC-BY-4.0, or "own"), where the layout or the
    manifest does not give one."""
