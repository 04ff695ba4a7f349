"""Claim: 140,000 clips cost seconds when little or nothing is to do.

    python benchmarks/scale.py                      # the full size, about ten minutes
    python benchmarks/scale.py --clips 2000 --folders 100 --shards 16

Stand-ins are empty files, and every output is made up as if all had been prepared and trained.
Then: a dry run of everything, a dry run with nothing to do, and real runs after one clip was
changed, added and removed (that one is a real video of the demo).
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import shutil
import tempfile
import time
from pathlib import Path

from runs import Project, Run

from lipsync_core.config import Config
from lipsync_core.corpus import index
from lipsync_core.corpus.clips import Clip, by_shard
from lipsync_core.demo import corpus, plan
from lipsync_core.media import ffmpeg_binary
from lipsync_core.preparation import splits, stages
from lipsync_core.preparation.runner import per_clip, run_shard
from lipsync_core.pretrained import resolve_detector

ROOT = Path(__file__).parents[1]
MEASURES = {
    stages.AUDIO: {
        "width": 160,
        "height": 160,
        "fps_in": 25.0,
        "seconds": 2.0,
        "audio_seconds": 2.0,
    },
    stages.MELS: {"loudness": -20.0, "silence_ratio": 0.1, "clipping_ratio": 0.0},
    stages.BOXES: {"frames": 50, "face_frames": 50, "detector": "centerface"},
    stages.FACES: {
        "faces": 50,
        "face_px": 80.0,
        "head_speed": 0.3,
        "sharpness": 90.0,
        "brightness": 120.0,
    },
    stages.CHECKS: {"coverage": 1.0, "length_difference": 0.0},
}


def make_stand_ins(data: Path, clips: int, folders: int) -> None:
    """Empty videos `<speaker>/<clip>.mp4`."""
    for number in range(folders):
        folder = data / f"{number:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for clip in range(clips // folders + (number < clips % folders)):
            path = folder / f"{clip:05d}.mp4"
            if not path.exists():  # of a run cut short: its time counts
                path.touch()


def pretend_prepared(project: Project, config: dict) -> None:
    """Tables, files and lists as the stages would leave them; the files are empty."""
    clips = index.read_index(index.index_path(project.results))

    def work(job) -> dict:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.target.touch()
        return measures

    for stage in stages.ALL:
        params = stage.params(config) | {"version": stage.version}
        measures = MEASURES[stage]
        worker = per_clip(work if stage.suffix else lambda job: measures)  # noqa: B023
        for shard, members in by_shard(clips).items():
            run_shard(stage, members, project.results, shard, params, worker)
    splits.write_filelists(project.results, clips, stages.ALL, 0.1, 0.1, 0)


def pretend_trained(project: Project) -> None:
    """The other outputs of the rules, empty."""
    names = ["syncnet/checkpoint.pth", "syncnet/metrics.csv", "evaluation.json"]
    for variant in ("wav2lip", "wav2lip_gan"):
        names += [f"{variant}/{name}" for name in ("checkpoint.pth", "metrics.csv", "samples.png")]
    for name in (*names, "result_voice.mp4", "report/index.html"):
        path = project.results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def inside(project: Project, since: float) -> dict[str, list[int]]:
    """Rule -> how many clips each of its jobs since then had to do, from their logs."""
    counts: dict[str, list[int]] = {}
    for stage in stages.ALL:
        for log in (project.results / "logs" / stage.rule).glob("*.log"):
            if log.stat().st_mtime >= since:
                found = re.search(r"(\d+) current, (\d+) to do", log.read_text())
                counts.setdefault(stage.rule, []).append(int(found[2]))
    return counts


def row(what: str, run: Run, jobs: str) -> None:
    print(
        f"| {what:44} | {run.seconds:6.1f} s | {run.cpu:6.1f} s | {run.peak_mb:5.0f} MB | {jobs} |"
    )


def small_change(project: Project, what: str) -> None:
    dry = project.run("-n", "prepare")
    shards = {rule: count for rule, count in dry.jobs.items() if rule in inside_rules()}
    row(f"one clip {what}: dry run", dry, f"jobs a stage: {sorted(set(shards.values()))}")
    began = time.time()
    real = project.run("--cores", "2", "prepare")
    counts = inside(project, began)
    row(f"one clip {what}: preparation", real, f"clips inside: {counts}")


def inside_rules() -> set[str]:
    return {stage.rule for stage in stages.ALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=140_000)
    parser.add_argument("--folders", type=int, default=5_000)
    parser.add_argument("--shards", type=int, default=256)
    parser.add_argument(
        "--work", type=Path, help="where to work; kept. Default: a temporary folder"
    )
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="scale-"))
    changes = {"shards": arguments.shards, "detector": "centerface"}
    project = Project(work, changes)
    config = Config(**changes).model_dump()
    config["detector"] = resolve_detector("centerface", "models")
    config["ffmpeg"] = ffmpeg_binary.chosen().identity
    print(f"{arguments.clips} clips, {arguments.folders} folders, {arguments.shards} shards\n")
    print("| | wall | processor | peak memory | |\n|---|---|---|---|---|")
    make_stand_ins(project.data, arguments.clips, arguments.folders)
    first = project.run("-n", "--quiet", "all")
    row("nothing prepared: dry run of all", first, "")
    row("the same again (the index is there)", project.run("-n", "all"), "")
    if not (project.results / "filelists" / "clips.csv").is_file():  # else of a run cut short
        # In a process of its own: children inherit the peak memory of this one.
        process = multiprocessing.get_context("spawn").Process(
            target=pretend_prepared, args=(project, config)
        )
        process.start()
        process.join()
        pretend_trained(project)
    project.run("--touch", "--forceall", "--cores", "1", "all")
    nothing = project.run("-n", "all")
    row("everything done: dry run of all", nothing, f"jobs: {nothing.jobs}")
    real = project.run("--cores", "2", "all")
    row("everything done: run of all", real, f"jobs: {real.jobs}")

    video = demo_video(work)
    members: list[Clip] = index.read_index(index.index_path(project.results))
    changed = members[len(members) // 2].source(project.data)
    shutil.copy(video, changed)
    small_change(project, "changed")
    added = changed.with_name("added.mp4")
    shutil.copy(video, added)
    small_change(project, "added")
    added.unlink()
    small_change(project, "removed")
    if not arguments.work:
        shutil.rmtree(work)


def demo_video(folder: Path) -> Path:
    """A second of a talking face."""
    clip = plan.plan(1, 1, seconds=1.0)[0]
    return corpus.write_corpus(folder / "demo", processes=1, clips=[clip])[0]


if __name__ == "__main__":
    main()
