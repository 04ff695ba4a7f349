"""Which clips there are: discovery, names, signatures, shards. Light: the Snakefile imports it.

A clip's id is `<speaker>/<clip>`: its path below the data root (below `main/` where there is one),
without the extension. Characters that would break a table or a list of lines (control characters,
bytes that are not UTF-8) are percent-encoded, so any file name works and no two names collide.

One video may give several clips, one a person (`track.choice: all`): the largest track keeps the
video's own id, the others are `<id>+1`, `<id>+2`. A file whose own name ends like that is encoded.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from lipsync_core.errors import LipsyncError
from lipsync_core.files import digest, file_sha, write_text_if_changed

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .avi .webm .mpg .mpeg .ts .mts .m2ts .flv .wmv .3gp .ogv .vob".split()
)


_PART = re.compile(r"\+\d+$")  # the end of the id of a further track
_LIKE_PART = re.compile(r"\+(?=\d+(\.[^./]*)?$)")


@dataclass(frozen=True)
class Clip:
    """One video of the corpus.

    id: `<speaker>/<clip>`; speaker: its first part; shard: 0 .. shards - 1;
    signature: changes whenever the file's content may have changed;
    stamp: size and modification time; path: percent-encoded, relative to the data root.
    """

    id: str
    speaker: str
    shard: int
    signature: str
    stamp: str
    path: str

    def source(self, data_root: Path) -> Path:
        """The video file."""
        return _decode(data_root, self.path)

    def artefact(self, folder: Path, suffix: str) -> Path:
        """Where a stage keeps this clip's file below its `folder`."""
        return folder / f"{self.id}{suffix}"


def encode(name: str) -> str:
    """`name` with control characters, undecodable bytes and "%" written as %XX.

    So is a "+" before digits at the end (of the stem), which marks the tracks of one video.
    """
    escaped = "".join(
        character
        if character.isprintable() and character != "%"
        else urllib.parse.quote_from_bytes(os.fsencode(character), safe="")
        for character in name
    )
    return _LIKE_PART.sub("%2B", escaped)


def part_id(clip_id: str, number: int) -> str:
    """The id of a video's track `number`; 0 is the largest track, which keeps the video's id."""
    return f"{clip_id}+{number}" if number else clip_id


def source_id(clip_id: str) -> str:
    """The id of the video that a clip comes from, and whose sound it shares."""
    return _PART.sub("", clip_id)


def shard_of(speaker: str, shards: int) -> int:
    """The shard of a speaker: depends on nothing else, so new data never moves old data."""
    return zlib.crc32(speaker.encode()) % shards


def discover(
    data_root: Path,
    shards: int,
    signature: str = "mtime",
    previous: Iterable[Clip] = (),
    demo: Mapping[str, str] = MappingProxyType({}),
) -> list[Clip]:
    """Every video below `data_root`, sorted by id.

    Parameters
    ----------
    data_root: folder of videos, in any depth; hidden files are passed over.
    shards: how many shards the speakers are spread over.
    signature: "mtime" (size and modification time) or "content" (SHA-1 of the file).
    previous: the last index; an unchanged file is not hashed again.
    demo: path -> signature of the demo clips which stand in when there is no other video; they
        are listed before they are made, with the signature that they will have.

    Raises LipsyncError when there is no video at all.
    """
    hashes = {(clip.path, clip.stamp): clip.signature for clip in previous}
    found = {encode(path): _stamp(stat) for path, stat in _scan(data_root)}
    own = {path: stamp for path, stamp in found.items() if path not in demo}
    if not own and demo:
        return _named(_demo_files(data_root, found, demo), shards)
    if not own:
        raise LipsyncError(
            f"data_root {str(data_root)!r} holds no video; put clips there as "
            f"<speaker>/<clip>.mp4 (or {' '.join(sorted(VIDEO_SUFFIXES - {'.mp4'}))}), "
            "or set `data_root` in config/config.yaml to the folder that holds them"
        )
    if signature == "content":
        chosen = {
            path: (hashes.get((path, stamp)) or file_sha(_decode(data_root, path), "sha1"), stamp)
            for path, stamp in own.items()
        }
    else:
        chosen = {path: (stamp, stamp) for path, stamp in own.items()}
    return _named(chosen, shards)


