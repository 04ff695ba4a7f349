"""Trains alone, then in two ranks, each training in double precision; run by torchrun.

Double precision, because rounding is blown up: by batch norms of few samples in random networks,
and by Adam, whose first steps are as long for a tiny gradient as for a large one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from lipsync_core.models import QualityDiscriminator
from lipsync_core.training import expert, generator, judging, loop, ranks, tensors
from tests.test_training_tasks import make_expert_task, make_generator_task

NAMES = ("expert", "generator", "gan")
OPTIONS = loop.LoopOptions(steps=4, eval_every=2, save_every=2)


def double_everything() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double

    def to_device(array, device):
        tensor = tensors.to_device(array, device)
        return tensor.double() if tensor.is_floating_point() else tensor

    expert.to_device = generator.to_device = judging.to_device = to_device


def make(name: str, results: Path) -> loop.Task:
    if name == "expert":
        options = {"clips": 4, "windows": 3, "steps": 4, "warmup": 2, "accumulate": 2}
        return make_expert_task(results, **options)
    judge = QualityDiscriminator(width=0.0625) if name == "gan" else None
    options = (
        {"batch": 2, "gan_weight": 0.07, "ema": 0.9} if judge else {"batch": 4, "accumulate": 2}
    )
    task = make_generator_task(results, judge, sync_threshold=50.0, clip=1.0, **options)
    task.options.__dict__["val_windows"] = 8
    return task


def main(results: Path, out: Path) -> None:
    double_everything()
    dist.init_process_group("gloo")
    assert ranks.count() == 2
    alone = ranks.first()
    for name in NAMES:
        loop.train(make(name, results), out / "ranks" / name, OPTIONS)
    dist.destroy_process_group()
    for name in NAMES if alone else ():
        loop.train(make(name, results), out / "alone" / name, OPTIONS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
