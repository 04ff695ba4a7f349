"""Trains in two ranks, then alone: one step in single precision, three in double; for torchrun.

Double precision, because single is blown up: in a random network with batch norms the gradient of a
single process is already some percent from the true one, and Adam's first steps are as long for a
tiny gradient as for a large one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from lipsync_core.config import GeneratorVariantConfig, TrainingConfig
from lipsync_core.data import tensors
from lipsync_core.evaluation import generator as generator_evaluation
from lipsync_core.evaluation import syncnet as syncnet_evaluation
from lipsync_core.models import PatchDiscriminator
from lipsync_core.runtime.allocator import keep_freed_memory
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import distributed, loop
from tests.training.test_tasks import PUBLIC, make_generator_task, make_syncnet_task

NAMES = ("syncnet", "generator", "gan")
STEPS = {"single": 1, "double": 3}


def widen(task: loop.Task) -> loop.Task:
    """Let everything that the task computes from now on be in double precision."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double

    def to_device(array, device):
        tensor = tensors.to_device(array, device)
        return tensor.double() if tensor.is_floating_point() else tensor

    for module in (syncnet, generator, syncnet_evaluation, generator_evaluation):
        module.to_device = to_device
    for part in (*vars(task).values(), *task.parts.values()):
        if isinstance(part, torch.nn.Module):
            part.double()
    return task


def make(name: str, results: Path) -> loop.Task:
    torch.set_default_dtype(torch.float32)  # the same weights in either precision
    if name == "syncnet":
        options = {
            "clips_per_batch": 4,
            "windows_per_clip": 3,
            "steps": 4,
            "warmup_steps": 2,
            "grad_accumulation": 2,
        }
        return make_syncnet_task(results, **options)
    discriminator = None
    options = {"batch_size": 4, "grad_accumulation": 2}
    if name == "gan":  # by the default recipe
        discriminator = PatchDiscriminator(width=0.0625)
        default = GeneratorVariantConfig().model_dump()
        options = {key: default[key] for key in PUBLIC}
        options |= {"batch_size": 2, "adv_weight": 0.07, "ema_decay": 0.9, "silence_share": 0.5}
        options["sync_ramp_steps"] = 2
    options |= {"sync_threshold": 50.0, "val_windows": 8, "grad_clip": 1.0}
    return make_generator_task(results, discriminator, **options)


def train_all(precision: str, results: Path, out: Path) -> None:
    options = TrainingConfig(steps=STEPS[precision], eval_every=2, save_every=1, checkpoint_every=1)
    for name in NAMES:
        task = make(name, results)
        loop.train(widen(task) if precision == "double" else task, out / name, options)


def main(precision: str, results: Path, out: Path) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # doubles take twice as long without
    generator.LEAKAGE_WINDOWS = 8  # a batch of them is enough, and doubles are slow
    dist.init_process_group("gloo")
    assert distributed.world_size() == 2
    alone = distributed.is_main_process()
    train_all(precision, results, out / "ranks")
    dist.destroy_process_group()
    if alone:
        train_all(precision, results, out / "alone")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
