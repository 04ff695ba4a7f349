"""Official split lists `{train,val,test,pretrain}.txt`, one clip per line, in many spellings.

A line is a clip's id or its file, with or without the extension, `main/`, the corpus' own folder
or an absolute path before it, with slashes of either kind. One more token may follow (LRS2's NF or
MV, a number of frames). Byte order marks, Windows line ends, decomposed letters (macOS) and, where
only one clip matches, the case of letters are ignored. A line that begins with "#" is a comment.
"""

from __future__ import annotations

import difflib
import functools
import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lipsync_core.corpus.filelists import FRAME_RANGE
from lipsync_core.corpus.layouts.items import SPLITS, Item, source_id, stem
from lipsync_core.corpus.layouts.scan import VIDEO_SUFFIXES, decode, encode
from lipsync_core.errors import LipsyncError

log = logging.getLogger(__name__)
LINE_END = re.compile(r"\r\n|\r|\n")  # no others: a clip's name may contain them
SUFFIX = re.compile("(" + "|".join(re.escape(s) for s in VIDEO_SUFFIXES) + r")$", re.IGNORECASE)
MIN_SIMILARITY = 0.5  # of names, 0..1, from which the nearest one is suggested
MAX_COMPARED = 20_000  # names: the comparison is slow


class ListLine(NamedTuple):
    """A line of a list. number: from 1 on. split: that of the list."""

    path: Path
    number: int
    text: str
    split: str


def read_lists(data_root: Path, folders: Iterable[str] = ("",)) -> list[ListLine]:
    """The lines of the lists in these folders (encoded) of the data root.

    The order is test, val, train, pretrain, which counts as train.

    Raises LipsyncError when a list is no text in UTF-8 (or UTF-16 with its mark).
    """
    lines = []
    for name in (*reversed(SPLITS), "pretrain"):
        for folder in sorted(folders):
            path = data_root / decode(folder) / f"{name}.txt"
            if path.is_file():
                split = "train" if name == "pretrain" else name
                lines += [
                    ListLine(path, number, text, split)
                    for number, text in enumerate(LINE_END.split(_text(path)), start=1)
                    if text.strip()
                ]
    return lines


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # PowerShell's and Notepad's "Unicode"
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="surrogateescape")


def official_splits(
    lines: Sequence[ListLine],
    items: Collection[Item],
    data_root: Path,
    others: Collection[Item] = (),
    partial: bool = False,
) -> dict[Item, str]:
    """The split that the lists give to items; of several, the first line's.

    Parameters
    ----------
    items: the clips of the corpus. others: clips that may be listed, too, to no effect.
    partial: the lists may name clips that are missing; they are counted in the log.

    Raises LipsyncError when a line names no clip, with the line and the nearest name; with
    `partial` only when no line names any.
    """
    if not lines:
        return {}
    names = _NameIndex([*items, *others], data_root)
    chosen: dict[Item, str] = {}
    wrong: list[ListLine] = []
    twice: list[ListLine] = []
    for line in lines:
        named = names.find(line)
        if not named and not line.text.lstrip().startswith("#"):
            wrong.append(line)
        if any(chosen.setdefault(item, line.split) != line.split for item in named):
            twice.append(line)
    if wrong and not (partial and chosen):
        raise LipsyncError(_error_message(wrong, names, len(lines)))
    if wrong:
        log.warning(
            "%d of %d lines of the lists name clips that are missing, first %s",
            *(len(wrong), len(lines), _position(wrong[0])),
        )
    if twice:
        log.warning(
            "%d lines name clips that another list names, too (test wins, then val), first %s",
            *(len(twice), _position(twice[0])),
        )
    return {item: chosen[item] for item in items if item in chosen}


def _position(line: ListLine) -> str:
    return f"{line.path}, line {line.number}: {line.text.strip()!r}"


