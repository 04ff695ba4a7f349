"""Dubbings of visitors, one at a time in the order in which they were asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from lipsync_core.errors import LipsyncError

MAX_WAITING = 20
Report = Callable[[str, int, int], None]  # stage, frames done, frames in all


class Cancelled(Exception):
    """Raised in the work of a job, out of its report, when the job is cancelled."""


class Job:
    """One piece of work and how far it is. Made by `JobQueue.submit`."""

    def __init__(self) -> None:
        self.stage = ""
        self.done = 0
        self.total = 0
        self._started = 0.0  # when the first frame of the stage was done
        self._first = 0
        self._stop = threading.Event()
        self._future: Future[Any] | None = None

    def report(self, stage: str, done: int, total: int) -> None:
        """Called by the work for each frame. Raises Cancelled after `cancel`."""
        if self._stop.is_set():
            raise Cancelled
        if stage != self.stage:
            self._started, self._first = time.monotonic(), done
        self.stage, self.done, self.total = stage, done, max(done, total)

    def cancel(self) -> None:
        """Stop the work at its next report, or do not begin it."""
        self._stop.set()
        if self._future is not None:
            self._future.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    @property
    def finished(self) -> bool:
        """Whether it has succeeded, failed or ended because it was cancelled."""
        return self._future is not None and self._future.done()

    @property
    def error(self) -> BaseException | None:
        """Why a finished job failed; Cancelled when it was cancelled, None when it succeeded."""
        assert self._future is not None
        try:
            return self._future.exception(timeout=0)
        except CancelledError:
            return Cancelled()

    @property
    def value(self) -> Any:
        """What the work of a job that has succeeded returned."""
        assert self._future is not None
        return self._future.result(timeout=0)

    @property
    def frames_a_second(self) -> float:
        """Rate of the stage; 0 until it is known."""
        if self.done <= self._first:
            return 0.0
        return (self.done - self._first) / max(time.monotonic() - self._started, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end of the stage; None until it is known."""
        rate = self.frames_a_second
        return (self.total - self.done) / rate if rate else None


class JobQueue:
    """Runs jobs in a thread of its own."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self.max_waiting = max_waiting
        self._jobs: list[Job] = []  # in order; finished ones are dropped at the next call
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "dub")

    def submit(self, work: Callable[[Report], Any]) -> Job:
        """Append `work`, which gets a function to report to and lets its exceptions pass.

        Raises LipsyncError when too many are waiting.
        """
        job = Job()
        with self._lock:
            if len(self._unfinished()) > self.max_waiting:
                raise LipsyncError("too many dubbings are waiting; try again in some minutes")
            self._jobs.append(job)
            job._future = self._pool.submit(_run, work, job)
        return job

    def place(self, job: Job) -> int:
        """How many jobs are before this one; 0 when it runs or has finished."""
        with self._lock:
            jobs = self._unfinished()
        return jobs.index(job) if job in jobs else 0

    def close(self) -> None:
        """Cancel every job and wait for the one that runs."""
        with self._lock:
            for job in self._jobs:
                job.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _unfinished(self) -> list[Job]:
        self._jobs = [job for job in self._jobs if not job.finished]
        return self._jobs


def _run(work: Callable[[Report], Any], job: Job) -> Any:
    if job.cancelled:
        raise Cancelled
    return work(job.report)
