"""Export of prepared clips as folders that the public Wav2Lip scripts and others read.

<out>/<speaker>/<clip>/<frame>.jpg      face crops, numbered at 25 fps
<out>/<speaker>/<clip>/audio.wav        16 kHz mono; written last: a folder with it is complete
<out>/{train,val,test}.txt              one <speaker>/<clip> a line
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lipsync_core.corpus.filelists import ListedClip, parse_line, read_line
from lipsync_core.corpus.journal import append_journal, read_journal
from lipsync_core.corpus.layouts.items import SPLITS, source_id
from lipsync_core.corpus.layouts.scan import stamp
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.archive import CropArchive
from lipsync_core.preparation.stages import AUDIO, FACES
from lipsync_core.runtime.files import atomic_path, write_text
from lipsync_core.runtime.progress import Progress

WAV = "audio.wav"
JOURNAL = ".export.jsonl"


@dataclass(frozen=True)
class ExportStats:
    """clips: those requested; written: those that were missing; frames: of the written ones."""

    clips: int
    written: int
    frames: int


def export(
    results: str | Path, out: str | Path, clip_list: str | Path | None = None
) -> ExportStats:
    """Write the clips of the filelists, or of `clip_list`, to the folder `out`.

    Parameters
    ----------
    results: a results folder, prepared.
    clip_list: a file of clip ids, one a line, maybe with a second token as in LRS2.

    Clips that were exported before and have not changed are skipped, so an interrupted export
    resumes. Clips that are no longer listed are not removed. JPEG files are copied, not re-encoded.

    Raises LipsyncError when a listed clip is not prepared; nothing has been written then.
    """
    results, out = Path(results), Path(out)
    splits = _splits(results, clip_list)
    ids = [clip for split in splits.values() for clip in split]
    missing = [clip.id for clip in ids if not _is_prepared(results, clip.id)]
    if missing or not ids:
        source = clip_list or results / "filelists"
        raise LipsyncError(
            f"{source}: {len(missing)} of {len(ids)} clips are not prepared, first {missing[:3]}; "
            f"see {results / 'filelists' / 'clips.csv'} for the reasons"
        )
    done = read_journal(out / JOURNAL)
    written = frames = 0
    out.mkdir(parents=True, exist_ok=True)
    with (
        append_journal(out / JOURNAL) as append,
        Progress(len(ids), f"export to {out}", "clip") as progress,
    ):
        for clip in ids:
            name = _folder(clip)
            files = FACES.path(results, clip.id), _audio(results, clip.id)
            record = {"clip": name, "stamp": [stamp(path.stat()) for path in files]}
            if done.get(name) != record or not (out / name / WAV).is_file():
                frames += _write(results, clip, out / name)
                append(record)
                written += 1
            progress.advance(note=name)
    for name, members in splits.items():
        write_text(out / f"{name}.txt", "".join(f"{_folder(clip)}\n" for clip in members))
    return ExportStats(len(ids), written, frames)


def _folder(clip: ListedClip) -> str:
    """The folder of a clip or, where it is split by time, of its part."""
    return f"{clip.id}@{clip.frame_range}" if clip.frame_range else clip.id


def _splits(results: Path, clip_list: str | Path | None) -> dict[str, Sequence[ListedClip]]:
    """The clips to write, by split; those of `clip_list` keep their splits."""
    found: dict[str, Sequence[ListedClip]] = {}
    for name in SPLITS:
        path = results / "filelists" / f"{name}.txt"
        if not path.is_file():
            raise LipsyncError(f"{path}: no such file; prepare the data first: snakemake prepare")
        found[name] = [parse_line(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if clip_list is None:
        return found
    known = {clip.id for members in found.values() for clip in members}
    lines = Path(clip_list).read_text(encoding="utf-8").splitlines()
    asked = dict.fromkeys(_named(line, known, results) for line in lines if line.strip())
    chosen = {
        name: [clip for clip in members if clip.id in asked] for name, members in found.items()
    }
    # What was prepared, but dropped by the checks, can be asked for by name.
    chosen["train"] += [ListedClip(clip) for clip in asked if clip not in known]
    return chosen


def _named(line: str, known: Collection[str], results: Path) -> str:
    """The clip id in a line, which may have a second token."""
    return read_line(line, lambda name: name in known or FACES.path(results, name).is_file()).id


def _is_prepared(results: Path, clip: str) -> bool:
    path = PurePosixPath(clip)
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and FACES.path(results, clip).is_file()


def _audio(results: Path, clip: str) -> Path:
    """The clip's audio, or that of its video, which several clips share."""
    own = AUDIO.path(results, clip)
    return own if own.is_file() else AUDIO.path(results, source_id(clip))


def _write(results: Path, clip: ListedClip, folder: Path) -> int:
    """Write one clip's folder; return the number of its frames."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WAV).unlink(missing_ok=True)
    # File by file: a folder of this name may hold other clips' folders.
    for old in folder.glob("*.jpg"):
        old.unlink()
    with contextlib.closing(CropArchive(FACES.path(results, clip.id))) as archive:
        frames = archive.frames.tolist()
        if clip.first is not None:
            frames = [frame for frame in frames if clip.first <= frame <= clip.last]
        for frame in frames:
            (folder / f"{frame}.jpg").write_bytes(archive.read(frame))
    with atomic_path(folder / WAV) as temporary:
        temporary.write_bytes(_audio(results, clip.id).read_bytes())
    return len(frames)
