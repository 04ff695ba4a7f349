"""Claims: 100 times the frames a second of the public script, and preparation near decoding speed.

1. S3FD with arbitrary (seeded) weights: the detection stage against the detection of Wav2Lip's
   preprocess.py, which detects every frame at full size in float32. Give a checkout of that
   project with --public; without it, the same network (face-alignment's) is called the same way.
2. The bundled CenterFace: all five stages against `ffmpeg -i clip -f null -`.

    python benchmarks/detection_speed.py --clips large.mp4 [--public Wav2Lip] [--snakemake]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from face_alignment.detection.sfd.net_s3fd import s3fd as Network

from lipsync_core.corpus import clips
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.preparation import stages
from lipsync_core.preparation import steps as prepare
from lipsync_core.runtime import config_file, threads

ROOT = Path(__file__).parents[1]


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Arbitrary S3FD weights that detect nothing, so that neither side spends time on boxes."""
    torch.manual_seed(seed)
    network = Network()
    for name, tensor in network.state_dict().items():
        if "mbox_conf.weight" in name:
            tensor.zero_()
        if "mbox_conf.bias" in name:
            tensor.copy_(torch.linspace(9, 0, len(tensor)))
    return network.state_dict()


def public_rate(clip: Path, models: Path, checkout: Path | None, count: int, batch: int) -> float:
    """Frames a second of the public detection alone: no decoding, no crops."""
    video, frames = cv2.VideoCapture(str(clip)), []
    while len(frames) < count * batch:
        good, frame = video.read()
        if not good:
            break
        frames.append(frame)
    if checkout is not None:
        sys.path.insert(0, str(checkout))
        from face_detection.detection.sfd import FaceDetector

        detect = FaceDetector("cpu", str(models / "s3fd.pth")).detect_from_batch
    else:
        detect = _their_way(models)
    started = time.perf_counter()
    for first in range(0, len(frames), batch):
        detect(np.asarray(frames[first : first + batch])[..., ::-1].copy())
    return len(frames) / (time.perf_counter() - started)


def _their_way(models: Path) -> Callable[[np.ndarray], object]:
    from face_alignment.detection.sfd.detect import batch_detect

    network = Network().eval()
    network.load_state_dict(torch.load(models / "s3fd.pth", weights_only=True))
    return lambda images: batch_detect(
        network, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), "cpu"
    )


class Preparation:
    """The five stages over one clip, timed; `seconds` by stage."""

    def __init__(self, clip: Path, folder: Path, detector: str, models: Path, **changes) -> None:
        self.data, self.results, self.models = folder / "data", folder / "results", models
        speaker = self.data / "speaker"
        speaker.mkdir(parents=True)
        (speaker / clip.name).symlink_to(clip.absolute())
        own = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8")) | changes
        loaded = config_file.load(own, ROOT / "config/presets")
        self.config = loaded.model_dump() | {"detector": detector}
        self.clips = clips.discover(self.data, 1)
        self.seconds: dict[str, float] = {}
        self.rows: list[dict] = []

    def run(self, *names: str) -> Preparation:
        """Run these stages, or all of them."""
        detect = {
            "batch_size": self.config["detect"]["batch_size"],
            "device": "cpu",
            "models": self.models,
        }
        steps = {
            stages.AUDIO: (prepare.extract_audio, {}),
            stages.MELS: (prepare.mel_spectrograms, {}),
            stages.BOXES: (prepare.detect_faces, detect),
            stages.FACES: (prepare.crop_faces, {}),
            stages.CHECKS: (prepare.check_clips, {}),
        }
        for stage, (function, more) in steps.items():
            if names and stage.rule not in names:
                continue
            started = time.perf_counter()
            settings = stage.params(self.config)
            shard = prepare.Shard(self.clips, self.data, self.results, 0, settings)
            self.rows = function(shard, **more)
            self.seconds[stage.rule] = time.perf_counter() - started
        return self

    @property
    def frames(self) -> int:
        return int(self.rows[0]["frames"])


