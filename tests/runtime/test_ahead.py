"""An iterator that runs in a thread, ahead of its use."""

import threading

import pytest

from lipsync_core.runtime.ahead import ahead


def test_same_items_made_ahead_in_a_thread():
    made, threads = [], set()

    def items():
        for number in range(10):
            made.append(number)
            threads.add(threading.current_thread().name)
            yield number

    running = ahead(items(), 3, "maker")
    assert next(running) == 0
    assert [*running] == list(range(1, 10))
    assert made == list(range(10)) and threads == {"maker_0"}


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise KeyError("x")

    running = ahead(items(), 4)
    assert next(running) == 1
    with pytest.raises(KeyError):
        next(running)


def test_closing_closes():
    closed = []

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    running = ahead(items(), 2)
    next(running)
    running.close()
    assert closed == [True]
