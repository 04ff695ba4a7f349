"""Time and memory of the rules, from Snakemake's benchmark files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lipsync_core.report.blocks import NO_VALUE, Table, count, duration, size
from lipsync_core.report.results import numbers
from lipsync_core.runtime.tables import Row, read_table

ORDER = (
    *("demo_corpus", "extract_audio", "mel_spectrograms", "detect_faces", "crop_faces"),
    *("bootstrap_sync", "measure_sync"),
    *("check_clips", "filelists", "train_syncnet", "compare_syncnets", "train_generator"),
    *("train_second_judge", "evaluate", "dub_faces", "infer"),
)
LEFT_OUT = ("report_page",)  # still runs while the page is written


@dataclass(frozen=True)
class Timing:
    """Jobs of one rule. seconds: their sum; max_rss: the highest memory in MB."""

    rule: str
    jobs: int
    seconds: float
    max_rss: float | None


def read_timings(results: Path) -> list[Timing]:
    """`benchmarks/<rule>/**.tsv` (or `benchmarks/<rule>.tsv`), in the order of the pipeline."""
    folder = results / "benchmarks"
    rows: dict[str, list[Row]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows.setdefault(rule, []).extend(read_table(path, "\t"))
    timings = [
        Timing(rule, len(seconds), sum(seconds), max(numbers(mine, "max_rss"), default=None))
        for rule, mine in rows.items()
        if rule not in LEFT_OUT and (seconds := numbers(mine, "s"))
    ]
    ranks = {rule: rank for rank, rule in enumerate(ORDER)}
    return sorted(timings, key=lambda timing: (ranks.get(timing.rule, len(ORDER)), timing.rule))


def total_seconds(timings: Sequence[Timing]) -> float:
    """Seconds of all jobs."""
    return sum(timing.seconds for timing in timings)


def timing_table(timings: Sequence[Timing]) -> Table:
    """One row per rule, with a bar for its time."""
    jobs, total = sum(timing.jobs for timing in timings), total_seconds(timings)
    memory = max((t.max_rss for t in timings if t.max_rss is not None), default=None)
    longest = max(max(timing.seconds for timing in timings), 1e-9)
    bar = Markup('<span class="share" style="--share:{:.1f}%" aria-hidden="true"></span>')
    rows = [
        [
            timing.rule,
            count(timing.jobs),
            duration(timing.seconds),
            "" if timing.rule == "All" else bar.format(100 * timing.seconds / longest),
            NO_VALUE if timing.max_rss is None else size(timing.max_rss),
        ]
        for timing in (*timings, Timing("All", jobs, total, memory))
    ]
    return Table(
        "Time and memory by rule",
        ("Rule", "Jobs", "Time", "Relative to the longest", "Maximum memory"),
        rows,
        numeric=(1, 2, 4),
        total=True,
        note="Times are summed over jobs; jobs that ran in parallel took less wall-clock time. "
        "Jobs that were up to date count with the time of their last run. The report itself is "
        "left out.",
    )