def decoding(clip: Path) -> float:
    """Seconds of ffmpeg decoding the clip to nothing."""
    command = [ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", str(clip), "-f", "null", "-"]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def snakemake(clip: Path, folder: Path, cores: int) -> float:
    """Seconds of `snakemake prepare` over the clip, with all its processes."""
    made = Preparation(clip, folder, "centerface", ROOT / "models")
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "prepare", "-q", "all"]
    command += ["--config", f"data_root={made.data}", f"results={made.results}", "shards=1"]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    return time.perf_counter() - started


def against_public(clip: Path, options: argparse.Namespace, folder: Path) -> None:
    """Print the first table."""
    torch.save(weights(), folder / "s3fd.pth")
    theirs = public_rate(clip, folder, options.public, options.frames, options.public_batch)
    print(f"\n| S3FD, {clip.name} | frames/s | ratio |\n|---|---|---|")
    whose = "Wav2Lip's code" if options.public else "face-alignment's network, called the same way"
    print(f"| public: {whose}, batch {options.public_batch} | {theirs:.3f} | 1 |")
    for name, detect in (
        ("ours, as configured", {}),
        ("ours, float32", {"precision": "float32"}),
        ("ours, every frame looked at", {"stride": 1}),
    ):
        with tempfile.TemporaryDirectory() as own:
            made = Preparation(clip, Path(own), "s3fd", folder, detect=detect)
            made.run("extract_audio", "detect_faces")
        rate = made.frames / made.seconds["detect_faces"]
        print(f"| {name} | {rate:.2f} | {rate / theirs:.0f} |", flush=True)


def used() -> float:
    """Processor seconds of this process and its finished children so far."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(each)[:2]) for each in who)


def against_decoding(clip: Path, options: argparse.Namespace) -> None:
    """Print the second table: the best of several rounds, because other load only adds time.

    Processor seconds hardly depend on what else runs.
    """
    rounds = []
    for index in range(options.rounds + 1):
        busy = [used()]
        plain = decoding(clip)
        busy.append(used())
        with tempfile.TemporaryDirectory() as own:
            made = Preparation(clip, Path(own), "centerface", ROOT / "models").run()
        busy.append(used())
        if index:  # the first round loads libraries
            whole = sum(made.seconds.values())
            row = {"ffmpeg -f null": plain, **made.seconds, "whole preparation": whole}
            rounds.append((row, busy[1] - busy[0], busy[2] - busy[1]))
            print(f"round {index}: {plain:.2f} s, {whole:.2f} s, {whole / plain:.2f}", flush=True)
    print(f"\n| CenterFace, {clip.name} | seconds | times decoding |\n|---|---|---|")
    best = {name: min(row[name] for row, _, _ in rounds) for name in rounds[0][0]}
    plain = best["ffmpeg -f null"]
    for name, value in best.items():
        print(f"| {name} | {value:.2f} | {value / plain:.2f} |")
    first, second = (min(row[column] for row in rounds) for column in (1, 2))
    print(f"| processor seconds: decoding | {first:.2f} | 1.00 |")
    print(f"| processor seconds: preparation | {second:.2f} | {second / first:.2f} |")
    if options.snakemake:
        with tempfile.TemporaryDirectory() as own:
            value = snakemake(clip, Path(own), options.threads)
        print(f"| `snakemake prepare`, with its processes | {value:.1f} | {value / plain:.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--public", type=Path, help="a checkout of Wav2Lip")
    parser.add_argument("--public-batch", type=int, default=2, help="theirs is 32: 70 GB")
    parser.add_argument("--frames", type=int, default=2, help="batches of the public script")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["public", "decoding"])
    parser.add_argument("--snakemake", action="store_true")
    options = parser.parse_args()
    threads.limit(options.threads)
    for clip in options.clips:
        if options.only != "decoding":
            with tempfile.TemporaryDirectory() as folder:
                against_public(clip, options, Path(folder))
        if options.only != "public":
            against_decoding(clip, options)


if __name__ == "__main__":
    main()
