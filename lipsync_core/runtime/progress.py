"""Progress of long work, with rate and time left.

A bar on a terminal; plain log lines where logging is set to INFO (jobs, log files).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Progress:
    """Counts `total` units of work.

    Parameters
    ----------
    total: number of units, or None when unknown.
    label, unit: what is done ("detect_faces shard 3") and what is counted ("clip").
    start: units already done in an earlier run; they do not count towards the rate.
    every: seconds between log lines.
    """

    def __init__(
        self, total: int | None, label: str, unit: str, start: int = 0, every: float = 10.0
    ) -> None:
        self.total, self.label, self.unit, self.every = total, label, unit, every
        self.done = self.start = start
        self._began = self._said = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=label, unit=unit, initial=start, leave=False)
            if sys.stderr.isatty() and not log.isEnabledFor(logging.INFO)
            else None
        )

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count` finished units; `note` (current loss, clip name) is shown beside them."""
        self.done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said >= self.every:
            self._said = time.monotonic()
            log.info("%s", self._line(note))

    def _line(self, note: str) -> str:
        elapsed = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self.start) / elapsed
        of_total = f"/{self.total}" if self.total is not None else ""
        line = f"{self.label}: {self.done}{of_total} {self.unit}s, {rate:.3g} a second"
        if self.total is not None and rate > 0:
            left = max(self.total - self.done, 0) / rate
            line += f", {int(left // 60)}:{int(left % 60):02d} left"
        return f"{line}, {note}" if note else line

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            log.info("%s", self._line("done"))


def track(items: Iterable[Item], label: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` and show progress; `total` defaults to `len(items)` where it has one."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with Progress(total, label, unit) as progress:
        for item in items:
            yield item
            progress.advance()
