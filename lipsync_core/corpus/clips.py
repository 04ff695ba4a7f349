"""Discovery of the clips: their ids, signatures and shards. Light: the Snakefile imports it.

A clip's id is `<speaker>/<clip>`, formed by the corpus' layout (`lipsync_core.corpus.layouts`) from
its path below the data root, without the extension. Characters that would break a table or a list
of lines (control characters, bytes that are not UTF-8) are percent-encoded, so any file name works
and no two names collide.

One video may give several clips, one a person (`track.select: all`): the largest track keeps the
video's own id, the others are `<id>+1`, `<id>+2`. A file whose own name ends like that is encoded.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lipsync_core.corpus.filelists import speaker_of
from lipsync_core.corpus.layouts import LAYOUTS, Item, wav2lip
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.corpus.layouts.lists import official_splits, read_lists
from lipsync_core.corpus.layouts.scan import VIDEO_SUFFIXES, decode, encode, suffix_of
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import digest, file_sha

log = logging.getLogger(__name__)
MAX_NAME_BYTES = 200  # of a part of an id: file systems allow 255, with our suffixes


class Clip(NamedTuple):
    """One clip of the corpus.

    id: `<speaker>/<clip>`; speaker: its first part; shard: 0 .. shards - 1, see `shard_of`;
    signature: changes whenever what it is made from may have changed;
    stamp: size and modification time of its files;
    path, audio, split, segment, face_hint: see `Item`;
    origin: the whole video when `path` is a segment of it (`lipsync_core.preparation.segments`);
    corpus, root: name and folder (encoded) of its corpus where there are several, else "";
    licence, metadata: see `Item`.
    """

    id: str
    speaker: str
    shard: int
    signature: str
    stamp: str
    path: str
    audio: str = ""
    split: str = ""
    segment: str = ""
    face_hint: str = ""
    origin: str = ""
    corpus: str = ""
    root: str = ""
    licence: str = ""
    metadata: str = ""

    def source(self, data_root: Path) -> Path:
        """The video file, or the folder of its face crops."""
        return self.corpus_root(data_root) / decode(self.path)

    def corpus_root(self, data_root: Path) -> Path:
        """The folder of its corpus: its own, or else `data_root`, that of the only one."""
        return Path(decode(self.root)) if self.root else data_root

    def audio_source(self, data_root: Path) -> Path:
        """The file that holds the audio: the video itself, or a file of its own."""
        return self.corpus_root(data_root) / decode(self.audio or self.path)

    def portrait(self, data_root: Path) -> Path:
        """A file that shows the face: the video, or the first crop of a folder."""
        source = self.source(data_root)
        return next(iter(wav2lip.frames(source).values())) if source.is_dir() else source

    def origin_source(self, data_root: Path) -> Path:
        """The user's video file."""
        return self.corpus_root(data_root) / decode(self.origin or self.path)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Start and end in seconds when the clip is a part of its video, else None."""
        start, dash, end = self.segment.partition("-")
        return (float(start), float(end)) if dash else None


def shard_of(clip_id: str, shards: int) -> int:
    """The shard of a clip, 0 .. shards - 1; clips split off it (`<clip>+1`) have the same.

    It follows from the id alone: new data never moves old data, and the clips of one speaker are
    spread over all shards.
    """
    return zlib.crc32(source_id(clip_id).encode()) % shards


def discover(
    data_root: Path,
    shards: int,
    signature: str = "mtime",
    previous: Iterable[Clip] = (),
    demo: Mapping[str, str] = MappingProxyType({}),
    demo_splits: Mapping[str, str] = MappingProxyType({}),
    layout: str = "speaker_folders",
    segments: Path | None = None,
    ffmpeg: str = "",
    partial_lists: bool = False,
) -> list[Clip]:
    """Every clip below `data_root`, sorted by id.

    Parameters
    ----------
    data_root: the folder of the corpus; hidden files are ignored.
    shards: how many shards the clips are spread over.
    signature: "mtime" (size and modification time) or "content" (SHA-1 of the file).
    previous: the last index; a file that it has the content's hash of is not hashed again while
        its stamp stays.
    demo: path -> signature of the demo clips which are used when there is no other video; they
        are listed before they are written, with the signature that they will have.
    demo_splits: clip id -> split of the demo, until its own lists are written.
    layout: a key of `lipsync_core.corpus.layouts.LAYOUTS`.
    segments: folder for clips that are a part of a longer video.
    ffmpeg: identity of the program that extracts them; another one extracts them again.
    partial_lists: the lists may name clips that are missing, see `lists.official_splits`.

    Lists `{train,val,test}.txt` in the data root set the splits of the clips that they name.
    Raises LipsyncError when there is no clip at all, or none that fits the layout, or a list names
    a clip that is missing.
    """
    adapter = LAYOUTS[layout]
    files = adapter.scan(data_root)
    own = {path: stamp for path, stamp in files.items() if path not in demo}
    if not own and not demo:
        raise LipsyncError(
            f"data_root {str(data_root)!r} holds no video; put clips there as "
            f"<speaker>/<clip>.mp4 (or {' '.join(sorted(VIDEO_SUFFIXES - {'.mp4'}))}), "
            "or set `data_root` in config/config.yaml to the folder that holds them"
        )
    planned = {} if own else _demo_files(data_root, files, demo)
    items = list(adapter.items(own or planned, data_root))
    if own:
        _report_strays(items, own, layout, data_root)
        signed = _sign(items, own, data_root, signature == "content", previous)
    else:
        signed = [(item, planned[item.path], planned[item.path]) for item in items]
    lines = read_lists(data_root, adapter.list_folders(files))
    # The demo's lists stay in the data root when its clips are removed or replaced by others.
    also = list(adapter.items(demo, data_root)) if lines and demo else []
    splits = official_splits(lines, items, data_root, also, partial_lists)
    if not own and not splits:
        splits = {item: demo_splits.get(item.id, "") for item in items}
    clips = _clips(signed, shards, splits)
    if segments is None:
        return clips
    return [_as_segment(clip, data_root, segments, ffmpeg) for clip in clips]


def _sign(
    items: Iterable[Item],
    files: Mapping[str, str],
    data_root: Path,
    by_content: bool,
    previous: Iterable[Clip],
) -> list[tuple[Item, str, str]]:
    """Each item with its signature and its stamp; files: path -> stamp."""
    # An index of signatures by time gives each clip's stamp for its signature: no hash.
    hashes = {
        (clip.origin or clip.path, clip.audio, clip.stamp): mark
        for clip in previous
        if (mark := clip.signature.partition("|")[0]) != clip.stamp
    }
    signed = []
    for item in items:
        mark = stamp = files[item.path] + (f"+{files[item.audio]}" if item.audio else "")
        if by_content:
            key = (item.path, item.audio, stamp)
            if key not in hashes:  # several clips may be parts of one video
                hashes[key] = _content(data_root, item)
            mark = hashes[key]
        extras = f"|{item.segment}|{item.face_hint}" if item.segment or item.face_hint else ""
        signed.append((item, mark + extras, stamp))
    return signed


def _as_segment(clip: Clip, data_root: Path, segments: Path, ffmpeg: str) -> Clip:
    """A segment of a video is read from a file of its own, named after what it is cut from."""
    if not clip.segment:
        return clip
    target = segments / f"{clip.id}.{digest([clip.signature, ffmpeg])[:8]}.mkv"
    # Both resolved: ".." in a path leads out of the folder that a link stands for.
    path = os.path.relpath(target.resolve(), data_root.resolve())
    return clip._replace(path=encode(Path(path).as_posix()), origin=clip.path)


def _report_strays(
    items: Sequence[Item], files: Mapping[str, str], layout: str, data_root: Path
) -> None:
    """Warn of videos that do not fit the layout; raise LipsyncError when none fits."""
    shape = LAYOUTS[layout].shape
    if not items:
        raise LipsyncError(
            f"data_root {str(data_root)!r}: nothing in it (such as {min(files)!r}) fits layout "
            f"{layout}, {shape}; set `layout` in config/config.yaml to the layout of your corpus"
        )
    used = {name for item in items for name in (item.path, item.audio)}
    strays = sorted(path for path in files.keys() - used if suffix_of(path) in VIDEO_SUFFIXES)
    if strays:
        log.warning(
            "%d videos do not fit layout %s (%s) and are left out, first %s",
            *(len(strays), layout, shape, strays[:3]),
        )


def _content(data_root: Path, item: Item) -> str:
    """SHA-1 of the video (or of all crops of a folder), and of its audio file if it has one."""
    source = data_root / decode(item.path)
    if source.is_dir():
        parts = [[frame, file_sha(path, "sha1")] for frame, path in wav2lip.frames(source).items()]
        mark = digest(parts)
    else:
        mark = file_sha(source, "sha1")
    return f"{mark}+{file_sha(data_root / decode(item.audio), 'sha1')}" if item.audio else mark


def _demo_files(
    data_root: Path, found: Mapping[str, str], demo: Mapping[str, str]
) -> dict[str, str]:
    """Signature of each demo clip: the planned one, or the file's own once it was edited."""
    written = demo_manifest(data_root)
    return {
        path: signature if not written or found[path] == written.get(path) else found[path]
        for path, signature in demo.items()
        if path in found or not written  # written once and missing now: the user removed it
    }


