"""Puts the page together: reads the artefacts, asks each section for its blocks, renders."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from lipsync_core.corpus import split_summary
from lipsync_core.preparation import accounting
from lipsync_core.report import corpus, curves, gallery, syncnet, timings, verdicts
from lipsync_core.report import results as artefacts
from lipsync_core.report.blocks import Table, clip_name
from lipsync_core.report.versions import collect_versions
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row
from lipsync_core.training import diagnosis

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
VIDEO_BYTES = 40_000_000
ACCOUNTING = "filelists/accounting.csv"
SHOWN_ELSEWHERE = ("syncnet.per_clip", "syncnet.calibration")
SAMPLE_ROWS = ("reference", "masked input", "generated", "truth")


def build(
    results: Path,
    out: Path,
    *,
    config: Mapping[str, Any],
    dubs: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    versions: Mapping[str, str] | None = None,
    demo: bool = False,
    video_bytes: int = VIDEO_BYTES,
) -> None:
    """Write the report of the run in `results` to `out`, one self-contained HTML file.

    Parameters
    ----------
    config: the validated config, shown as YAML; `syncnet` is read from it.
    dubs: dicts of face, audio, output (path of the video, or its name in `results`) and checkpoint.
    variants: names of the generators, each a folder of `results`.
    versions: name -> version; collected here when None.
    demo: say what the demo corpus's speakers are.
    video_bytes: the dubbed videos are embedded while they fit in this many bytes together.

    Sections whose artefacts are missing say so in a sentence. Equal inputs give equal bytes.
    Raises LipsyncError when evaluation.json is broken.
    """
    results, out = Path(results), Path(out)
    context = gather(results, out, config, dubs, variants, video_bytes)
    context["demo"] = demo
    context["versions"] = version_table(
        collect_versions() if versions is None else versions, context["detector"]
    )
    html = render(context)
    write_text(out, html)
    log.info("%s: %.1f MB", out, len(html.encode()) / 1e6)


def gather(
    results: Path,
    out: Path,
    config: Mapping[str, Any],
    dubs: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    video_bytes: int,
) -> dict[str, Any]:
    """Everything that the template shows but the versions and the demo's note."""
    clips = artefacts.read_clips(results)
    evaluation = artefacts.read_evaluation(results)
    expert_rows = artefacts.read_metrics(results, "syncnet")
    data_check = artefacts.read_data_check(results)
    options = config.get("syncnet") or {}
    validated_on = split_summary.judged_on(results, "val")
    judge = curves.read_expert(expert_rows, evaluation, validated_on)
    course = syncnet.course(expert_rows, options, clips, data_check)
    worst = syncnet.worst_clips(results, evaluation, clips, judge)
    rows = {name: artefacts.read_metrics(results, name) for name in variants}
    states = {
        name: curves.read_generator(name, rows[name], evaluation, validated_on) for name in variants
    }
    times = timings.read_timings(results)
    result = corpus.account(accounting.read_accounting(results / ACCOUNTING), clips)
    judged = verdicts.data_verdicts(result, clips) if result else []
    judged += [verdict for verdict in [syncnet.data_check_summary(data_check, judge)] if verdict]
    if expert_rows or judge.auc is not None:
        judged.append(verdicts.expert_verdict(judge))
    trained = {name: s for name, s in states.items() if rows[name] or s.l1 is not None}
    for name, state in trained.items():
        judged += verdicts.generator_verdicts(name, state, judge)
    return {
        "headlines": verdicts.headlines(result, clips, judge, trained, times),
        "verdicts": judged,
        "videos": gallery.videos(dubs, results, out, video_bytes),
        "account": corpus.account_table(result) if result else None,
        "dropped": corpus.dropped_table(result) if result else None,
        "splits": corpus.split_table(clips) if clips else None,
        "distributions": corpus.distributions(clips),
        "sheet": gallery.contact_sheet(results, clips),
        "expert": {
            "data_check": syncnet.data_check_verdicts(data_check, judge),
            "data_check_figures": syncnet.data_check_figures(data_check),
            "course": course,
            "figures": [
                *curves.expert_figures(expert_rows, evaluation, options),
                *filter(None, [syncnet.calibration_figure(evaluation)]),
            ],
            "worst": worst,
            "spread": syncnet.spread(judge, worst),
            "table": curves.metrics_table(expert_rows, "Metrics of the expert"),
        },
        "generators": [
            {
                "name": name,
                "course": diagnosis.diagnose_generator(rows[name], _steps(config, name)),
                "figures": curves.generator_figures(rows[name], states[name]),
                "samples": gallery.sample_picture(results / name / "samples.png"),
                "table": curves.metrics_table(rows[name], f"Metrics of {name}"),
            }
            for name in variants
        ],
        "compared": curves.generator_table(trained) if trained else None,
        "evaluation": evaluation_table(evaluation),
        "timings": timings.timing_table(times) if times else None,
        "detector": detector(clips, config),
        "config": config_yaml(config),
        "sample_rows": SAMPLE_ROWS,
        "validated_on": validated_on,
        "judged_on": judge.judged_on,
        "clip_name": clip_name,
    }


def _steps(config: Mapping[str, Any], variant: str) -> int:
    """The steps planned for a generator; 0 where the config does not say."""
    section = config.get("generator") or {}
    own = section.get(variant) or {}
    return int(artefacts.first_of(own, "steps") or artefacts.first_of(section, "steps") or 0)


def detector(clips: Sequence[Row], config: Mapping[str, Any]) -> str:
    """The detectors that found the faces of the clips, else the one that the config asks for."""
    used = sorted({row["detector"] for row in clips if row.get("detector")})
    return ", ".join(used) or str(config.get("detector", "unknown"))


def version_table(versions: Mapping[str, str], used_detector: str) -> Table:
    """Versions and the face detector, a row each."""
    rows = [[str(name), str(value)] for name, value in versions.items()]
    if "detector" not in versions:
        rows.append(["Face detector", used_detector])
    return Table("Versions", ("What", "Version"), rows)


def evaluation_table(evaluation: Mapping[str, Any]) -> Table | None:
    """Every figure of evaluation.json, named by its path."""
    if not evaluation:
        return None
    rows = [
        [Markup("<code>{}</code>").format(key), value]
        for key, value in artefacts.flatten(evaluation)
        if not key.startswith(SHOWN_ELSEWHERE)
    ]
    return Table("All figures of evaluation.json", ("Figure", "Value"), rows, numeric=(1,))


def config_yaml(config: Mapping[str, Any]) -> str:
    """The config as YAML, in its own order."""
    plain = json.loads(json.dumps(config, default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def render(context: Mapping[str, Any]) -> str:
    """The page as text that can be encoded as UTF-8, whatever bytes the file names held."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    html = environment.get_template("page.html.j2").render(context, style=style)
    return html.encode("utf-8", errors="replace").decode("utf-8")
