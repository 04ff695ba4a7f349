"""Trainings as jobs: in this process, or in several that share each batch, started by torchrun.

The ranks report to this process, which writes the log and passes signals on:

    job (this process) -> torchrun -> rank 0, rank 1, ...   `python -m lipsync_core.training.launch`

What a rank logs comes back as lines of JSON in its standard error; why it stopped, as a file.
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
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import device, threads
from lipsync_core.runtime.files import write_text
from lipsync_core.training import generator, syncnet
from lipsync_core.training.engine import run_signature
from lipsync_core.training.engine.signals import Interrupted, StopSignals

log = logging.getLogger(__name__)
PATIENCE = timedelta(days=1)  # while the first rank evaluates, or waits for a folder, others wait
TIME_TO_SAVE = 300  # seconds that a rank has after SIGTERM
JOB, ENDED = "job.json", "ended_{}.json"
SHOWN = 80  # lines of foreign output in a message


class Training(NamedTuple):
    """A training's function, and the option that counts what the ranks share."""

    train: Callable[..., None]
    shared: str


TRAININGS = {
    "expert": Training(syncnet.train, "clips"),
    "generator": Training(generator.train, "batch"),
}


class Stopped(LipsyncError):
    """The ranks ended without success, for the reason that one of them gave."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def start_or_resume(
    training: str,
    name: str,
    device_name: str,
    threads_in_all: int,
    results: str | Path,
    options: Mapping[str, Any],
    seed: int,
    weights: Sequence[str | Path] = (),
    **arguments: Any,
) -> None:
    """`run` a training in its folder of results/.runs, from the state that it may continue from.

    name: of the training in the log, and among the runs; two trainings never share a run. weights:
    files that decide what is computed (expert, initial checkpoint). States of older runs are
    removed afterwards, see `run_signature.tidy`. The others: see `run`.
    """
    data = run_signature.data_digest(results, weights)
    run_dir = run_signature.enter(Path(results) / ".runs", name, options, data, seed)
    given = {"results": results, "options": options, "seed": seed, "run_dir": run_dir}
    run(training, device_name, threads_in_all, **given, **arguments)
    run_signature.tidy(run_dir, options["keep_runs"])


def run(training: str, device_name: str, threads_in_all: int, **arguments: Any) -> None:
    """Run a training of `TRAININGS` to its end, in as many ranks as its options ask for.

    device_name: see `device.pick`; with several ranks each has a GPU of its own, or all the CPU.
    threads_in_all: processor threads, divided among the ranks.
    arguments: those of the training's function but the device; paths, numbers, text, dicts.

    Raises LipsyncError when a batch cannot be divided among the ranks, when there are not as many
    GPUs, or for options that exclude each other, before anything starts; otherwise what the
    training raises, with its exit code.
    """
    options = arguments["options"]
    ranks = options.get("ranks", 1)
    check(options, TRAININGS[training].shared)
    where = device.pick(device_name)
    if ranks == 1:
        threads.limit(threads_in_all)
        TRAININGS[training].train(device=where, **arguments)
        return
    if where.type == "cuda" and torch.cuda.device_count() < ranks:
        raise LipsyncError(
            f"ranks: {ranks} processes need a GPU each, and there are {torch.cuda.device_count()};"
            " lower `ranks`, or ask the cluster for more"
        )
    folder = Path(arguments["run_dir"]) / ".ranks"
    for left in folder.glob(ENDED.format("*")):
        left.unlink()
    job = {
        "training": training,
        "device": where.type,
        "threads": max(1, threads_in_all // ranks),
        "arguments": {key: _plain(value) for key, value in arguments.items()},
    }
    write_text(folder / JOB, json.dumps(job))
    _torchrun(ranks, folder)


def check(options: Mapping[str, Any], shared: str) -> None:
    """Raise LipsyncError unless a batch can be divided, and the options go together."""
    ranks, accumulate = options.get("ranks", 1), options.get("accumulate", 1)
    size = options[shared]
    if size % (ranks * accumulate):
        raise LipsyncError(
            f"`{shared}: {size}` cannot be divided into {ranks} (`ranks`) times {accumulate} "
            f"(`accumulate`) equal parts; make it a multiple of {ranks * accumulate}"
        )
    if ranks > 1 and options.get("compile"):
        raise LipsyncError("`compile` works in one process only; set it to false, or `ranks` to 1")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _torchrun(ranks: int, folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", f"--shutdown-timeout={TIME_TO_SAVE}"]
    command += ["-m", __spec__.name, str(folder)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path}
    environment.setdefault("OMP_NUM_THREADS", "1")  # each rank sets its own number
    foreign: deque[str] = deque(maxlen=SHOWN)
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
    """Log what a rank logged; keep what others printed (torch, torchrun) for the worst case."""
    try:
        level, message = json.loads(line)
        log.log(level, "%s", message)
    except (ValueError, TypeError):
        foreign.append(line)
        log.debug("%s", line)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps([record.levelno, super().format(record)])


class _ToJob(logging.StreamHandler):
    """Logs to the job; when that is gone (killed), the rank ends in an orderly way, too."""

    def handleError(self, record: logging.LogRecord) -> None:
        signal.raise_signal(signal.SIGTERM)


def rank(folder: Path) -> None:
    """Be one rank of the job in `folder`; started by torchrun."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    number = int(os.environ["RANK"])
    handler = _ToJob(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO if number == 0 else logging.WARNING, handlers=[handler])
    threads.limit(job["threads"])
    where = torch.device("cpu")
    if job["device"] == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        TRAININGS[job["training"]].train(device=where, **job["arguments"])
    except LipsyncError as error:
        # torchrun ends the other ranks when one fails: from here on nothing is to be saved.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number == 0 or not isinstance(error, Interrupted):
            reason = {"message": str(error), "exit_code": error.exit_code}
            write_text(folder / ENDED.format(number), json.dumps(reason))
            sys.exit(error.exit_code)
    dist.destroy_process_group()


if __name__ == "__main__":
    rank(Path(sys.argv[1]))
