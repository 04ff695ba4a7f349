"""Layouts that follow from file names: speaker folders, LRS2, LRS3, LRW, VoxCeleb2, HDTF, GRID.

Paths are matched from their end, so that the data root may be the corpus' own folder or one above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lipsync_core.corpus.layouts.items import PRETRAIN, SPLITS, TRAINVAL, Item, stem
from lipsync_core.corpus.layouts.scan import AUDIO_SUFFIXES, suffix_of

Files = Mapping[str, str]
GRID_SPEAKER = re.compile(r"(s\d+)(\.mpg.*)?", re.IGNORECASE)
# A leading RD_, WDA_ or WRA_ names the list, trailing numbers the video and its part.
HDTF_NAME = re.compile(r"(?:(?:RD|WDA|WRA)_)?(?P<speaker>.+?)(?:_\d+)*")
VOX_SPEAKER = re.compile(r"id\d+")


def speaker_folders(files: Files, data_root: Path) -> Iterator[Item]:
    """`<speaker>/<clip>.<ext>` in any depth, with or without main/ above.

    A video that lies in the data root itself is its own speaker.
    """
    for path in files:
        folder, _, name = path.removeprefix("main/").rpartition("/")
        yield Item(f"{folder or stem(name)}/{stem(name)}", path)


def lrs2(files: Files, data_root: Path) -> Iterator[Item]:
    """`{main,pretrain}/<programme>/<clip>.mp4`; main/ as in the lists, pretrain/ below its name.

    Both parts use the same names.
    """
    for path in files:
        place = _lrs2_place(path)
        if place is not None:
            below = "pretrain/" if place.part == "pretrain" else ""
            split = PRETRAIN if below else ""
            yield Item(f"{place.programme}/{below}{stem(place.name)}", path, split=split)


def lrs2_list_folders(files: Files) -> set[str]:
    """The folders that hold main/ and pretrain/: the lists lie there or in the data root."""
    places = (_lrs2_place(path) for path in files)
    return {"", *(place.folder for place in places if place is not None)}


class _Place(NamedTuple):
    folder: str
    part: str
    programme: str
    name: str


def _lrs2_place(path: str) -> _Place | None:
    """Where a file of LRS2 lies; None for others. The data root may be main/ itself."""
    parts = path.split("/")
    part = parts[-3] if len(parts) > 2 else "main"
    if len(parts) < 2 or part not in ("main", "pretrain"):
        return None
    return _Place("/".join(parts[:-3]), part, parts[-2], parts[-1])


def lrs3(files: Files, data_root: Path) -> Iterator[Item]:
    """`{pretrain,trainval,test}/<video>/<clip>.mp4`; validation is drawn by video."""
    for path in files:
        parts = path.split("/")
        if len(parts) > 2 and parts[-3] in ("pretrain", "trainval", "test"):
            part, video, clip = parts[-3], parts[-2], stem(parts[-1])
            yield Item(f"{video}/{part}/{clip}", path, split="test" if part == "test" else TRAINVAL)


def lrw(files: Files, data_root: Path) -> Iterator[Item]:
    """`<WORD>/{train,val,test}/<WORD>_<number>.mp4`: the split is below the word.

    Speakers are unknown and numbers restart in each split, so the group is word and split.
    """
    for path in files:
        parts = path.split("/")
        if len(parts) > 2 and parts[-2] in SPLITS:
            word, split, clip = parts[-3], parts[-2], stem(parts[-1])
            yield Item(f"{word}-{split}/{clip}", path, split=split)


def voxceleb2(files: Files, data_root: Path) -> Iterator[Item]:
    """`{dev,test}/mp4/id<number>/<video>/<clip>.mp4`, the audio in `aac/` with the same path.

    Clip names repeat from video to video, so the id has all three; test speakers are test.
    """
    for path in files:
        parts = path.split("/")
        if (
            len(parts) < 3
            or not VOX_SPEAKER.fullmatch(parts[-3])
            or suffix_of(path) in AUDIO_SUFFIXES
        ):
            continue
        above, names = parts[:-3], parts[-3:]
        split = next((name for name in reversed(above) if name in ("dev", "test")), "")
        base = stem("/".join(names))
        heads = ["/".join([*above, ""])]
        if above and above[-1] == "mp4":
            heads.insert(0, "/".join([*above[:-1], "aac", ""]))
        places = (f"{head}{base}{suffix}" for head in heads for suffix in (".m4a", ".aac", ".wav"))
        yield Item(
            base,
            path,
            audio=next((place for place in places if place in files), ""),
            split={"dev": TRAINVAL, "test": "test"}.get(split, ""),
        )


def hdtf(files: Files, data_root: Path) -> Iterator[Item]:
    """`<list>_<speaker>_<number>[_<part>].mp4` anywhere: all videos of a person are one speaker."""
    for path in files:
        name = stem(path.rpartition("/")[2])
        match = HDTF_NAME.fullmatch(name)
        if match:
            yield Item(f"{match['speaker']}/{name}", path)


def grid(files: Files, data_root: Path) -> Iterator[Item]:
    """`s<number>/.../<code>.mpg`; unpacked archives (`s1.mpg_vcd`) are the same speaker."""
    for path in files:
        *above, name = path.split("/")
        speakers = [match[1].lower() for part in above if (match := GRID_SPEAKER.fullmatch(part))]
        if speakers:
            yield Item(f"{speakers[0]}/{stem(name)}", path)
