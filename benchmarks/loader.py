"""Claim: 100 times the samples a second and process of the public Wav2Lip training datasets.

    python benchmarks/loader.py --public Wav2Lip --clips a.mp4 b.mp4 [--seconds 20]

Each clip is played to and fro to the length asked for, prepared, and exported in the layout of the
public code (its `Dataset` classes are loaded from the checkout, never copied). One process each,
one thread; seconds of the processor, so that other work on the machine counts for neither. A sample
is one window with its sound (syncnet) or a window, a reference and their sounds
(generator), on both sides.

Ours is shown with nothing kept (each picture is decoded for each sample, as in a corpus many times
larger than `cache_mb`), in the first pass over the clips, with all pictures kept, and, for the
syncnet, with the shipped augmentation, which theirs lacks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from detection_speed import Preparation

from lipsync_core.config import SyncNetConfig
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation.export import export
from lipsync_core.runtime.files import write_text

ROOT = Path(__file__).parents[1]
SCRIPTS = {"syncnet": "color_syncnet_train", "generator": "wav2lip_train"}


def lengthen(clip: Path, seconds: float, target: Path) -> Path:
    """`clip` forwards and backwards, to `seconds`: no cut, so that the face stays one track."""
    turns = "[0:v]split=4[a][b][c][d];[b]reverse[e];[d]reverse[f];[a][e][c][f]concat=n=4[v]"
    command = [ffmpeg_exe(), "-v", "error", "-i", str(clip), "-stream_loop", "-1", "-i", str(clip)]
    command += ["-filter_complex", turns, "-map", "[v]", "-map", "1:a", "-preset", "ultrafast"]
    subprocess.run([*command, "-t", str(seconds), str(target)], check=True)
    return target


def prepare(clips: list[Path], seconds: float, folder: Path) -> tuple[Path, list[str]]:
    """Results with all clips in their train.txt, and the clips' ids."""
    ids = []
    for number, clip in enumerate(clips):
        video = lengthen(clip, seconds, folder / f"{number}.mp4")
        made = Preparation(video, folder / str(number), "centerface", ROOT / "models").run()
        ids.append(f"{number}/{number}")
        for kind in ("faces", "mels", "audio"):
            target = folder / "results" / kind / str(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            (made.results / kind / "speaker").rename(target)
    for split in ("train", "val", "test"):
        listed = "".join(f"{clip}\n" for clip in ids) if split == "train" else ""
        write_text(folder / "results/filelists" / f"{split}.txt", listed)
    return folder / "results", ids


def rate(draw: Callable[[int], int], seconds: float, start: int = 0) -> float:
    """Samples a processor second; `draw(index)` makes some and gives their number."""
    began, count, index = time.process_time(), 0, start
    while (spent := time.process_time() - began) < seconds:
        count += draw(index)
        index += 1
    return count / spent


def public_rate(checkout: Path, data: Path, what: str, seconds: float) -> float:
    """The public dataset's rate."""
    os.chdir(data)  # where it looks for filelists/
    sys.path.insert(0, str(checkout))
    sys.argv = [what, "--data_root", str(data), "--checkpoint_dir", str(data)]
    sys.argv += ["--syncnet_checkpoint_path", "none"] if what == "generator" else []
    import librosa.filters

    keyword_only = librosa.filters.mel
    # They call it as librosa 0.7 had it; with later ones they would try for ever.
    librosa.filters.mel = lambda sr, n_fft, **more: keyword_only(sr=sr, n_fft=n_fft, **more)
    dataset = __import__(SCRIPTS[what]).Dataset("train")
    dataset[0]  # loads what is loaded late
    return rate(lambda index: len([dataset[index]]), seconds)


def our_rates(results: Path, ids: list[str], what: str, seconds: float) -> dict[str, float]:
    """Ours, by state."""
    from lipsync_core.data import augmentation, syncnet_batches
    from lipsync_core.data import dataset as windows
    from lipsync_core.runtime import threads

    threads.limit(1)
    changes = {"plain": augmentation.NO_AUGMENT, "augmented": SyncNetConfig().augment}

    def draw(corpus: windows.ClipDataset, change: str = "plain") -> Callable[[int], int]:
        def syncnet(index: int) -> int:
            return len(
                syncnet_batches.syncnet_group(corpus, 0, index, bounds=changes[change]).starts
            )

        def generator(index: int) -> int:
            return len([windows.generator_sample(corpus, 0, index)])

        return syncnet if what == "syncnet" else generator

    nothing = windows.ClipDataset.load(results, ids, cache_bytes=0)
    kept = windows.ClipDataset.load(results, ids)
    first, began, count, index = draw(kept), time.process_time(), 0, 0
    windows_in_all = sum(len(clip.starts) for clip in kept.clips)
    while count < windows_in_all:  # as many samples: nearly all frames
        count += first(index)
        index += 1
    found = {"first pass": count / (time.process_time() - began)}
    found["nothing kept"] = rate(draw(nothing), seconds)
    for clip in kept.clips:
        for start in clip.starts:
            kept.frames(clip, start)
    found["kept"] = rate(draw(kept), seconds)
    if what == "syncnet":
        found["kept, augmented"] = rate(draw(kept, "augmented"), seconds)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--public", type=Path, required=True, help="a checkout of Wav2Lip")
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="talking heads")
    parser.add_argument("--seconds", type=float, default=20, help="length of the clips")
    parser.add_argument("--time", type=float, default=10, help="seconds of each measurement")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as work:
        results, ids = prepare(options.clips, options.seconds, Path(work))
        export(results, Path(work, "public"))
        lists = Path(work, "public", "filelists")
        lists.mkdir()
        Path(work, "public", "train.txt").rename(lists / "train.txt")
        print(f"| {len(ids)} clips of {options.seconds:.0f} s | samples/s | ratio |\n|---|---|---|")
        for what in SCRIPTS:
            with spawn.Pool(1, maxtasksperchild=1) as pool:
                data = Path(work, "public")
                theirs = pool.apply(
                    public_rate, (options.public.absolute(), data, what, options.time)
                )
                ours = pool.apply(our_rates, (results, ids, what, options.time))
            print(f"| {what}: public dataset | {theirs:.1f} | 1 |")
            for name, value in ours.items():
                print(f"| {what}: ours, {name} | {value:.0f} | {value / theirs:.0f} |", flush=True)


if __name__ == "__main__":
    main()
