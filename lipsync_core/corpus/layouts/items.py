"""The description of a clip that a layout gives."""

from __future__ import annotations

from typing import NamedTuple

# Values of a split: a fixed one; TRAINVAL for "train or val, as the speakers are drawn"; PRETRAIN
# for "train, where there are lists"; "" for none. `lipsync_core.preparation.splits` alone decides
# what follows from them.
SPLITS = ("train", "val", "test")
TRAINVAL, PRETRAIN = "trainval", "pretrain"


class Item(NamedTuple):
    """One clip of a corpus. All paths are percent-encoded and relative to the data root.

    id: `<speaker>/<clip>`; two items may ask for the same one.
    path: the video, or a folder of face crops. audio: a file of its own, or "".
    split: the official one, see above. segment: "start-end" in seconds when the clip is a part of
    the video. face_hint: "x,y", the center of the speaker's face, as fractions of the frame's
    width and height.
    """

    id: str
    path: str
    audio: str = ""
    split: str = ""
    segment: str = ""
    face_hint: str = ""


def stem(name: str) -> str:
    """A file name without its last extension; ".x" keeps its own."""
    head, dot, _ = name.rpartition(".")
    return head if dot and head else name
