"""Run an iterator in a thread, some items ahead of their use. Light."""

from __future__ import annotations

import collections
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

Item = TypeVar("Item")
END = object()


class Ahead(Iterator[Item]):
    """The same items, in order, up to `depth` of them made in advance by a thread, from now on.

    An error is raised in its place. `close` ends the thread and closes `items`.
    """

    def __init__(self, items: Generator[Item, None, None], depth: int, name: str = "ahead") -> None:
        self._items = items
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._pending: collections.deque[Future[Any]] = collections.deque()
        for _ in range(depth):
            self._make()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        if not self._pending:
            raise StopIteration
        try:
            item = self._pending.popleft().result()
        except BaseException:
            self.close()
            raise
        if item is END:
            self.close()
            raise StopIteration
        self._make()
        return item

    def close(self) -> None:
        """End the thread and close the items; nothing comes any more."""
        self._pool.shutdown(cancel_futures=True)
        self._pending.clear()
        self._items.close()

    def _make(self) -> None:
        self._pending.append(self._pool.submit(next, self._items, END))