def _error_message(wrong: Sequence[ListLine], names: _NameIndex, total: int) -> str:
    """The error for lines that name no clip, with a suggestion for the first one."""
    line = wrong[0]
    text = f"{_position(line)} names no clip"
    head, _, token = line.text.strip().rpartition("\t")
    if FRAME_RANGE.fullmatch(token):
        text += f"; frames cannot be listed, only whole clips: write {head.strip()!r} alone"
    elif near := names.nearest(line):
        text += f"; the nearest is {near!r}"
    if len(wrong) > 1:
        text += f" ({len(wrong)} of {total} lines are like this)"
    return (
        f"{text}. Correct or remove the line; where only a part of a listed corpus is present, set "
        "`split.partial_lists: true`"
    )


def _normalize(name: str) -> str:
    """A name in the normal form in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _group_by(items: Iterable[Item], name: Callable[[Item], str]) -> dict[str, list[Item]]:
    table: dict[str, list[Item]] = {}
    for item in items:
        table.setdefault(_normalize(name(item)), []).append(item)
    return table


class _NameIndex:
    """The clips by all names that a line may use."""

    def __init__(self, items: Sequence[Item], data_root: Path) -> None:
        home = data_root.absolute()
        self.heads = [_normalize(head) for head in (str(home), home.name, "main") if head]
        self.ids = [item.id for item in items]
        self.by_id = _group_by(items, lambda item: item.id)
        self.items = items

    @functools.cached_property
    def tables(self) -> Sequence[dict[str, list[Item]]]:
        """Whole ids before paths before paths without an extension: names may hold dots."""
        paths = _group_by(self.items, lambda item: item.path)
        return self.by_id, paths, _group_by(self.items, lambda item: stem(item.path))

    @functools.cached_property
    def folded(self) -> dict[str, set[Item]]:
        """As `tables`, in lower case."""
        found: dict[str, set[Item]] = {}
        for table in self.tables:
            for name, items in table.items():
                found.setdefault(name.casefold(), set()).update(items)
        return found

    def find(self, line: ListLine) -> Collection[Item]:
        """The items that a line names: one, or those of one name in several formats."""
        if line.path.stem != "pretrain" and (found := self.by_id.get(_normalize(line.text))):
            return found  # the fast path for most lines
        for reading in self._readings(line):
            for table in self.tables:
                if reading in table:
                    return table[reading]
        for reading in self._readings(line):
            if len(found := self.folded.get(reading.casefold(), ())) == 1:
                return found
        return ()

    def nearest(self, line: ListLine) -> str:
        """The id that is most similar to a line, "" where none is."""
        name = next(self._readings(line._replace(text=SUFFIX.sub("", line.text.strip()))))
        speaker = name.rpartition("/")[0]
        close = [clip for clip in self.ids if speaker and clip.startswith(f"{speaker}/")]
        for ids in (close, self.ids):
            found = difflib.get_close_matches(name, ids[:MAX_COMPARED], 1, MIN_SIMILARITY)
            if found:
                return found[0]
        return ""

    def _readings(self, line: ListLine) -> Iterator[str]:
        """The names that a line may mean, the most literal first."""
        texts = [line.text, line.text.strip()]
        head, _, token = texts[1].rpartition("\t" if "\t" in texts[1] else " ")
        if head.strip() and not SUFFIX.search(token) and not FRAME_RANGE.fullmatch(token):
            texts.append(head.strip())
        for text in dict.fromkeys(texts):
            for slashed in dict.fromkeys((text, text.replace("\\", "/"))):
                for name in self._without_prefixes(_normalize(slashed).removeprefix("./")):
                    for short in dict.fromkeys((name, SUFFIX.sub("", name))):
                        if line.path.stem == "pretrain":  # whose clips may be named alike in main/
                            folder, _, clip = short.rpartition("/")
                            yield from (f"{folder}/pretrain/{clip}", f"pretrain/{short}")
                        yield from dict.fromkeys((short, encode(short), source_id(short)))

    def _without_prefixes(self, name: str) -> Iterator[str]:
        """The name, then the name without the corpus' folder, then without main/."""
        yield name
        for head in self.heads:
            if name.startswith(f"{head}/"):
                name = name[len(head) + 1 :]
                yield name
