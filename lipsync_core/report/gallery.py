"""Images and videos of the page as data URIs: crops, samples of the generators, dubbed videos."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.errors import ClipError
from lipsync_core.media.video import probe, read_frames
from lipsync_core.report import side_by_side
from lipsync_core.report.blocks import duration
from lipsync_core.report.corpus import by_split
from lipsync_core.runtime.tables import Row

log = logging.getLogger(__name__)
MAX_CLIPS, FRAMES_PER_CLIP, SIDE = 24, 4, 112
MAX_SAMPLE_BYTES = 3_000_000
VIDEO_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}


@dataclass(frozen=True)
class Image:
    """An image with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Strip(Image):
    """Crops of one clip side by side: `shown` of `total`."""

    clip: str
    shown: int
    total: int


@dataclass(frozen=True)
class Video:
    """A dubbed video. uri: its content, "" if it is too large; link: its path relative to the page.

    poster: its first frame, which browsers show before it plays. missing: why there is no video.
    beside: the dubbing beside its source, "" where that is a still picture.
    """

    name: str
    face: str
    audio: str
    checkpoint: str
    link: str = ""
    uri: str = ""
    poster: str = ""
    facts: str = ""
    missing: str = ""
    beside: str = ""


def data_uri(content: bytes, kind: str) -> str:
    """`content` as a base64 data URI of media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def pick_clips(clips: Sequence[Row]) -> list[Row]:
    """At most 24 kept clips, in turn from each split and, within it, from each speaker."""
    queues = []
    for split in SPLITS:
        speakers: dict[str, list[Row]] = {}
        for row in sorted(by_split(clips), key=lambda row: row.get("clip", "")):
            if row["split"] == split:
                speakers.setdefault(row.get("speaker", ""), []).append(row)
        queues.append(_in_turn(list(speakers.values())))
    return _in_turn(queues)[:MAX_CLIPS]


def _in_turn(queues: Sequence[Sequence[Row]]) -> list[Row]:
    return [row for rank in zip_longest(*queues) for row in rank if row is not None]


def contact_sheet(results: Path, clips: Sequence[Row]) -> dict[str, list[Strip]]:
    """Strips of crops by split, for up to 24 clips. Clips without readable crops are left out."""
    sheet: dict[str, list[Strip]] = {split: [] for split in SPLITS}
    for row in pick_clips(clips):
        strip = crop_strip(results / "faces" / f"{row['clip']}.zip", row["clip"])
        if strip is not None:
            sheet[row["split"]].append(strip)
    return {
        split: sorted(strips, key=lambda strip: strip.clip)
        for split, strips in sheet.items()
        if strips
    }


def crop_strip(path: Path, clip: str) -> Strip | None:
    """Four evenly spaced crops of a clip, each resized to 112 x 112 pixels."""
    try:
        with zipfile.ZipFile(path) as archive:
            stems = (name.removesuffix(".jpg") for name in archive.namelist())
            frames = sorted(int(stem) for stem in stems if stem.isdecimal())
            wanted = min(FRAMES_PER_CLIP, len(frames))
            chosen = [frames[int((k + 0.5) * len(frames) / wanted)] for k in range(wanted)]
            tiles = [_tile(archive.read(f"{frame}.jpg")) for frame in chosen]
    except (OSError, zipfile.BadZipFile, cv2.error) as error:
        log.warning("%s: left out of the contact sheet: %s", path, error)
        return None
    if not tiles:
        return None
    sheet = np.concatenate(tiles, axis=1)
    uri = data_uri(_encode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 82]), "image/jpeg")
    return Strip(uri, sheet.shape[1], sheet.shape[0], clip, len(tiles), len(frames))


def _tile(content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise zipfile.BadZipFile("a member is no JPEG")
    shrinks = min(image.shape[:2]) > SIDE
    return cv2.resize(
        image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )


def _encode(suffix: str, image: np.ndarray, options: Sequence[int] = ()) -> bytes:
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def sample_image(path: Path) -> Image | None:
    """An image file as it is, or as JPEG if it is over 3 MB; None if there is none."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        log.warning("%s: not an image; left out of the report", path)
        return None
    height, width = image.shape[:2]
    if len(content) <= MAX_SAMPLE_BYTES:
        return Image(data_uri(content, "image/png"), width, height)
    small = _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return Image(data_uri(small, "image/jpeg"), width, height)


def videos(
    dubs: Sequence[Mapping[str, object]],
    results: Path,
    page: Path,
    limit_bytes: int,
    data_root: Path = Path(),
) -> list[Video]:
    """The dubbed videos, embedded in order while they fit in `limit_bytes` together.

    data_root: where the faces that the pipeline chose lie, for the comparison with the source.
    """
    left, found = limit_bytes, []
    for dub in dubs:
        output = results / str(dub["output"])
        if not output.is_file() and Path(str(dub["output"])).is_file():
            output = Path(str(dub["output"]))
        names = {key: _source(dub.get(key)) for key in ("face", "audio", "checkpoint")}
        if not output.is_file():
            missing = f"There is no {dub['output']}: the dubbing was not run."
            found.append(Video(output.name, **names, missing=missing))
            continue
        size, kind = output.stat().st_size, VIDEO_TYPES.get(output.suffix.lower())
        uri = poster = ""
        if kind and size <= left:
            uri, left = data_uri(output.read_bytes(), kind), left - size
            poster = _poster(output)
        beside = side_by_side.beside(dub, output, results, data_root)
        if len(beside) > left:
            beside = b""
        left -= len(beside)
        link = quote(Path(os.path.relpath(output, page.parent)).as_posix())
        # A first component with a colon would read as a URL scheme.
        link = link if link.startswith(".") else f"./{link}"
        shown = {"uri": uri, "poster": poster, "facts": _facts(output)}
        shown["beside"] = data_uri(beside, "video/mp4") if beside else ""
        found.append(Video(output.name, **names, link=link, **shown))
    return found


def _poster(path: Path) -> str:
    """The first frame of a video as a data URI; "" if it cannot be read."""
    try:
        with contextlib.closing(read_frames(path)) as frames:
            return data_uri(_encode(".jpg", next(frames)), "image/jpeg")
    except ClipError:  # reported by `_facts`
        return ""


def _source(value: object) -> str:
    return "chosen by the pipeline (auto)" if value == "auto" else str(value or "")


def _facts(path: Path) -> str:
    megabytes = f"{path.stat().st_size / 1e6:.1f} MB"
    try:
        found = probe(path)
    except ClipError as error:
        log.warning("%s", error)
        return f"{megabytes}, not readable as a video"
    audio = "with audio" if found.has_audio else "without audio"
    shape = f"{found.width} by {found.height} pixels, {float(found.fps):.4g} frames a second"
    return f"{duration(found.seconds)}, {shape}, {audio}, {megabytes}"
