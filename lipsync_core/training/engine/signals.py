"""Stop signals: SIGTERM and SIGINT let the loop save its state before it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from lipsync_core.errors import LipsyncError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(LipsyncError):
    """A signal stopped the training after it saved its state; the same command continues it.

    exit_code: 128 + the number of the signal, as in shells (143 for SIGTERM, 130 for SIGINT).
    Snakemake counts it as a failure, so that `--retries` continues the run.
    """

    def __init__(self, signum: int, run_dir: Path, step: int, steps: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signum).name} at step {step} of {steps}; the state is in "
            f"{run_dir}, the same command continues from it"
        )
        self.exit_code = 128 + signum


class StopSignals:
    """Context that records SIGTERM and SIGINT in `.signal` (0: none) instead of ending the process.

    on_signal: called with the number of each. Does nothing outside the main thread, where Python
    cannot handle signals.
    """

    def __init__(self, on_signal: Callable[[int], None] | None = None) -> None:
        self.signal = 0
        self._on_signal = on_signal
        self._before: dict[int, object] = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        # A second Ctrl-C interrupts a save that takes too long.
        if self.signal == signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signum
        if self._on_signal is not None:
            self._on_signal(signum)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
