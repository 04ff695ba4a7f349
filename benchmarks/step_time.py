"""Claim: at the public sizes a training step does more samples a second than the public scripts'.

At least 2.5 times where the processor (or GPU) has bf16, 1.2 times in float32.

    python benchmarks/step_time.py --public Wav2Lip [--threads 2] [--rounds 3]
    python benchmarks/step_time.py --public Wav2Lip --syncnet 64 --generator 16 --device cuda

The public networks and training loops (`train` of color_syncnet_train.py, wav2lip_train.py and
hq_wav2lip_train.py) are loaded from the checkout and called as they are, on batches in memory: the
data do not count. Ours are the steps of the training tasks on the same pictures and sounds, with
the public optimizer and, for SyncNet, also with the shipped one, Muon: its steps are longer, but
fewer lead as far (benchmarks/syncnet.py, "wide"). The sync loss is on, as it is for most of a
training. Rounds alternate; the best of each counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import torch
import yaml

from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.tensors import generator_input, stack_window, to_planes
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime import config_file, threads
from lipsync_core.training import adversary
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.syncnet import SyncNetTask

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.training import write_corpus

GROUP = 8  # windows of a clip in our SyncNet's batch
Steps = Callable[[int], float]  # does so many steps, returns the seconds of one


class Timed:
    """A loader of one batch, again and again; knows when each was asked for."""

    def __init__(self, batch: Sequence[torch.Tensor], device: torch.device, count: int) -> None:
        self.batch, self.device, self.count = batch, device, count
        self.times: list[float] = []

    def __iter__(self) -> Iterator[Sequence[torch.Tensor]]:
        for _ in range(self.count):
            self.times.append(now(self.device))
            yield self.batch
        self.times.append(now(self.device))


def now(device: torch.device) -> float:
    """Seconds, when all that the device was asked to do is done.

    Of the processor where one thread does it all: other work on the machine does not count then.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def public_script(checkout: Path, name: str) -> ModuleType:
    """One of the public training scripts as a module."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    sys.argv = [name, "--data_root", ".", "--checkpoint_dir", "."]
    sys.argv += ["--syncnet_checkpoint_path", "none"] if "wav2lip" in name else []
    with contextlib.redirect_stdout(io.StringIO()):
        return __import__(name)


def public_steps(
    script: ModuleType, batch: Sequence[torch.Tensor], device: torch.device, *networks
) -> Steps:
    """The public loop over `batch`; networks: the network and, with GAN, the discriminator."""
    hparams = script.hparams
    hparams.set_hparam("syncnet_wt", 0.03)
    rates = [hparams.data.get("syncnet_lr" if len(batch) == 3 else "initial_learning_rate", 1e-4)]
    models = [network.to(device) for network in networks]
    optimizers = [torch.optim.Adam(model.parameters(), lr=rates[0]) for model in models]

    def steps(count: int) -> float:
        script.global_step, script.global_epoch = 1, 0  # no evaluation, no checkpoint
        timed = Timed(batch, device, count)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            script.train(device, *models, timed, None, *optimizers, ".", 10**9, 1)
        return min(after - before for before, after in itertools.pairwise(timed.times))

    return steps


def our_steps(task: SyncNetTask | GeneratorTask, device: torch.device) -> Steps:
    """The steps of one of our tasks."""
    batch = task.batch(0)

    def steps(count: int) -> float:
        times = [now(device)]
        for _ in range(count):
            task.step(0, batch)
            times.append(now(device))
        return min(after - before for before, after in itertools.pairwise(times))

    return steps


def syncnet_contest(options: argparse.Namespace, corpus: ClipDataset) -> dict[str, Steps]:
    """Name -> steps, of SyncNet."""
    device = torch.device(options.device)
    contest: dict[str, Steps] = {}
    for name, optimizer in itertools.product(("bf16", "float32"), ("adam", "muon")):
        own = SyncNetConfig(
            clips_per_batch=options.syncnet // GROUP,
            windows_per_clip=GROUP,
            steps=1000,
            loss="bce",
            precision=name,
            optimizer=optimizer,
        )
        task = SyncNetTask(SyncNet(), corpus, corpus, own, 0, device)
        contest[f"ours, {name}, {optimizer}"] = our_steps(task, device)
    frames, mels, _ = map(torch.from_numpy, task.batch(0))
    faces = stack_window(frames.flatten(0, 1)).contiguous()
    script = public_script(options.public, "color_syncnet_train")
    batch = faces, mels.flatten(0, 1), torch.ones(len(faces), 1)
    return {"public": public_steps(script, batch, device, script.SyncNet())} | contest


def recipe(preset: str, variant: str) -> GeneratorVariantConfig:
    """The config of a variant under a preset."""
    root = Path(__file__).resolve().parents[1]
    given = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    config = config_file.load(given | {"preset": preset}, root / "config/presets")
    return config.generator.variant(variant)


def generator_contest(
    options: argparse.Namespace, corpus: ClipDataset, gan: bool
) -> dict[str, Steps]:
    """Name -> steps, of the generator."""
    device = torch.device(options.device)
    contest: dict[str, Steps] = {}
    # The public recipe, then the shipped one, whose steps are longer, but fewer lead as far.
    for preset, name in (("full", "bf16"), ("full", "float32"), ("hd192", "bf16")):
        own = recipe(preset, "wav2lip_gan" if gan else "wav2lip").model_copy(
            update={"batch_size": options.generator, "val_windows": 4, "precision": name}
        )
        discriminator = adversary.build(own, 96) if gan else None
        task = GeneratorTask(
            "", Wav2Lip(), SyncNet(), discriminator, corpus, corpus, own, 0, device
        )
        task.extra_state["sync_weight"] = own.sync_weight
        which = "public recipe" if preset == "full" else "shipped recipe"
        contest[f"ours, {which}, {name}"] = our_steps(task, device)
    target, reference, mels, sync_mel, _ = map(torch.from_numpy, task.batch(0))
    real = to_planes(target).contiguous()
    batch = generator_input(real, to_planes(reference)), mels, sync_mel, real
    script = public_script(options.public, "hq_wav2lip_train" if gan else "wav2lip_train")
    networks = [script.Wav2Lip()]
    if gan:
        if device.type == "cpu":  # theirs moves its labels to a GPU, wherever it runs
            torch.Tensor.cuda = lambda tensor: tensor
        networks.append(script.Wav2Lip_disc_qual())
    return {"public": public_steps(script, batch, device, *networks)} | contest


def table(what: str, samples: int, contest: dict[str, Steps], options: argparse.Namespace) -> None:
    """Print the figures of one training."""
    best = {name: steps(1) for name, steps in contest.items()}  # warms up
    best = dict.fromkeys(best, float("inf"))
    for _ in range(options.rounds):
        for name, steps in contest.items():
            best[name] = min(best[name], steps(options.steps))
    for name, seconds in best.items():
        row = f"{what}, {samples} | {name} | {seconds:.3f} | {samples / seconds:.1f}"
        print(f"| {row} | {best['public'] / seconds:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--public", type=Path, required=True, help="a checkout of Wav2Lip")
    parser.add_argument("--syncnet", type=int, default=32, help="windows of the SyncNet's batch")
    parser.add_argument("--generator", type=int, default=4, help="windows of the generator's")
    parser.add_argument("--only", choices=["syncnet", "generator", "gan"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="of each in a round")
    options = parser.parse_args()
    options.public = options.public.absolute()
    threads.limit(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        ids = [f"speaker/{number}" for number in range(4)]
        corpus = ClipDataset.load(write_corpus(Path(folder), {"train": ids}), "train")
        print("| training, batch | whose | s a step | samples/s | ratio |\n|---|---|---|---|---|")
        if options.only in (None, "syncnet"):
            table("syncnet", options.syncnet, syncnet_contest(options, corpus), options)
        for name, gan in (("generator", False), ("gan", True)):
            if options.only in (None, name):
                contest = generator_contest(options, corpus, gan)
                table(name, options.generator, contest, options)


if __name__ == "__main__":
    main()
