"""Claim: copies of a take are found, and different clips are never taken for copies.

    python benchmarks/duplicates.py --clips real grid_s1 --copies-of real --every 4

1. False alarms, over all pairs of the clips of each `--clips` folder: how many the fingerprints
   suggest and how many the audio confirms. Only audio is prepared: the face crops, which could
   only refuse a pair, are left out, so this is the stricter measure.
2. Recall, over copies of every n-th clip of `--copies-of` (four codecs, gains, trims, a mirror
   image, half the size, other frame rates): copies and originals go through the whole workflow,
   then each copy is looked for beside its original alone.
"""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core import audio
from lipsync_core.errors import ClipError
from lipsync_core.media.audio import extract_audio
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.video import probe
from lipsync_core.preparation import duplicates, same_take
from lipsync_core.preparation.audio_fingerprint import audio_fingerprint, landmarks
from lipsync_core.runtime.tables import read_by_clip

SUFFIXES = (".mp4", ".mpg", ".webm", ".avi", ".mkv", ".mov")
H264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "28", "-c:a", "aac", "-b:a", "64k"]
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "0", "-crf", "45"]
OPUS = ["-c:a", "libopus", "-b:a", "24k"]
MP3 = ["-c:v", "mpeg4", "-q:v", "10", "-c:a", "libmp3lame", "-b:a", "48k"]
PCM = ["-c:v", "mjpeg", "-q:v", "20", "-pix_fmt", "yuvj420p", "-c:a", "pcm_u8", "-ar", "11025"]
# Name -> ffmpeg's options, container, seconds taken off the start and the end.
KINDS: dict[str, tuple[list[str], str, float, float]] = {
    "h264_aac": ([*H264, "-crf", "32", "-b:a", "48k"], "mp4", 0, 0),
    "mpeg4_mp3": (MP3, "avi", 0, 0),
    "vp9_opus": ([*VP9, *OPUS], "webm", 0, 0),
    "mjpeg_pcm": (PCM, "avi", 0, 0),
    "start_0.2": ([], "mp4", 0.2, 0),
    "start_0.7": ([], "mp4", 0.7, 0),
    "start_1.5": ([], "mp4", 1.5, 0),
    "end_0.5": ([], "mp4", 0, 0.5),
    "end_1.5": ([], "mp4", 0, 1.5),
    "both_0.5": ([], "mp4", 0.5, 0.5),
    "gain_+10dB": (["-af", "volume=10dB"], "mp4", 0, 0),
    "gain_-10dB": (["-af", "volume=-10dB"], "mp4", 0, 0),
    "mirror": (["-vf", "hflip"], "mp4", 0, 0),
    "half_size": (["-vf", "scale=trunc(iw/4)*2:trunc(ih/4)*2"], "mp4", 0, 0),
    "20_fps": (["-vf", "fps=20"], "mp4", 0, 0),
    "30_fps": (["-vf", "fps=30"], "mp4", 0, 0),
    "mirror_vp9_trim": ([*VP9, *OPUS, "-vf", "hflip"], "webm", 0.4, 0.3),
}
SHORTEST = 1.0  # seconds that a trim must leave


def videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def false_alarms(folder: Path, work: Path) -> None:
    wavs: dict[str, Path] = {}
    heard = {}
    for number, video in enumerate(videos(folder)):
        wav = work / f"{number}.wav"
        try:
            extract_audio(video, wav)
        except ClipError as error:
            print(f"left out: {error}")
            continue
        name = f"{video.parent.name}/{video.stem}"
        wavs[name] = wav
        heard[name] = landmarks(audio_fingerprint(audio.melspectrogram(audio.load_wav(wav)).T))
    start = time.perf_counter()
    suggested = duplicates.suggested_pairs(heard)
    searched = time.perf_counter() - start
    alarms = []
    highest = 0.0
    for (one, other), lags in suggested.items():
        waves = audio.load_wav(wavs[one]), audio.load_wav(wavs[other])
        found = max(same_take.match_audio(*waves, lag).correlation for lag in lags)
        highest = max(highest, found)
        if found >= same_take.MIN_CORRELATION:
            alarms.append((one, other, round(found, 2)))
    compared = time.perf_counter() - start - searched
    pairs = math.comb(len(heard), 2)
    print(
        f"{folder.name}: {len(heard)} clips, {pairs} pairs; {len(suggested)} suggested in "
        f"{searched:.1f} s, compared in {compared:.1f} s; highest correlation {highest:.2f}; "
        f"{len(alarms)} false alarms {alarms[:5]}"
    )


def make_copies(source: Path, folder: Path) -> Iterator[str]:
    """Write the original and its copies as `<stem>~<kind>`; yield the kinds made."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, folder / f"{source.stem}~original{source.suffix}")
    seconds = probe(source).seconds
    for kind, (options, container, start, end) in KINDS.items():
        if start + end and seconds - start - end < SHORTEST:
            continue
        codec = [] if "-c:v" in options else H264
        cut = ["-ss", f"{start}", "-t", f"{seconds - start - end:.3f}"] if start + end else []
        target = folder / f"{source.stem}~{kind}.{container}"
        command = [ffmpeg_exe(), "-v", "error", "-y", "-i", source, *cut, *codec, *options, target]
        subprocess.run(command, check=True)
        yield kind


def recall(folder: Path, every: int, cores: int, work: Path) -> None:
    made: list[tuple[str, str]] = []
    for source in videos(folder)[::every]:
        clip = f"{source.parent.name}/{source.stem}"
        made += [(clip, kind) for kind in make_copies(source, work / "data" / source.parent.name)]
    results = work / "results"
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all"]
    command += ["--config", f"data_root={work / 'data'}", f"results={results}"]
    command += ["--", str(results / "filelists/clips.csv")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
    rows = {}
    for table in (results / "checks").glob("*.csv"):
        rows |= {name: row for name, row in read_by_clip(table).items() if row["outcome"] == "kept"}
    total, found = Counter[str](), Counter[str]()
    missed = []
    for clip, kind in made:
        pair = f"{clip}~original", f"{clip}~{kind}"
        if not all(name in rows for name in pair):
            continue  # dropped by a check
        total[kind] += 1
        split = dict(zip(pair, ("test", "train"), strict=True))
        if duplicates.find_duplicates({name: rows[name] for name in pair}, split, results):
            found[kind] += 1
        else:
            missed.append(pair[1])
    for kind in total:
        print(f"{kind:18} {found[kind]:4} of {total[kind]:4}")
    share = found.total() / max(total.total(), 1)
    print(
        f"{'recall':18} {found.total():4} of {total.total():4} = {share:.1%}; missed {missed[:9]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--copies-of", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counter = itertools.count()
        for clips in options.clips:
            false_alarms(clips, Path(folder) / str(next(counter)))
        if options.copies_of:
            recall(options.copies_of, options.every, options.cores, Path(folder) / "recall")


if __name__ == "__main__":
    main()
