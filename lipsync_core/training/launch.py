"""Run a training in this process, or in several that share each batch, started by torchrun.

The ranks report to this process, which writes the log and forwards signals:

    job (this process) -> torchrun -> rank 0, rank 1, ...   `python -m lipsync_core.training.launch`

A rank logs lines of JSON to its standard error, and writes the reason for its end to a file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig, TrainingConfig
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import allocator, device, threads
from lipsync_core.runtime.files import write_text
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import run_signature
from lipsync_core.training.engine.signals import Interrupted, StopSignals

log = logging.getLogger(__name__)
COLLECTIVE_TIMEOUT = timedelta(days=1)  # the others wait while rank 0 evaluates or waits for a lock
SHUTDOWN_SECONDS = 300  # for a rank to save its state after SIGTERM
JOB, ENDED = "job.json", "ended_{}.json"
MAX_SHOWN_LINES = 80  # of output that is no log line, in a message


class Training(NamedTuple):
    """A training's function, its config, and the key of the batch size that ranks divide."""

    train: Callable[..., None]
    config: type[TrainingConfig]
    divided: str


TRAININGS = {
    "syncnet": Training(syncnet.train, SyncNetConfig, "clips_per_batch"),
    "generator": Training(generator.train, GeneratorVariantConfig, "batch_size"),
}


class Stopped(LipsyncError):
    """The ranks ended without success, for the reason that one of them reported."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def start_or_resume(
    training: str,
    name: str,
    device_name: str,
    threads_in_all: int,
    results: str | Path,
    config: TrainingConfig,
    image_size: int,
    seed: int,
    weights: Sequence[str | Path] = (),
    **arguments: Any,
) -> None:
    """`run` a training in its folder in results/.runs, continuing from a state found there.

    name: of the training in the log and among the runs; two trainings never share a run. weights:
    files that change the result (SyncNet, pretrained checkpoints). States of older runs are
    removed afterwards, see `run_signature.remove_old_runs`. The others: see `run`.
    """
    data = run_signature.data_digest(results, weights)
    computed = run_signature.computed_keys(config) | {"image_size": image_size}
    run_dir = run_signature.open_run(Path(results) / ".runs", name, computed, data, seed)
    given = {"results": results, "image_size": image_size, "seed": seed, "run_dir": run_dir}
    run(training, device_name, threads_in_all, config, **given, **arguments)
    run_signature.remove_old_runs(run_dir, config.max_runs)


def run(
    training: str, device_name: str, threads_in_all: int, config: TrainingConfig, **arguments: Any
) -> None:
    """Run a training of `TRAININGS` to its end, in `config.num_processes` ranks.

    device_name: see `device.pick`; with several ranks each has a GPU of its own, or all the CPU.
    threads_in_all: processor threads, divided among the ranks.
    arguments: the other arguments of the training function except the device; paths, numbers, text.

    Raises LipsyncError when a batch cannot be divided among the ranks, when there are not as many
    GPUs, or for keys that exclude each other, before anything starts; otherwise what the training
    raises, with its exit code.
    """
    ranks = config.num_processes
    check(config, TRAININGS[training].divided)
    where = device.pick(device_name)
    if ranks == 1:
        threads.limit(threads_in_all)
        allocator.keep_freed_memory()
        TRAININGS[training].train(device=where, config=config, **arguments)
        return
    if where.type == "cuda" and torch.cuda.device_count() < ranks:
        raise LipsyncError(
            f"num_processes: {ranks} processes need a GPU each, and there are "
            f"{torch.cuda.device_count()}; lower `num_processes`, or ask the cluster for more"
        )
    folder = Path(arguments["run_dir"]) / ".ranks"
    for old in folder.glob(ENDED.format("*")):
        old.unlink()
    job = {
        "training": training,
        "device": where.type,
        "threads": max(1, threads_in_all // ranks),
        "config": config.model_dump(),
        "arguments": arguments,
    }
    write_text(folder / JOB, json.dumps(job, default=str))  # paths as text
    _torchrun(ranks, folder)


def check(config: TrainingConfig, divided: str) -> None:
    """Raise LipsyncError unless the batch size divides, and the keys go together."""
    parts = config.num_processes * config.grad_accumulation
    size = getattr(config, divided)
    if size % parts:
        raise LipsyncError(
            f"`{divided}: {size}` does not divide into {config.num_processes} (`num_processes`) "
            f"times {config.grad_accumulation} (`grad_accumulation`) equal parts; make it a "
            f"multiple of {parts}"
        )
    if config.num_processes > 1 and config.compile:
        raise LipsyncError(
            "`compile` works in one process only; set it to false, or `num_processes` to 1"
        )


def _torchrun(ranks: int, folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
    command += ["-m", __spec__.name, str(folder)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path}
    environment.setdefault("OMP_NUM_THREADS", "1")  # each rank sets its own number
    foreign: deque[str] = deque(maxlen=MAX_SHOWN_LINES)
    with contextlib.ExitStack() as stack:
        # A session of its own: Ctrl-C reaches this process only, which tells the ranks once.
        process = stack.enter_context(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        stop = stack.enter_context(StopSignals(lambda _: process.send_signal(signal.SIGTERM)))
        assert process.stdout is not None
        for line in process.stdout:
            _relay(line.rstrip("\n"), foreign)
        status = process.wait()
    reasons = sorted(folder.glob(ENDED.format("*")))
    if reasons:
        reason = json.loads(reasons[0].read_text(encoding="utf-8"))
        raise Stopped(**reason)
    if stop.signal and status:
        name = signal.Signals(stop.signal).name
        raise Stopped(f"stopped by {name} before the first step", 128 + stop.signal)
    if status:
        raise LipsyncError(f"a rank failed (torchrun: {status}):\n" + "\n".join(foreign))


def _relay(line: str, foreign: deque[str]) -> None:
    """Log what a rank logged; keep other output (torch, torchrun) for an error message."""
    try:
        level, message = json.loads(line)
        log.log(level, "%s", message)
    except (ValueError, TypeError):
        foreign.append(line)
        log.debug("%s", line)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps([record.levelno, super().format(record)])


class _JobHandler(logging.StreamHandler):
    """Logs to the job. If the job was killed, the rank saves its state and stops as well."""

    def handleError(self, record: logging.LogRecord) -> None:
        signal.raise_signal(signal.SIGTERM)


def run_rank(folder: Path) -> None:
    """Run one rank of the job in `folder`; started by torchrun."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    number = int(os.environ["RANK"])
    handler = _JobHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO if number == 0 else logging.WARNING, handlers=[handler])
    threads.limit(job["threads"])
    allocator.keep_freed_memory()
    where = torch.device("cpu")
    if job["device"] == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    try:
        training = TRAININGS[job["training"]]
        config = training.config(**job["config"])
        training.train(device=where, config=config, **job["arguments"])
    except LipsyncError as error:
        # torchrun stops the other ranks when one fails; nothing is left to be saved here.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number == 0 or not isinstance(error, Interrupted):
            reason = {"message": str(error), "exit_code": error.exit_code}
            write_text(folder / ENDED.format(number), json.dumps(reason))
            sys.exit(error.exit_code)
    dist.destroy_process_group()


if __name__ == "__main__":
    run_rank(Path(sys.argv[1]))
