"""Manifests: a table with a row a clip, as CSV, JSON, JSON Lines or parquet. Light.

The manifest is `manifest.<ext>` in the data root or, without one, every table in it. Only `video`
is needed; `start` and `end` (seconds, or h:m:s) cut a part out of it, `speaker`, `clip`, `split`
and `licence` are what they say, and every other column travels into clips.csv as `meta_<name>`.
Nested JSON is flattened: TalkVid's `info.Person ID` is the speaker, `info.Language` becomes
meta_language. TalkVid's videos are found by its `id` (a clip that is cut already) or by the YouTube
id in `info.Video Link`.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lipsync_core.corpus.layouts.items import SPLITS, TRAINVAL, Item, stem
from lipsync_core.corpus.layouts.scan import encode
from lipsync_core.errors import LipsyncError

log = logging.getLogger(__name__)
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
# Our name of a column -> what manifests call it, in small letters with "_" for other characters.
NAMES = {
    "video": ("video", "video_path", "path", "file", "filename", "file_name"),
    "start": ("start", "start_time", "begin"),
    "end": ("end", "end_time"),
    "speaker": ("speaker", "speaker_id", "person_id", "identity"),
    "clip": ("clip", "clip_id", "id"),
    "split": ("split", "subset"),
    "licence": ("licence", "license"),
}
SPLIT_NAMES = dict(zip((*SPLITS, TRAINVAL), (*SPLITS, TRAINVAL), strict=True)) | {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "dev": "val",
    "testing": "test",
    "": "",
}
YOUTUBE_LINK = ("video_link", "url", "youtube_id", "ytid")
YOUTUBE_ID = re.compile(r"(?:^|v=|youtu\.be/|/shorts/)([A-Za-z0-9_-]{11})(?:$|[&?#/])")
CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")


class Row(NamedTuple):
    """A row of a manifest. place: file and number, for messages; cells: name -> text."""

    place: str
    cells: dict[str, str]


def items(files: Mapping[str, str], data_root: Path) -> Iterator[Item]:
    """The clips of all rows that have a video; how many have none is logged.

    Raises LipsyncError, naming the file and the row, for a manifest that cannot be read, a row
    without a video, with a split, a start or an end that means nothing, or outside the data root.
    """
    by_stem: dict[str, str] = {}
    for path in files:
        by_stem.setdefault(stem(path.rpartition("/")[2]), path)
    seen: set[Item] = set()
    missing: list[Row] = []
    repeated: list[Row] = []
    for manifest in _manifests(data_root):
        for row in _rows(manifest):
            item = _item(row, manifest, data_root, files, by_stem)
            if item is None:
                missing.append(row)
            elif item in seen:
                repeated.append(row)
            else:
                seen.add(item)
                yield item
    total = len(seen) + len(missing) + len(repeated)
    for rows, what in ((missing, "have no video"), (repeated, "repeat another one")):
        if rows:
            log.warning("%d of %d rows %s, first %s", len(rows), total, what, rows[0].place)


def _manifests(data_root: Path) -> list[Path]:
    tables = [
        path
        for path in sorted(data_root.glob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    named = [path for path in tables if path.stem.lower() == "manifest"]
    if not tables:
        raise LipsyncError(
            f"layout manifest: no table in {str(data_root)!r}; put manifest.csv (or .json, .jsonl, "
            ".parquet) with a column `video` there"
        )
    return named or tables


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a manifest, their columns named as in `NAMES` or "meta_..."."""
    unit = "line" if path.suffix.lower() in (".csv", ".jsonl") else "entry"
    for number, raw in _read(path):
        place = f"{path}, {unit} {number}"
        if not isinstance(raw, Mapping):
            raise LipsyncError(f"{place}: wanted an object with a key `video`, got {raw!r:.80}")
        cells: dict[str, str] = {}
        for key, value in _flat(raw):
            name = _column(key)
            if cells.get(name) and value and cells[name] != value:
                raise LipsyncError(
                    f"{place}: two columns mean {name!r}, one of them {key!r}; rename one"
                )
            cells[name] = cells.get(name) or value
        yield Row(place, cells)


