"""HTML that the page shows; file names and errors are escaped."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lipsync_core.serve.jobs import Job

TITLE = "Lip-sync dubbing"
CONSENT = (
    "Only faces and voices of people who agreed: ask first, and say that the result is synthetic. "
    "Every result carries that mark in its metadata."
)
CSS = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important; }
.consent { border-left: 4px solid #b45309; padding: .4rem .8rem; }
.note { min-height: 1.5rem; }
.note.bad { color: #b91c1c; font-weight: 600; }
.dark .note.bad { color: #fca5a5; }
.or { color: inherit !important; }
.note progress { width: 100%; height: 1rem; }
.result video { width: 100%; max-height: 70vh; background: #000; }
.result a { font-weight: 600; text-decoration: underline; }
"""


def note(text: str, bad: bool = False) -> str:
    """A line about what happens; screen readers say it when it changes."""
    kind = "note bad" if bad else "note"
    return f'<p class="{kind}" role="status">{html.escape(text)}</p>'


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def progress(job: Job, place: int) -> str:
    """How far a job is: its place in the queue, or rate and time left."""
    if place:
        others = "1 dubbing is" if place == 1 else f"{place} dubbings are"
        return note(f"In the queue: {others} before yours.")
    if not job.total:
        return note("Reading the files …")
    text = f"{job.stage}: frame {job.done} of {job.total}"
    if job.seconds_left is not None:
        text += f", {job.frames_a_second:.3g} a second, {clock(job.seconds_left)} left"
    bar = f'<progress max="{job.total}" value="{job.done}" aria-label="progress"></progress>'
    return f'<div class="note"><p role="status">{html.escape(text)}</p>{bar}</div>'


def result(path: Path, stats: Any) -> str:
    """A player and a link to download. stats: with `frames` and `seconds`, as `DubStats`."""
    address = f"gradio_api/file={quote(str(path))}?{path.stat().st_mtime_ns}"
    size = path.stat().st_size / 1e6
    facts = f"{stats.frames} frames, {clock(stats.seconds)}, {size:.1f} MB"
    return (
        f'<div class="result"><video controls playsinline src="{address}"></video><p>'
        f'<a href="{address}" download="{path.name}">Download {path.name}</a> ({facts})</p></div>'
    )
