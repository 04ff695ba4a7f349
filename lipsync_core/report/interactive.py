"""Interactive curves: uPlot draws a figure's points over its static picture.

uPlot (MIT licence, report/vendor), curves.js and previews.js are embedded in the page. The page's
Content-Security-Policy names the SHA-256 of each: a browser runs these scripts and no other.
Without scripts, and in a saved picture, the SVG of the figure remains.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from lipsync_core.report.plots import Series, thin_out

HERE = Path(__file__).parent
MAX_POINTS = 1000  # of a line
OWN_SCRIPTS = ("curves.js", "previews.js")


class Scripts(NamedTuple):
    """sources: the text of each script. policy: what script-src allows. style: uPlot's CSS."""

    sources: Sequence[Markup]
    policy: Markup
    style: Markup


def scripts() -> Scripts:
    """The scripts of the page, the same text in each run."""
    licence = (HERE / "vendor" / "uplot.LICENSE").read_text(encoding="utf-8")
    library = (HERE / "vendor" / "uplot.js").read_text(encoding="utf-8")
    own = [(HERE / name).read_text(encoding="utf-8") for name in OWN_SCRIPTS]
    sources = [f"\n/* uPlot\n{licence}*/\n{library}\n", *(f"\n{each}" for each in own)]
    hashes = [
        base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
        for source in sources
    ]
    style = (HERE / "vendor" / "uplot.css").read_text(encoding="utf-8")
    policy = " ".join(f"'sha256-{value}'" for value in hashes)
    return Scripts([Markup(source) for source in sources], Markup(policy), Markup(style))


def chart(
    series: Sequence[Series],
    references: Sequence[tuple[float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """The content of a figure as JSON for curves.js.

    x: the sorted x of all lines; lines: [{name, mark, y: value or null at each x}]; references and
    marks as in `plots.line_chart`.
    """
    shown = [Series(s.name, thin_out(s.points, MAX_POINTS), s.mark) for s in series if s.points]
    xs = sorted({x for line in shown for x, _ in line.points})
    lines = []
    for line in shown:
        known = dict(line.points)
        y = [None if x not in known else float(f"{known[x]:.6g}") for x in xs]
        lines.append({"name": line.name, "mark": line.mark, "y": y})
    found = {"x": xs, "lines": lines, "references": list(references), "marks": list(marks)}
    return json.dumps(found, separators=(",", ":"))
