"""Lines of `results/filelists/{train,val,test}.txt`.

A line is a clip id. A tab and `<first>-<last>` may follow: of this clip only those frames (25 a
second, both included) belong to the split. In a clip whose audio-visual offset is corrected,
another tab and the shift of its audio in samples follow, such as `+1920`. Light.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

SAMPLES_A_FRAME = 640  # 16 kHz, 25 frames a second
FRAME_RANGE = re.compile(r"(\d+)-(\d+)")
TOKENS = re.compile(r"(\d+)-(\d+)(?:\t([+-]\d+))?")  # what may follow a clip id and a tab


class ListedClip(NamedTuple):
    """A clip in a list.

    first, last: the frames that are in the split; None for all of them. audio_shift: samples at
    16 kHz by which the audio is delayed (below 0: advanced) to be in sync; only with a range.
    """

    id: str
    first: int | None = None
    last: int | None = None
    audio_shift: int = 0

    def shifted(self, offset: int, frames: int) -> ListedClip:
        """This clip with its audio shifted to be in sync, without the frames that lose their audio.

        offset: frames by which its video is late (below 0: early). frames: of the clip's video.
        """
        if not offset:
            return self
        first = max(self.first or 0, offset)
        last = frames - 1 if self.last is None else self.last
        return ListedClip(self.id, first, last, offset * SAMPLES_A_FRAME)

    def __str__(self) -> str:
        """The line; ids have no tabs (`scan.encode`), so `parse_line` is exact."""
        if self.first is None:
            return self.id
        shift = f"\t{self.audio_shift:+d}" if self.audio_shift else ""
        return f"{self.id}\t{self.frame_range}{shift}"

    @property
    def frame_range(self) -> str:
        """ "first-last", or "" for the whole clip."""
        return "" if self.first is None else f"{self.first}-{self.last}"


def speaker_of(clip: str) -> str:
    """The first part of a clip's id: its speaker or, in some layouts, its group."""
    return clip.partition("/")[0]


def parse_line(line: str) -> ListedClip:
    """Parse a line that this pipeline wrote."""
    clip, _, token = line.partition("\t")
    return _listed(clip, token)


def _listed(clip: str, token: str) -> ListedClip:
    found = TOKENS.fullmatch(token)
    if not found:
        return ListedClip(clip)
    return ListedClip(clip, int(found[1]), int(found[2]), int(found[3] or 0))


def read_line(line: str, is_clip: Callable[[str], bool]) -> ListedClip:
    """A line that was edited by hand: spaces around it, a space for the tab, a second token.

    A second token that is no range of frames (LRS2's NF or MV) is dropped. is_clip: whether a text
    is an id. A line that names no clip is returned unchanged.
    """
    stripped = line.strip()
    for name in (line, stripped):
        if name and is_clip(name):
            return ListedClip(name)
    tabbed, spaced = line.partition("\t")[::2], stripped.rpartition(" ")[::2]
    for name, token in (tabbed, spaced, (spaced[0].strip(), spaced[1])):
        if name and is_clip(name):
            return _listed(name, token.strip())
    return ListedClip(stripped)
