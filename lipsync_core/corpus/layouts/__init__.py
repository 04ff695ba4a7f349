"""Dataset layouts: where a corpus keeps clips, audio, speakers and official splits. Light.

A layout turns the files below the data root into `Item`s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.corpus.layouts import avspeech, corpora, manifest, wav2lip
from lipsync_core.corpus.layouts.items import Item
from lipsync_core.corpus.layouts.scan import AUDIO_SUFFIXES, VIDEO_SUFFIXES, scan_files

__all__ = ["LAYOUTS", "Item", "Layout"]

# Path below the data root (percent-encoded) -> stamp.
Files = Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """One way to lay out a corpus.

    items: files -> the clips that fit the layout. shape: what it looks like, for messages.
    scan: data root -> the files that `items` sees. list_folders: files -> the folders that may hold
    lists of the splits (see `lists`). speakers_known: a speaker in two splits is a leak and an
    error; else the first part of an id is only a group (such as a programme). licence: under which
    the corpus is distributed, "" where that is for the user to say.
    """

    items: Callable[[Files, Path], Iterator[Item]]
    shape: str
    scan: Callable[[Path], dict[str, str]] = lambda root: scan_files(root, VIDEO_SUFFIXES)
    list_folders: Callable[[Files], Collection[str]] = lambda files: ("",)
    speakers_known: bool = True
    licence: str = ""


# Short forms of the terms as commonly stated, not checked against the agreements: read those.
BBC_RESEARCH = "research only (BBC)"
TED_RESEARCH = "research only (CC-BY-NC-ND-4.0, TED)"
VOXCELEB_RESEARCH = "research only (CC-BY-4.0, VoxCeleb)"

LAYOUTS = {
    "speaker_folders": Layout(corpora.speaker_folders, "<speaker>/<clip>.mp4"),
    "lrs2": Layout(
        corpora.lrs2,
        "{main,pretrain}/<programme>/<clip>.mp4",
        list_folders=corpora.lrs2_list_folders,
        speakers_known=False,
        licence=BBC_RESEARCH,
    ),
    "lrs3": Layout(
        corpora.lrs3,
        "{pretrain,trainval,test}/<video>/<clip>.mp4",
        speakers_known=False,
        licence=TED_RESEARCH,
    ),
    "lrw": Layout(
        corpora.lrw,
        "<WORD>/{train,val,test}/<WORD>_<number>.mp4",
        speakers_known=False,
        licence=BBC_RESEARCH,
    ),
    "voxceleb2": Layout(
        corpora.voxceleb2,
        "{dev,test}/mp4/id<number>/<video>/<clip>.mp4 (audio in {dev,test}/aac/...m4a)",
        scan=lambda root: scan_files(root, VIDEO_SUFFIXES | AUDIO_SUFFIXES),
        licence=VOXCELEB_RESEARCH,
    ),
    "hdtf": Layout(corpora.hdtf, "{RD,WDA,WRA}_<speaker>_<number>.mp4", licence="CC-BY-4.0"),
    "grid": Layout(corpora.grid, "s<number>/<code>.mpg", licence="CC-BY-4.0"),
    "avspeech": Layout(
        avspeech.items,
        "avspeech_{train,test}.csv and videos named <YouTube id>[_<start>]",
        licence="CC-BY-4.0",
    ),
    "wav2lip": Layout(
        wav2lip.items, "<speaker>/<clip>/{0.jpg,1.jpg,...,audio.wav}", scan=wav2lip.scan
    ),
    "manifest": Layout(
        manifest.items, "a manifest.{csv,json,jsonl,parquet} with a column `video`, and its videos"
    ),
}
