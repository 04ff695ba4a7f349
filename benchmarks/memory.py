"""Peak memory of preparation, all processes together, for a short and a long video.

Repeats a clip (without encoding again, after one scaling to 1080p) to the lengths asked for and
prepares each in a process of its own; memory is sampled twenty times a second.

    python -m benchmarks.memory --clips video.mp4 [--minutes 5 60] [--stages audio mels boxes faces]

Memory of a training: benchmarks/training_memory.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from lipsync_core.config import Config
from lipsync_core.corpus import clips
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation import stages, steps

ROOT = Path(__file__).parents[1]
BOUND_MB, GROWTH = 2000, 1.10
STAGES = ("audio", "mels", "boxes", "faces")


class Peak:
    """The most memory that a process and its descendants had at one time, in MB (1e6 bytes).

    Counts resident pages, shared ones in each process. A context manager.
    """

    def __init__(self, root: int, interval: float = 0.05) -> None:
        self.mb = 0.0
        self._root, self._interval = root, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self.mb = max(self.mb, sum(resident_mb(pid) for pid in family(self._root)))


def family(root: int) -> list[int]:
    """A process and its descendants."""
    members = [root]
    for pid in members:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                members += [int(child) for child in task.read_text().split()]
            except OSError:
                continue  # it has ended
    return members


def resident_mb(pid: int) -> float:
    """Resident memory of one process; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def lengthen(clip: Path, minutes: float, target: Path) -> Path:
    """A 1080p copy of `clip`, repeated to the length asked for."""
    target.parent.mkdir(parents=True, exist_ok=True)
    once = target.parents[2] / "once.mp4"
    if not once.exists():
        size = "scale=1920:1080:force_original_aspect_ratio=decrease,pad=1920:1080:-1:-1,fps=25"
        coding = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-shortest"]
        silence = ["-f", "lavfi", "-i", "sine=f=300:r=48000"]
        command = ["-i", str(clip), *silence, "-map", "0:v:0", "-map", "1:a:0", "-vf", size]
        _ffmpeg(*command, *coding, "-t", "10", str(once))
    seconds = str(60 * minutes)
    _ffmpeg("-stream_loop", "-1", "-i", str(once), "-t", seconds, "-c", "copy", str(target))
    return target


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True)


def run_stage(stage: str, data: Path, results: Path) -> None:
    """One stage of preparation over the one clip of `data`."""
    config = Config().model_dump()
    config |= {"detector": "centerface"}
    found = clips.discover(data, 1)
    which = {"audio": stages.AUDIO, "mels": stages.MELS, "boxes": stages.BOXES}
    settings = which.get(stage, stages.FACES).params(config)
    if stage == "audio":
        steps.extract_audio(steps.Shard(found, data, results, 0, settings))
    elif stage == "mels":
        steps.mel_spectrograms(steps.Shard(found, data, results, 0, settings))
    elif stage == "boxes":
        options = {"batch_size": 16, "device": "cpu", "models": ROOT / "models"}
        steps.detect_faces(steps.Shard(found, data, results, 0, settings), **options)
    else:
        steps.crop_faces(steps.Shard(found, data, results, 0, settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="a video with a face")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 60])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(f"{'minutes':>7} {'stage':6} {'peak MB':>8} {'seconds':>8}")
    peaks: dict[float, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in arguments.minutes:
            data, results = Path(folder, f"data{minutes}"), Path(folder, f"results{minutes}")
            lengthen(arguments.clips, minutes, data / "speaker" / "clip.mp4")
            for stage in arguments.stages:
                start = time.monotonic()
                job = spawn.Process(target=run_stage, args=(stage, data, results))
                job.start()
                with Peak(job.pid or 0) as peak:
                    job.join()
                if job.exitcode:
                    raise SystemExit(f"{stage} ended with {job.exitcode}")
                peaks[minutes] = max(peaks.get(minutes, 0.0), peak.mb)
                print(
                    f"{minutes:7.4g} {stage:6} {peak.mb:8.0f} {time.monotonic() - start:8.1f}",
                    flush=True,
                )
    growth = peaks[max(peaks)] / peaks[min(peaks)]
    met = max(peaks.values()) < BOUND_MB and growth < GROWTH
    print(
        f"peak {max(peaks.values()):.0f} MB (bar {BOUND_MB}), longest / shortest {growth:.3f} "
        f"(bar {GROWTH}): {'met' if met else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
