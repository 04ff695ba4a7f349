"""Runs several Snakemake commands in one process tree: the import is paid once.

    python -m tests.support.dry_runs FOLDER < commands.json > results.json

Each command is a list of arguments; each result is [exit status, what it printed].
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from snakemake.cli import main


def run(arguments: list[str]) -> tuple[int, str]:
    """Run one command in a fork, so that it finds this process as it was."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["snakemake", *arguments]
            main(arguments)  # ends the process
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    json.dump([run(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
