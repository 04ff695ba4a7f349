"""Claim: the same content as H.264 or H.265 with AAC or MP3 gets the same figures.

    python benchmarks/evaluation_codecs.py CHECKPOINT VIDEO... [--models models]

Each video is encoded in all four ways and measured by `lipsync evaluate`'s functions; the spread is
the largest minus the smallest mean over the videos. LSE where syncnet_v2.model is in --models, else
the same measure by CHECKPOINT, a SyncNet of this project.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.evaluation.judges import load_judges
from lipsync_core.evaluation.summary import metrics_of
from lipsync_core.evaluation.videos import evaluate_videos
from lipsync_core.faces import detectors
from lipsync_core.media.ffmpeg import ffmpeg_exe

VIDEO = {"h264": ["libx264", "-crf", "18"], "h265": ["libx265", "-crf", "20"]}
AUDIO = {"aac": ["aac", "-b:a", "128k"], "mp3": ["libmp3lame", "-b:a", "128k"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--models", default="models")
    options = parser.parse_args()
    judges = load_judges({"syncnet": options.checkpoint}, options.models, torch.device("cpu"))
    detector = detectors.build("auto", "cpu", options.models)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for picture, video_options in VIDEO.items():
            for sound, audio_options in AUDIO.items():
                system = Path(folder, f"{picture}+{sound}")
                system.mkdir()
                for index, source in enumerate(options.videos):
                    paths.append(system / f"{index}.mp4")
                    command = [ffmpeg_exe(), "-v", "error", "-i", str(source)]
                    command += ["-c:v", *video_options, "-preset", "veryfast", "-c:a"]
                    subprocess.run([*command, *audio_options, str(paths[-1])], check=True)
        report, _ = evaluate_videos(paths, judges, detector)
    systems = report["protocols"]["same_audio"]
    print(
        f"{'metric':24s}" + "".join(f"{name:>12s}" for name in systems) + "      spread  relative"
    )
    for metric in metrics_of(report["judges"]):
        means = [s["metrics"].get(metric.name, {}).get("value") for s in systems.values()]
        if None not in means:
            spread = max(means) - min(means)
            largest = max(map(abs, means)) or 1.0
            cells = "".join(f"{mean:12.4g}" for mean in means)
            print(f"{metric.name:24s}{cells}{spread:12.4g}{spread / largest:9.1%}")


if __name__ == "__main__":
    main()
