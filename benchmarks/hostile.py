"""Preparation of a folder full of hostile files: no crash, no hang, every file accounted for.

Makes damaged, absurd and misnamed files around a few good clips, prepares the folder with and
without them, and compares what becomes of the good ones, byte for byte.

    python -m benchmarks.hostile [--files 200] [--seed 0] [--timeout 30]
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.memory import Peak
from lipsync_core.config import Config
from lipsync_core.corpus import clips
from lipsync_core.media import ffmpeg
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation import splits, stages, steps
from lipsync_core.runtime.files import file_sha
from lipsync_core.runtime.tables import read_by_clip

ROOT = Path(__file__).parents[1]
NOT_UTF_8 = os.fsdecode(b"Fran\xe7ois \xff")  # of an old archive: bytes in another encoding
NAMES = (
    NOT_UTF_8,
    "-i",
    "-rf --help",
    'it\'s "quoted" `id` $(id) ; | & > < *?[x]',
    "Привет 世界 🎬 e\u0301",
    "%d %03d %s {0} \\n",
    "line\nbreak\ttab",
    "concat:a|b",
    "http:--x",
    " lead and trail ",
    "x" * 251,  # 255 bytes with its extension, the longest that file systems take
    "[v:0] ,'=@",
    "#1 'a.mp4",
    "~",
    "a..mp4",
)
Mutation = Callable[[Mapping[str, bytes], np.random.Generator], tuple[str, bytes]]


def good_files(folder: Path, seconds: float = 0.8) -> dict[str, bytes]:
    """A clip with a face and a voice in five containers: suffix -> bytes."""
    from tests.support.media import write_video

    first = write_video(folder / "seed.mp4", seconds)
    files = {".mp4": first.read_bytes()}
    for suffix in (".mkv", ".ts", ".avi", ".mpg"):
        other = folder / f"seed{suffix}"
        codecs = ["-c", "copy"] if suffix in (".mkv", ".ts") else ["-q:v", "4"]
        command = [ffmpeg_exe(), "-v", "error", "-y", "-i", str(first), *codecs, str(other)]
        subprocess.run(command, check=True)
        files[suffix] = other.read_bytes()
        other.unlink()
    first.unlink()
    return files


def _pick(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    suffix = sorted(seeds)[random.integers(len(seeds))]
    return suffix, seeds[suffix]


def truncated(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    suffix, data = _pick(seeds, random)
    return suffix, data[: random.integers(1, len(data))]


def headless(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    suffix, data = _pick(seeds, random)
    return suffix, data[random.integers(1, len(data)) :]


def flipped(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Bits turned over anywhere."""
    suffix, data = _pick(seeds, random)
    damaged = np.frombuffer(data, np.uint8).copy()
    places = random.integers(0, len(damaged), int(2 ** random.uniform(0, 8)))
    damaged[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
    return suffix, damaged.tobytes()


def bad_header(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Fields of the first 2 kB (in MP4: of the index too) at the ends of their ranges."""
    suffix, data = _pick(seeds, random)
    damaged = bytearray(data)
    index = max(0, data.find(b"moov")) if suffix == ".mp4" else 0
    for place in random.integers(index, min(index + 2000, len(data) - 4), 6):
        extreme = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)[random.integers(4)]
        struct.pack_into(">I", damaged, int(place), extreme)
    return suffix, bytes(damaged)


def bad_box(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """An MP4 whose durations, sizes, counts or edit list are absurd."""
    data = bytearray(seeds[".mp4"])
    boxes = (
        b"mvhd",
        b"tkhd",
        b"mdhd",
        b"stts",
        b"ctts",
        b"stsz",
        b"stsc",
        b"stco",
        b"elst",
        b"avc1",
    )
    name = boxes[random.integers(len(boxes))]
    start = data.find(name)
    if start > 0:
        for place in random.integers(start + 4, min(start + 60, len(data) - 4), 3):
            extreme = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)[random.integers(4)]
            struct.pack_into(">I", data, int(place), extreme)
    return ".mp4", bytes(data)


def shuffled(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Two containers spliced, or the blocks of one in another order."""
    suffix, data = _pick(seeds, random)
    _, other = _pick(seeds, random)
    cut = int(random.integers(1, len(data)))
    return suffix, data[:cut] + other[min(cut, len(other) // 2) :]


def huge_picture(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """A small file that claims gigapixels, in five formats."""
    side = int(random.choice([16_384, 30_000, 65_500]))
    rows = zlib.compress(bytes(side // 8 + 1) * 64)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    forms = [
        png,
        f"YUV4MPEG2 W{side} H{side} F25:1 C444\nFRAME\n".encode() + bytes(1000),
        b"GIF89a" + struct.pack("<HHBBB", side, side, 0xF0, 0, 0) + bytes(200) + b";",
        b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 1 << 30, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        b"DKIF"
        + struct.pack("<HH4sHHIII", 0, 32, b"VP80", side, side, 25, 1, 99)
        + bytes(4)
        + bytes(99),
    ]
    return ".mp4", forms[random.integers(len(forms))]


def no_stream(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Containers without streams, and files that only name others."""
    ftyp = struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp42"
    forms = [
        (".mp4", ftyp),
        (".mp4", ftyp + struct.pack(">I", 8) + b"moov"),
        (".mp4", ftyp + struct.pack(">I", 1 << 31) + b"mdat"),
        (".mkv", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"),
        (".mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXTINF:1,\n/dev/zero\n"),
        (".mp4", b"ffconcat version 1.0\nfile /dev/zero\nfile /dev/random\n"),
        (".mp4", b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        (".ts", b"G" + bytes(187)),
    ]
    return forms[random.integers(len(forms))]


def no_video(seeds: Mapping[str, bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Empty files, text, zeros, noise, an archive: with the names of videos."""
    size = int(2 ** random.uniform(0, 18))
    forms = [
        b"",
        b"\n",
        b"I am no video. " * (size // 16),
        bytes(size),
        b"\xff" * size,
        random.bytes(size),
        b"PK\x05\x06" + bytes(18),
        b"<html><video src='x'></video></html>",
        b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + b"\xff" * 60,
    ]
    return (".mp4", ".avi", ".mov", ".webm", ".mpg")[random.integers(5)], forms[
        random.integers(len(forms))
    ]


MUTATIONS: tuple[Mutation, ...] = (
    truncated, flipped, bad_header, no_video, huge_picture, bad_box, no_stream, headless, shuffled,
)  # fmt: skip


def make(folder: Path, count: int, seed: int = 0) -> dict[str, str]:
    """Write `count` hostile files below `folder`; path (relative) -> what was done to it.

    The first are good clips under hostile names; the rest go through `MUTATIONS` in turn.
    """
    random = np.random.default_rng(seed)
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    seeds = good_files(folder)
    kinds = {}
    for index in range(count):
        if index < min(len(NAMES), count // 5):
            path = folder / "named" / f"{NAMES[index]}.mp4"
            data, kind = seeds[".mp4"], "name"
        else:
            mutation = MUTATIONS[index % len(MUTATIONS)]
            suffix, data = mutation(seeds, random)
            kind = mutation.__name__
            home, odd = ("bad", "") if index % 2 else (f"bad {NOT_UTF_8}", NOT_UTF_8)
            path = folder / home / f"{index:03} {kind}{odd}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        kinds[clips.encode(str(path.relative_to(folder)))] = kind
    return kinds


def run_stages(data: Path, results: Path) -> list[clips.Clip]:
    """All stages of preparation over one shard, in this process."""
    config = Config().model_dump()
    config |= {"detector": "centerface"}
    found = clips.discover(data, 1)
    settings = {stage.rule: stage.params(config) for stage in stages.ALL}
    steps.extract_audio(steps.Shard(found, data, results, 0, settings["extract_audio"]))
    steps.mel_spectrograms(steps.Shard(found, data, results, 0, settings["mel_spectrograms"]))
    options = {"batch_size": 16, "device": "cpu", "models": ROOT / "models"}
    steps.detect_faces(steps.Shard(found, data, results, 0, settings["detect_faces"]), **options)
    steps.crop_faces(steps.Shard(found, data, results, 0, settings["crop_faces"]))
    steps.check_clips(steps.Shard(found, data, results, 0, settings["check_clips"]))
    return found


def artifacts(results: Path, speaker: str) -> dict[str, str]:
    """Relative path -> SHA-256 of every file made for a speaker."""
    files = (path for path in sorted(results.rglob(f"{speaker}/*")) if path.is_file())
    return {str(path.relative_to(results)): file_sha(path) for path in files}


def compare(work: Path, count: int, seed: int, timeout: float) -> tuple[dict, dict[str, str]]:
    """Prepare good clips with and without hostile ones; (rows of the checks, kind by clip id).

    Raises AssertionError when a file has no row or a good clip came out differently, LipsyncError
    when the account of clips does not add up.
    """
    from tests.support.media import write_video

    for name in ("alone", "among"):
        for index in range(2):
            write_video(work / name / "good" / f"{index}.mp4", 0.8, seed=index)
    kinds = make(work / "among", count, seed)
    with ffmpeg.time_limit(timeout):
        found = run_stages(work / "among", work / "results_among")
        run_stages(work / "alone", work / "results_alone")
    splits.write_filelists(work / "results_among", found, stages.ALL, 0.1, 0.1, 0)
    rows = read_by_clip(work / "results_among" / "checks" / "0.csv")
    assert len(found) == count + 2, "a file was not found"
    assert len(rows) == count + 2, "a file has no row"
    by_id = {clip.id: kinds.get(clip.path, "good") for clip in found}
    for clip_id, row in rows.items():
        assert (row["outcome"] == "kept") == (row["reason"] == ""), f"{clip_id}: no reason"
    alone = read_by_clip(work / "results_alone" / "checks" / "0.csv")
    for clip_id, row in alone.items():
        measures = {name: value for name, value in row.items() if name != "key"}
        assert {name: rows[clip_id][name] for name in measures} == measures
    same = artifacts(work / "results_alone", "good")
    assert same and same == artifacts(work / "results_among", "good"), "a good clip differs"
    return rows, by_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=30, help="check.timeout, seconds")
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Peak(os.getpid()) as peak:
        rows, kinds = compare(Path(folder), arguments.files, arguments.seed, arguments.timeout)
    table: dict[str, Counter[str]] = {}
    for clip_id, row in rows.items():
        table.setdefault(kinds[clip_id], Counter())[row["reason"] or "kept"] += 1
    print(f"{'kind':13} {'files':>5}  outcome")
    for kind, counts in sorted(table.items()):
        words = ", ".join(f"{reason} {number}" for reason, number in counts.most_common())
        print(f"{kind:13} {counts.total():5}  {words}")
    print(
        f"{len(rows)} files, {len(rows)} rows, good clips identical, peak {peak.mb:.0f} MB, "
        f"{time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
