"""The description of a clip that a layout gives, and the ids of clips that share a video."""

from __future__ import annotations

import re
from typing import NamedTuple

# Values of a split: a fixed one; TRAINVAL for "train or val, as the speakers are drawn"; PRETRAIN
# for "train, where there are lists"; "" for none. `lipsync_core.preparation.splits` alone decides
# what follows from them.
SPLITS = ("train", "val", "test")
TRAINVAL, PRETRAIN = "trainval", "pretrain"
PART = re.compile(r"\+\d+$")  # the end of the id of a further track


class Item(NamedTuple):
    """One clip of a corpus. All paths are percent-encoded and relative to the data root.

    id: `<speaker>/<clip>`; two items may ask for the same one.
    path: the video, or a folder of face crops. audio: a file of its own, or "".
    split: the official one, see above. segment: "start-end" in seconds when the clip is a part of
    the video. face_hint: "x,y", the center of the speaker's face, as fractions of the frame's
    width and height. licence: of this clip, where the corpus says so. metadata: what else it says
    of the clip, a JSON object of text, or "".
    """

    id: str
    path: str
    audio: str = ""
    split: str = ""
    segment: str = ""
    face_hint: str = ""
    licence: str = ""
    metadata: str = ""


def part_id(clip_id: str, number: int) -> str:
    """The id of a video's track `number`; 0 is the largest track, which keeps the video's id."""
    return f"{clip_id}+{number}" if number else clip_id


def source_id(clip_id: str) -> str:
    """The id of the video that a clip comes from; all clips of a video share its audio."""
    return PART.sub("", clip_id)


def part_number(clip_id: str) -> int:
    """The number that `part_id` was given."""
    return int(clip_id[len(source_id(clip_id)) + 1 :] or 0)


def stem(name: str) -> str:
    """A file name without its last extension; ".x" keeps its own."""
    head, dot, _ = name.rpartition(".")
    return head if dot and head else name