def demo_manifest(data_root: Path) -> dict[str, str]:
    """Path -> stamp of the demo clips as they were written; empty before the demo is written."""
    manifest = data_root / "demo.json"
    if not manifest.is_file():
        return {}
    written = json.loads(manifest.read_text(encoding="utf-8"))["clips"]
    return {
        f"main/{clip}.mp4": f"{entry['size']}-{entry['mtime_ns']}"
        for clip, entry in written.items()
    }


def _clips(
    signed: Sequence[tuple[Item, str, str]], shards: int, splits: Mapping[Item, str]
) -> list[Clip]:
    """Clips with unique ids: equal names keep their extension, or their path."""
    wanted = Counter(item.id for item, _, _ in signed)
    suffixed = Counter(_suffixed(item) for item, _, _ in signed if wanted[item.id] > 1)
    clips = []
    for item, signature, stamp in signed:
        clip_id = item.id
        if wanted[clip_id] > 1:
            clip_id = _suffixed(item)
            if suffixed[clip_id] > 1:
                clip_id = f"{item.id.partition('/')[0]}/{item.path}"
        clip_id = "/".join(map(_shorten, clip_id.split("/")))
        speaker, shard = speaker_of(clip_id), shard_of(clip_id, shards)
        split = splits.get(item, item.split)
        own = (item.path, item.audio, split, item.segment, item.face_hint)
        further = {"licence": item.licence, "metadata": item.metadata}
        clips.append(Clip(clip_id, speaker, shard, signature, stamp, *own, **further))
    clips.sort()
    for one, other in itertools.pairwise(clips):
        if one.id == other.id:
            raise LipsyncError(
                f"{one.path} and {other.path} would both be clip {one.id!r}; rename one of them"
            )
    return clips


