"""Where the time went: Snakemake's benchmark files, summed by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lipsync_core.report.blocks import NO_VALUE, Table, count, duration, size
from lipsync_core.report.results import number
from lipsync_core.runtime.tables import read_table

ORDER = (
    "demo_corpus",
    "extract_audio",
    "mel_spectrograms",
    "detect_faces",
    "crop_faces",
    "check_clips",
    "filelists",
    "train_syncnet",
    "train_generator",
    "evaluate",
    "infer",
)
# The page cannot hold the time of its own making; the figure of an earlier run would be stale.
LEFT_OUT = ("report_page",)


@dataclass(frozen=True)
class Timing:
    """Jobs of one rule: seconds summed, memory at its highest."""

    rule: str
    jobs: int
    seconds: float
    max_rss: float | None


def read_timings(results: Path) -> list[Timing]:
    """`benchmarks/<rule>/**.tsv` (or `benchmarks/<rule>.tsv`), in the order of the pipeline."""
    folder = results / "benchmarks"
    rows: dict[str, list[dict[str, str]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        if rule not in LEFT_OUT:
            rows.setdefault(rule, []).extend(read_table(path, "\t"))
    timings = []
    for rule, mine in rows.items():
        seconds = [value for row in mine if (value := number(row.get("s"))) is not None]
        memory = [value for row in mine if (value := number(row.get("max_rss"))) is not None]
        if seconds:
            timings.append(Timing(rule, len(seconds), sum(seconds), max(memory, default=None)))
    return sorted(timings, key=lambda t: (_rank(t.rule), t.rule))


def _rank(rule: str) -> int:
    return ORDER.index(rule) if rule in ORDER else len(ORDER)


def total_seconds(timings: Sequence[Timing]) -> float:
    """Seconds of all jobs."""
    return sum(timing.seconds for timing in timings)


def timing_table(timings: Sequence[Timing]) -> Table:
    """A row a rule, with a bar for its share of the time."""
    total = total_seconds(timings)
    longest = max(timing.seconds for timing in timings)
    bar = Markup('<span class="share" style="--share:{:.1f}%" aria-hidden="true"></span>')
    rows = [
        [
            timing.rule,
            count(timing.jobs),
            duration(timing.seconds),
            bar.format(100 * timing.seconds / max(longest, 1e-9)),
            NO_VALUE if timing.max_rss is None else size(timing.max_rss),
        ]
        for timing in timings
    ]
    jobs = sum(timing.jobs for timing in timings)
    memory = [timing.max_rss for timing in timings if timing.max_rss is not None]
    rows.append(
        ["All", count(jobs), duration(total), "", size(max(memory)) if memory else NO_VALUE]
    )
    return Table(
        "Time and memory by rule",
        ("Rule", "Jobs", "Time", "Against the longest", "Most memory"),
        rows,
        numeric=(1, 2, 4),
        total=True,
        note="Time is summed over jobs; jobs that ran side by side took less by the clock. Jobs "
        "found up to date are counted at the time they took when they last ran. This page's own "
        "making is left out.",
    )