def _read(path: Path) -> Iterator[tuple[int, Any]]:
    """Each row of a file with its line or number, from 1 on."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            from pyarrow import parquet  # slow import, for those who have such a file

            yield from enumerate(parquet.read_table(path).to_pylist(), start=1)
            return
        with open(path, newline="", encoding="utf-8-sig") as stream:
            if suffix == ".csv":
                reader = csv.DictReader(stream, restval="")
                for row in reader:
                    if None in row:
                        raise LipsyncError(
                            f"{path}, line {reader.line_num}: it has more cells than the header"
                        )
                    yield reader.line_num, row
            elif suffix == ".jsonl":
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        yield number, json.loads(line)
            else:
                yield from enumerate(_entries(json.load(stream), path), start=1)
    except (
        ValueError,
        csv.Error,
        OSError,
    ) as error:  # of JSON, UTF-8, Arrow
        raise LipsyncError(f"{path}: cannot be read as {suffix[1:]} ({error})") from error


def _entries(content: Any, path: Path) -> list[Any]:
    """The list in a JSON file: the whole content, or the only list in an object."""
    lists = [content] if isinstance(content, list) else []
    if isinstance(content, Mapping):
        lists = [value for value in content.values() if isinstance(value, list)]
    if len(lists) != 1:
        raise LipsyncError(f"{path}: wanted a list of objects, one a clip")
    return lists[0]


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Key -> text of all values, nested ones as "outer.inner"; lists as JSON."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", json.dumps(value)
        else:
            text = "" if value is None or value != value else str(value)
            yield f"{prefix}{key}", text.strip()


def _column(key: str) -> str:
    """Our name of a manifest's column."""
    name = re.sub(r"[^0-9a-z]+", "_", key.lower().removeprefix("info.")).strip("_")
    return next((own for own, others in NAMES.items() if name in others), f"meta_{name}")


def _item(
    row: Row, manifest: Path, data_root: Path, files: Mapping[str, str], by_stem: Mapping[str, str]
) -> Item | None:
    """The clip of a row; None where its video is missing."""
    cells = row.cells
    video, whole = _video(row, manifest, data_root, by_stem)
    segment = _segment(row) if whole else ""
    if cells.get("split", "").lower() not in SPLIT_NAMES:
        allowed = ", ".join(filter(None, SPLIT_NAMES))
        raise LipsyncError(f"{row.place}: split {cells['split']!r} is none of {allowed}")
    if video not in files:
        return None
    folder, _, name = video.rpartition("/")
    speaker = _part(cells.get("speaker", "")) or folder.removeprefix("main/").rpartition("/")[2]
    clip = _part(cells.get("clip", "")) or stem(name) + (f"@{segment}" if segment else "")
    metadata = {key: value for key, value in cells.items() if key.startswith("meta_")}
    return Item(
        f"{speaker or stem(name)}/{clip}",
        video,
        split=SPLIT_NAMES[cells.get("split", "").lower()],
        segment=segment,
        licence=cells.get("licence", ""),
        metadata=json.dumps(metadata, sort_keys=True) if metadata else "",
    )


def _video(
    row: Row, manifest: Path, data_root: Path, by_stem: Mapping[str, str]
) -> tuple[str, bool]:
    """The encoded path of a row's video, and whether start and end are times in it."""
    cells = row.cells
    if cells.get("video"):
        path = os.path.normpath(manifest.parent.absolute() / cells["video"])
        inside = os.path.relpath(path, data_root.absolute())
        if inside.startswith(".."):
            raise LipsyncError(
                f"{row.place}: {cells['video']!r} is outside of {str(data_root)!r}; put the video "
                "(or a link to it) there, or set data_root to a folder above"
            )
        return encode(Path(inside).as_posix()), True
    if cells.get("clip") and (found := by_stem.get(encode(cells["clip"]))):
        return found, False  # cut already
    for name in YOUTUBE_LINK:
        if match := YOUTUBE_ID.search(cells.get(f"meta_{name}", "")):
            return by_stem.get(match[1], match[1]), True
    if cells.get("clip"):
        return cells["clip"], False
    raise LipsyncError(f"{row.place}: it names no video; give a column `video`")


def _segment(row: Row) -> str:
    """ "start-end" in seconds, or "" for the whole video."""
    texts = [row.cells.get(name, "") for name in ("start", "end")]
    if not any(texts):
        return ""
    start, end = (_seconds(text) for text in texts)
    if not (0 <= start < end < math.inf):  # false for NaN, too
        raise LipsyncError(
            f"{row.place}: start {texts[0]!r} and end {texts[1]!r}: wanted seconds (or h:m:s), the "
            "start before the end; leave both empty for the whole video"
        )
    return "-".join(f"{time:.6f}".rstrip("0").rstrip(".") for time in (start, end))


def _seconds(text: str) -> float:
    if match := CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups("0")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    try:
        return float(text)
    except ValueError:
        return math.nan


def _part(name: str) -> str:
    """A name as one part of an id: without slashes, and no hidden or parent folder."""
    name = encode(name).replace("/", "%2F")
    return f"%2E{name[1:]}" if name.startswith(".") else name