def _suffixed(item: Item) -> str:
    name = item.path.rpartition("/")[2]
    return f"{item.id}{name[name.rfind('.') :]}" if "." in name[1:] else item.id


def _shorten(name: str) -> str:
    """A name too long for a file name with our suffixes is cut and gets a digest at its end."""
    # A character has 4 bytes at most: most names need no encoding.
    if len(name) <= MAX_NAME_BYTES // 4 or len(data := name.encode()) <= MAX_NAME_BYTES:
        return name
    token = hashlib.sha1(data).hexdigest()[:12]
    return data[: MAX_NAME_BYTES - 16].decode(errors="ignore") + "~" + token


def by_shard(clips: Iterable[Clip]) -> dict[int, list[Clip]]:
    """Clips of each shard that has any, shards in order."""
    shards: dict[int, list[Clip]] = {}
    for clip in clips:
        shards.setdefault(clip.shard, []).append(clip)
    return dict(sorted(shards.items()))


def members_digest(clips: Iterable[Clip]) -> str:
    """Changes when a clip of the shard is added, removed, renamed or edited; not with its split."""
    return digest([[clip.id, clip.signature, clip.root, clip.path, clip.audio] for clip in clips])


def splits_digest(clips: Iterable[Clip]) -> str:
    """Changes when a clip's official split does."""
    return digest([[clip.id, clip.split] for clip in clips if clip.split])


def labels_digest(clips: Iterable[Clip]) -> str:
    """Changes when a clip's licence or its metadata does."""
    return digest([[clip.id, clip.licence, clip.metadata] for clip in clips])