def _demo_files(
    data_root: Path, found: Mapping[str, str], demo: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """(signature, stamp) of the demo's clips: planned, or the file's own once it was edited."""
    written = demo_manifest(data_root)
    return {
        path: (signature, signature)
        if not written or found.get(path) == written.get(path)
        else (found[path], found[path])
        for path, signature in demo.items()
        if path in found or not written  # made once and missing now: the user removed it
    }


def demo_manifest(data_root: Path) -> dict[str, str]:
    """Path -> stamp of the demo clips as they were written; empty before the demo is made."""
    manifest = data_root / "demo.json"
    if not manifest.is_file():
        return {}
    written = json.loads(manifest.read_text(encoding="utf-8"))["clips"]
    return {
        f"main/{clip}.mp4": f"{entry['size']}-{entry['mtime_ns']}"
        for clip, entry in written.items()
    }


def _scan(data_root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Relative POSIX paths and stats of all videos; symbolic links are followed, loops are not."""
    stack, seen = [("", data_root)], set()
    while stack:
        prefix, folder = stack.pop()
        try:
            real = os.path.realpath(folder)
            entries = list(os.scandir(folder)) if real not in seen else []
            seen.add(real)
        except FileNotFoundError:
            continue
        except NotADirectoryError as error:
            raise LipsyncError(f"data_root {str(data_root)!r} is a file, not a folder") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                stack.append((f"{prefix}{entry.name}/", Path(entry.path)))
            elif Path(entry.name).suffix.lower() in VIDEO_SUFFIXES and entry.is_file():
                yield prefix + entry.name, entry.stat()


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _decode(data_root: Path, path: str) -> Path:
    return data_root / os.fsdecode(urllib.parse.unquote_to_bytes(path))


def _named(chosen: Mapping[str, tuple[str, str]], shards: int) -> list[Clip]:
    """Clips from paths and signatures. Names that differ only in their extension keep it."""
    relative = {path: PurePosixPath(path.removeprefix("main/")) for path in chosen}
    # A video that lies in the data root itself is its own speaker.
    relative = {
        path: name if len(name.parts) > 1 else PurePosixPath(name.stem, name.name)
        for path, name in relative.items()
    }
    stems = Counter(str(name.with_suffix("")) for name in relative.values())
    clips = []
    for path, name in relative.items():
        stem = str(name.with_suffix(""))
        clip_id = stem if stems[stem] == 1 else str(name)
        speaker = name.parts[0]
        clips.append(Clip(clip_id, speaker, shard_of(speaker, shards), *chosen[path], path))
    return sorted(clips, key=lambda clip: clip.id)


def write_index(path: Path, clips: Iterable[Clip]) -> bool:
    """Write the index as TSV unless it is there with the same text already."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(field.name for field in fields(Clip))
    writer.writerows(astuple(clip) for clip in clips)
    return write_text_if_changed(path, text.getvalue())


def read_index(path: Path) -> list[Clip]:
    """The clips of an index written by `write_index`; empty when there is none."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream, delimiter="\t"))[1:]
    return [Clip(row[0], row[1], int(row[2]), *row[3:]) for row in rows]


def by_shard(clips: Iterable[Clip]) -> dict[int, list[Clip]]:
    """Clips of each shard that has any, shards in order."""
    shards: dict[int, list[Clip]] = {}
    for clip in clips:
        shards.setdefault(clip.shard, []).append(clip)
    return dict(sorted(shards.items()))


def members_digest(clips: Iterable[Clip]) -> str:
    """Changes when a clip of the shard is added, removed, renamed or edited."""
    return digest([[clip.id, clip.signature, clip.path] for clip in clips])


def index_path(results: Path) -> Path:
    """Where the index of a results folder lies."""
    return results / "index" / "clips.tsv"


def read_shard(results: Path, shard: int) -> list[Clip]:
    """The clips of one shard, from the index."""
    return [clip for clip in read_index(index_path(results)) if clip.shard == shard]
