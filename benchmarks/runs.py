"""Running this repository's workflow from a benchmark: timed, with its memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """What a call of Snakemake took and said. peak_mb: its largest process.

    cpu: seconds of processor time, which a busy machine does not lengthen.
    """

    seconds: float
    cpu: float
    peak_mb: float
    status: int
    said: str

    @property
    def jobs(self) -> dict[str, int]:
        """Rule -> number of jobs, of a dry run or a real one; empty when nothing is to do."""
        table = self.said.partition("Job stats:")[2].partition("total")[0]
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


@dataclass(frozen=True)
class Project:
    """A working folder: `data`, `results` and a config of its own; the rules are the repository's.

    config: the keys that differ from the defaults.
    """

    folder: Path
    config: dict

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own; what it says goes to `log`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {"data_root": "data", "results": "results"} | self.config
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
        command += ["--configfile", "config.yaml", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(log, "wb") as stream:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> Run:
        """Run Snakemake to its end; SystemExit when it fails."""
        log = self.folder / "snakemake.log"
        began = time.monotonic()
        process = self.start(*arguments, log=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        said = log.read_text(errors="replace")
        if process.returncode:
            sys.exit(f"snakemake {' '.join(arguments)} failed:\n{said[-3000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu, usage.ru_maxrss / 1024, process.returncode, said)
