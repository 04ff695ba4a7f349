"""Progress of long work, with rate and remaining time.

A bar on a terminal; plain log lines where logging is set to INFO (jobs, log files).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

log = logging.getLogger(__name__)


OnProgress = Callable[[int, int], None]  # units done, units in all


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
        self._started = self._logged = time.monotonic()
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
        elif time.monotonic() - self._logged >= self.every:
            self._logged = time.monotonic()
            log.info("%s", self._line(note))

    def _line(self, note: str) -> str:
        rate = (self.done - self.start) / max(time.monotonic() - self._started, 1e-9)
        of_total = f"/{self.total}" if self.total is not None else ""
        line = f"{self.label}: {self.done}{of_total} {self.unit}s, {rate:.3g} a second"
        if self.total is not None and rate > 0:
            minutes, seconds = divmod(int(max(self.total - self.done, 0) / rate), 60)
            line += f", {minutes}:{seconds:02d} left"
        return f"{line}, {note}" if note else line

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            log.info("%s", self._line("done"))
