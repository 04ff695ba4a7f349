"""Corpora prepared by the public Wav2Lip `preprocess.py`: folders of face crops and audio.

`<speaker>/<clip>/{0.jpg, 1.jpg, ..., audio.wav}`, crops numbered by frame at 25 fps; frames without
a face are missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from lipsync_core.corpus.layouts.items import Item
from lipsync_core.corpus.layouts.scan import folders, stamp

AUDIO = "audio.wav"


def scan(data_root: Path) -> dict[str, str]:
    """Encoded path of each folder of numbered crops -> stamp; "<folder>/audio.wav" -> stamp.

    A folder's stamp is its number of crops and its modification time: it changes when a crop is
    added, removed or renamed, not when one is overwritten.
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
    """Every folder of numbered crops; `audio` is its audio.wav."""
    for path in files:
        if path.rpartition("/")[2] == AUDIO and path[: -len(AUDIO) - 1] in files:
            continue
        name = path.removeprefix("main/")
        audio = f"{path}/{AUDIO}"
        clip_id = name if "/" in name else f"{name}/{name}"
        yield Item(clip_id, path, audio=audio if audio in files else "")


def is_frame(name: str) -> bool:
    """Whether this is the file name of a numbered crop."""
    return name.endswith(".jpg") and name[:-4].isdecimal() and name.isascii()


def frames(folder: Path) -> dict[int, Path]:
    """Frame number -> crop in a clip's folder, increasing."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if is_frame(entry.name) and entry.is_file()]
    return dict(sorted((int(name[:-4]), folder / name) for name in names))
