"""Claim: a preparation killed at any moment goes on, redoes nothing, and ends with the same bytes.

    python benchmarks/kill.py --kills 10

A small corpus of the demo's speakers is prepared once undisturbed, and once with SIGKILL to the
whole process group (Snakemake, its jobs, ffmpeg) at random moments, each followed by the same
command, as a user would give it (`--unlock` removes the lock that a killed run leaves behind).
Compared are all tables, lists and files of the stages, hidden ones too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from runs import Project

from lipsync_core.demo import corpus, plan
from lipsync_core.preparation import stages

COMMAND = ("--cores", "2", "prepare")
LEFT_OUT = ("logs", "benchmarks")  # they hold times


def contents(results: Path) -> dict[str, str]:
    """File -> digest of everything in the results but logs."""
    return {
        str(path.relative_to(results)): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.relative_to(results).parts[0] not in LEFT_OUT
    }


def finished(project: Project, said: str) -> dict[Path, int]:
    """Tables that Snakemake called finished -> their times."""
    done = set(re.findall(r"Finished jobid: (\d+) \(Rule: (\w+)\)", said))
    block = r"^    jobid: (\d+)\n(?:    .*\n)*?    wildcards: shard=(\d+)$"
    shards = dict(re.findall(block, said, re.MULTILINE))
    folders = {stage.rule: stage.folder for stage in stages.ALL}
    tables = (
        project.results / folders[rule] / f"{shards[job]}.csv"
        for job, rule in done
        if rule in folders and job in shards
    )
    return {table: table.stat().st_mtime_ns for table in tables}


def journalled(project: Project) -> dict[Path, int]:
    """Files of clips that a journal calls done -> their times."""
    found = {}
    for stage in stages.ALL:
        for journal in (project.results / stage.folder / ".journal").glob("*.jsonl"):
            for line in journal.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the last line, cut short
                path = project.results / stage.folder / f"{record['clip']}{stage.suffix}"
                if record["outcome"] == "kept" and stage.suffix:
                    found[path] = path.stat().st_mtime_ns
    return found


def changed(before: dict[Path, int]) -> list[Path]:
    return [
        path
        for path, when in before.items()
        if not path.exists() or path.stat().st_mtime_ns != when
    ]


def kill_once(project: Project, delay: float) -> tuple[bool, dict[Path, int], dict[Path, int]]:
    """Start, kill after `delay` seconds; was it still running? What was finished by then?"""
    log = project.folder / "killed.log"
    process = project.start(*COMMAND, log=log)
    time.sleep(delay)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tables = finished(project, log.read_text(errors="replace"))
    return running, tables, journalled(project)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--speakers", type=int, default=6)
    parser.add_argument("--each", type=int, default=3, help="clips a speaker")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kill-"))
    draw = random.Random(arguments.seed)
    videos = plan.plan(arguments.speakers, arguments.each, seconds=2.0)
    undisturbed = Project(work / "undisturbed", {"shards": 3, "detector": "centerface"})
    disturbed = Project(work / "disturbed", undisturbed.config)
    corpus.write_corpus(undisturbed.data, processes=1, clips=videos)
    shutil.copytree(undisturbed.data, disturbed.data)  # with its times
    whole = undisturbed.run(*COMMAND)
    expected = contents(undisturbed.results)
    print(f"{len(videos)} clips, undisturbed: {whole.seconds:.0f} s, {len(expected)} files\n")
    print("| kill | after | tables | clip files | leftovers | tables redone | files redone |")
    print("|---|---|---|---|---|---|---|")
    kept_tables: dict[Path, int] = {}
    kept_files: dict[Path, int] = {}
    worst = 0
    kills = 0
    while kills < arguments.kills:
        delay = draw.uniform(0.1, 0.6) * whole.seconds
        running, tables, files = kill_once(disturbed, delay)
        redone_tables, redone_files = changed(kept_tables), changed(kept_files)
        worst = max(worst, len(redone_tables), len(redone_files))
        kept_tables |= tables
        kept_files = files
        left = sum(".tmp" in name for name in contents(disturbed.results))
        if running:
            kills += 1
            what = f"| {kills} | {delay:.1f} s | {len(kept_tables)} | {len(files)} | {left} "
            print(f"{what}| {len(redone_tables)} | {len(redone_files)} |", flush=True)
            disturbed.run("--unlock")
            continue
        check(expected, contents(disturbed.results))
        shutil.rmtree(disturbed.results)
        kept_tables, kept_files = {}, {}
    disturbed.run(*COMMAND)
    worst = max(worst, len(changed(kept_tables)), len(changed(kept_files)))
    check(expected, contents(disturbed.results))
    again = disturbed.run("-n", *COMMAND)
    print(
        f"\n{len(expected)} files equal, byte for byte; at most {worst} redone; "
        f"then to do: {again.jobs or 'nothing'}"
    )
    shutil.rmtree(work)


def check(expected: dict[str, str], found: dict[str, str]) -> None:
    names = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if names:
        sys.exit(f"{len(names)} files differ: {names[:20]}")


if __name__ == "__main__":
    main()
