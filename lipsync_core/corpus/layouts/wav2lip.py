"""Corpora that the public Wav2Lip `preprocess.py` has prepared: folders of crops and a sound.

`<speaker>/<clip>/{0.jpg, 1.jpg, ..., audio.wav}`, pictures numbered by frame at 25 a second, a
frame without a face left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from lipsync_core.corpus.layouts.items import Item
from lipsync_core.corpus.layouts.scan import folders, stamp

AUDIO = "audio.wav"


def scan(data_root: Path) -> dict[str, str]:
    """Encoded path of each folder of numbered pictures -> stamp; "<folder>/audio.wav" -> stamp.

    A folder's stamp is its number of pictures and its modification time: adding, removing or
    renaming a picture shows, writing over one does not.
    """
    found = {}
    for prefix, files in folders(data_root):
        count = sum(is_frame(entry.name) for entry in files)
        if not count or not prefix:
            continue
        found[prefix[:-1]] = f"{count}-{Path(files[0].path).parent.stat().st_mtime_ns}"
        for entry in files:
            if entry.name == AUDIO and entry.is_file():
                found[prefix + AUDIO] = stamp(entry.stat())
    return found


def items(files: Mapping[str, str], data_root: Path) -> Iterator[Item]:
    """Every folder of numbered pictures; `audio` is its audio.wav."""
    for path in files:
        if path.rpartition("/")[2] == AUDIO and path[: -len(AUDIO) - 1] in files:
            continue
        name = path.removeprefix("main/")
        audio = f"{path}/{AUDIO}"
        clip_id = name if "/" in name else f"{name}/{name}"
        yield Item(clip_id, path, audio=audio if audio in files else "")


def is_frame(name: str) -> bool:
    """Is this the file name of a numbered crop?"""
    return name.endswith(".jpg") and name[:-4].isdecimal() and name.isascii()


def frames(folder: Path) -> dict[int, Path]:
    """Frame number -> picture of a clip's folder, rising."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if is_frame(entry.name) and entry.is_file()]
    return dict(sorted((int(name[:-4]), folder / name) for name in names))
