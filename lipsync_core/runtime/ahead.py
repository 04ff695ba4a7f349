"""Run an iterator in a thread, some items ahead of their use. Light."""

from __future__ import annotations

import collections
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def ahead(items: Generator[Item, None, None], depth: int, name: str = "ahead") -> Iterator[Item]:
    """The same items, in order, up to `depth` of them made in advance by a thread.

    An error is raised in its place. Closing this iterator closes `items`.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    pending = collections.deque(pool.submit(next, items, END) for _ in range(depth))
    try:
        while (item := pending.popleft().result()) is not END:
            pending.append(pool.submit(next, items, END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()
