"""Cores of the nodes of a SLURM cluster. Light: the Snakefile imports it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

from lipsync_core.errors import LipsyncError

PROFILE = "profiles/slurm/profile.v9+.yaml"


def node_cores() -> dict[str, int]:
    """Cores of the largest node of each partition; the default partition also as "".

    Empty where `sinfo` is missing or fails.
    """
    program = shutil.which("sinfo")
    if program is None:
        return {}
    command = [program, "--noheader", "--format=%P|%c"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    cores: dict[str, int] = {}
    # "8+" stands for nodes of 8 cores and more, whose exact number sinfo does not say.
    for name, count, more in re.findall(r"^(\S+)\|(\d+)(\+?)$", answer.stdout, re.M):
        most = 1 << 20 if more else int(count)
        for each in (name.rstrip("*"), *([""] if name.endswith("*") else [])):
            cores[each] = max(most, cores.get(each, 0))
    return cores


def check_cores(asked: Iterable[tuple[str, str, int]], cores: dict[str, int]) -> None:
    """Raise LipsyncError for jobs that would wait forever: no node has the cores they request.

    asked: (rule, partition or "", threads) of the jobs. cores: as `node_cores` gives them.
    """
    short: dict[tuple[str, int], set[str]] = {}
    for rule, partition, threads in asked:
        if threads > cores.get(partition, threads):
            short.setdefault((partition, threads), set()).add(rule)
    if short:
        lines = (
            f"{', '.join(sorted(rules))}: {threads} cores requested, but no node of "
            f"{f'partition {partition}' if partition else 'the default partition'} has more than "
            f"{cores[partition]}"
            for (partition, threads), rules in sorted(short.items())
        )
        least = min(cores[partition] for partition, _ in short)
        raise LipsyncError(f"{'; '.join(lines)}: set `max-threads: {least}` in {PROFILE}")
