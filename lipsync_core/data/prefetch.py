"""Batches made in advance by threads, in their order. Light."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(
    make: Callable[[int], Item], indices: Iterable[int], workers: int = 1
) -> Iterator[Item]:
    """`map(make, indices)`, in order, computed in advance by `workers` threads (0: no thread).

    An exception in `make` is raised at its position. Close the iterator to stop.
    """
    if workers <= 0:
        yield from map(make, indices)
        return
    pending: collections.deque[Future[Item]] = collections.deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="windows")
    try:
        for index in indices:
            pending.append(pool.submit(make, index))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
