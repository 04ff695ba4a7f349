"""An iterator that runs in a thread, ahead of its use."""

import threading

import pytest

from lipsync_core.runtime.ahead import Ahead


def test_same_items_made_ahead_in_a_thread():
    made, threads = [], set()

    def items():
        for number in range(10):
            made.append(number)
            threads.add(threading.current_thread().name)
            yield number

    running = Ahead(items(), 3, "maker")
    assert next(running) == 0
    assert [*running] == list(range(1, 10))
    assert made == list(range(10)) and threads == {"maker_0"}


def test_items_are_made_before_they_are_asked_for():
    made = threading.Event()

    def items():
        made.set()
        yield 1

    running = Ahead(items(), 1)
    assert made.wait(10)
    running.close()


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise KeyError("x")

    running = Ahead(items(), 4)
    assert next(running) == 1
    with pytest.raises(KeyError):
        next(running)
    assert [*running] == []


def test_closing_closes():
    closed = []

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    running = Ahead(items(), 2)
    next(running)
    running.close()
    assert closed == [True]
