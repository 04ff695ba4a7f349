"""Orderly interruption: a signal asks, the loop saves and leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from lipsync_core.errors import LipsyncError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(LipsyncError):
    """Training was asked to stop and saved its state: run the same command again to go on.

    exit_code: 128 + the signal's number, as shells count (143 for SIGTERM, 130 for SIGINT). It is
    a failure to Snakemake, so that `--retries` continues the run.
    """

    def __init__(self, signum: int, run_dir: Path, step: int, steps: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signum).name} at step {step} of {steps}; the state is in "
            f"{run_dir}, the same command continues from it"
        )
        self.exit_code = 128 + signum


class StopSignals:
    """Context that notes SIGTERM and SIGINT in `.signal` (0: none) instead of dying of them.

    tell: called with the number of each. Outside the main thread, where Python cannot catch
    signals, it does nothing.
    """

    def __init__(self, tell: Callable[[int], None] | None = None) -> None:
        self.signal = 0
        self._tell = tell
        self._before: dict[int, object] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        # A second Ctrl-C means it: let it stop a save that takes too long.
        if self.signal == signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signum
        if self._tell is not None:
            self._tell(signum)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
