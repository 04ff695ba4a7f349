"""Jobs run one at a time, in order; each can be cancelled."""

from __future__ import annotations

import threading

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.serve import jobs
from lipsync_core.serve.jobs import Cancelled, Job, JobQueue


@pytest.fixture
def queue():
    queue = JobQueue(max_waiting=2)
    yield queue
    queue.close()


class Steps:
    """Work that goes on when it is told to."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, report):
        report("dub", 0, 10)
        self.begun.set()
        assert self.go.wait(10)
        report("dub", 10, 10)
        return "value"


def wait(job: Job) -> BaseException | None:
    done = threading.Event()
    job._future.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    return job.error


def test_one_at_a_time_in_order_with_their_places(queue):
    works = [Steps() for _ in range(3)]
    running, second, third = [queue.submit(work) for work in works]
    assert works[0].begun.wait(10)
    assert [queue.place(job) for job in (running, second, third)] == [0, 1, 2]
    with pytest.raises(LipsyncError, match="too many"):
        queue.submit(Steps())
    works[0].go.set()
    assert wait(running) is None and running.value == "value"
    assert works[1].begun.wait(10) and not works[2].begun.is_set()
    assert [queue.place(job) for job in (running, second, third)] == [0, 0, 1]
    works[1].go.set(), works[2].go.set()
    assert wait(third) is None


def test_cancelled_jobs_stop_or_never_begin(queue):
    works = [Steps(), Steps()]
    running, waiting = [queue.submit(work) for work in works]
    assert works[0].begun.wait(10)
    waiting.cancel()
    running.cancel()
    works[0].go.set()
    assert isinstance(wait(running), Cancelled)
    assert isinstance(waiting.error, Cancelled) and not works[1].begun.is_set()


def test_a_failure_is_kept_and_the_next_job_runs(queue):
    def fail(report):
        raise ValueError("broken")

    assert isinstance(wait(queue.submit(fail)), ValueError)
    work = Steps()
    work.go.set()
    assert wait(queue.submit(work)) is None


def test_rate_and_time_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    job = Job()
    assert job.frames_a_second == 0 and job.seconds_left is None
    for stage, pace in (("faces", 1), ("dub", 2)):  # what came before a stage does not count
        job.report(stage, 1, 101)
        assert job.seconds_left is None
        now[0] += pace
        job.report(stage, 51, 101)
        assert job.frames_a_second == pytest.approx(50 / pace)
        assert job.seconds_left == pytest.approx(pace)
    job.report("dub", 120, 101)  # the number in all was an estimate
    assert job.total == 120


def test_closing_cancels_all(queue):
    work = Steps()
    running, waiting = queue.submit(work), queue.submit(Steps())
    assert work.begun.wait(10)
    threading.Timer(0.1, work.go.set).start()
    queue.close()
    assert isinstance(running.error, Cancelled) and isinstance(waiting.error, Cancelled)
