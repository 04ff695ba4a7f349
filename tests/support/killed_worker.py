r"""Runs trainings one after the other, each in a process of its own that may kill itself (SIGKILL).

    python -m tests.support.killed_worker \
        '{"results": ..., "syncnet": ..., "jobs": [[name, folder, kill]]}'

kill: null, or [when, step]: "step" before that step is trained, "best" in the middle of writing the
best weights of that step, "before" the state of that step is written (after its best weights and
its row), "save" in the middle of writing it, "after" it was renamed; "preview" in the middle of
writing the preview of that step. Prints each exit status.

Processes are forked from one that has imported torch: importing takes longer than these trainings.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # optimizers import it, which every fork would repeat
import torch.utils.tensorboard

from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
from lipsync_core.media.video import VideoWriter
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import run_folder
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.syncnet import SyncNetTask
from tests.training.test_tasks import CPU, GAN, PLAIN, SYNCNET

STEPS = {"steps": 8, "eval_every": 2, "save_every": 3}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(when: str, step: int) -> None:
    """Let this process kill itself at the given moment."""
    real_save, real_write = run_folder.RunFolder.save, torch.save

    def save(self, content, copy=False):
        if content["step"] == step and when == "before":
            die()
        real_save(self, content, copy)
        if content["step"] == step and when == "after":
            die()

    def write(content, stream, **more):
        place = "save" if "parts" in content else "best"
        if when == place and content.get("step", content.get("global_step")) == step:
            real_write(content, stream, **more)
            stream.flush()
            os.truncate(stream.name, stream.tell() // 2)
            die()
        real_write(content, stream, **more)

    def train(task, at, batch):
        if at == step and when == "step":
            die()
        return steps[type(task)](task, at, batch)

    def encode(writer, frame):
        write_frame(writer, frame)
        if writer.path.stem == f"step_{step:07d}" and when == "preview":
            die()

    write_frame, VideoWriter.write = VideoWriter.write, encode
    steps = {kind: kind.step for kind in (SyncNetTask, GeneratorTask)}
    for kind in steps:
        kind.step = train
    run_folder.RunFolder.save, torch.save = save, write


def run(name: str, results: Path, syncnet_path: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    run_dir = folder / "run"
    out = {"checkpoint": folder / "checkpoint.pth", "metrics": folder / "metrics.csv"}
    if name == "syncnet":
        config = SyncNetConfig(**SYNCNET | STEPS)
        syncnet.train(results, config, 96, run_dir, **out, seed=3, device=CPU)
        return
    options = (
        {"wav2lip": PLAIN, "wav2lip_gan": GAN | {"ema_decay": 0.9}}[name]
        | STEPS
        | {"previews": True}
    )
    out |= {"samples": folder / "samples.png", "syncnet": syncnet_path}
    out["preview_dir"] = folder / "previews"
    config = GeneratorVariantConfig(**options)
    generator.train(results, config, 96, run_dir, **out, seed=3, device=CPU)


def main() -> None:
    work = json.loads(sys.argv[1])
    for name, folder, kill in work["jobs"]:
        child = os.fork()
        if child == 0:
            if kill:
                arm(*kill)
            run(name, Path(work["results"]), Path(work["syncnet"]), Path(folder))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
