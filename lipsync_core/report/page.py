"""The report page: reads the artifacts, collects the content of each section and renders it."""

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
from lipsync_core.report import (
    corpus,
    curves,
    distributions,
    gallery,
    interactive,
    sync,
    syncnet,
    timings,
    training_previews,
    verdicts,
)
from lipsync_core.report import (
    evaluation as evaluations,
)
from lipsync_core.report import results as artifacts
from lipsync_core.report.blocks import Table, clip_name
from lipsync_core.report.versions import collect_versions
from lipsync_core.runtime.files import write_text
from lipsync_core.runtime.tables import Row
from lipsync_core.training import diagnosis, generator_diagnosis

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
VIDEO_BYTES = 40_000_000
ACCOUNTING = "filelists/accounting.csv"
SHOWN_ELSEWHERE = (
    *("syncnet.per_clip", "syncnet.calibration"),
    *("protocols", "rankings", "groups", "judges", "agreement", "fid"),
)
PREVIEW_ROWS = (
    "ground truth",
    "generated from its own audio",
    "generated from another clip's audio",
)
SAMPLE_ROWS = ("reference", "masked input", "generated", "ground truth")


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
    demo: add a note on the speakers of the demo corpus.
    video_bytes: dubbed videos are embedded up to this total size.

    A section without artifacts has a sentence about it. Equal inputs give equal bytes.
    Raises LipsyncError if evaluation.json or data_check.json is broken.
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
    """The context of the template, except the versions and the note on the demo."""
    clips = artifacts.read_clips(results)
    account = corpus.account(accounting.read_accounting(results / ACCOUNTING), clips)
    evaluation = artifacts.read_json(results / "evaluation.json")
    data_check = artifacts.read_json(results / "syncnet" / "data_check.json")
    rows = {name: artifacts.read_metrics(results, name) for name in ("syncnet", *variants)}
    metrics = {name: artifacts.final_metrics(rows[name], evaluation, name) for name in rows}
    trained = {name: metrics[name] for name in variants if rows[name] or "l1" in metrics[name]}
    validated_on = split_summary.evaluated_on(results, "val")
    unevaluated = split_summary.UNKNOWN if evaluation else validated_on
    evaluated_on = str(evaluation.get("evaluated_on") or unevaluated)
    times = timings.read_timings(results)
    summary = _summary(account, clips, data_check, evaluation, rows["syncnet"], metrics, trained)
    return {
        "headlines": verdicts.headlines(
            account, clips, metrics["syncnet"], trained, times, evaluated_on
        ),
        "verdicts": summary,
        "videos": gallery.videos(
            dubs, results, out, video_bytes, Path(config.get("data_root", ""))
        ),
        "account": corpus.account_table(account) if account else None,
        "dropped": corpus.dropped_tables(account) if account else [],
        "dropped_total": len(account.dropped) if account else 0,
        "splits": corpus.split_table(clips) if clips else None,
        "sync": sync.section(results, clips, config),
        "distributions": distributions.groups(clips, config.get("check") or {}),
        "sheet": gallery.contact_sheet(results, clips),
        "syncnet": _syncnet(
            *(results, config, clips, evaluation, data_check),
            *(rows["syncnet"], metrics["syncnet"], evaluated_on),
        ),
        "generators": [
            _generator(results, config, name, rows[name], metrics[name]) for name in variants
        ],
        "compared": curves.generator_table(trained, evaluated_on) if trained else None,
        "evaluated": evaluations.section(evaluation),
        "evaluation": evaluation_table(evaluation),
        "timings": timings.timing_table(times) if times else None,
        "detector": detector(clips, config),
        "config": config_yaml(config),
        "sample_rows": SAMPLE_ROWS,
        "preview_rows": PREVIEW_ROWS,
        "validated_on": validated_on,
        "evaluated_on": evaluated_on,
        "clip_name": clip_name,
    }


def _summary(
    account: corpus.Account | None,
    clips: Sequence[Row],
    data_check: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    syncnet_rows: Sequence[Row],
    metrics: Mapping[str, Mapping[str, float]],
    trained: Mapping[str, Mapping[str, float]],
) -> list[diagnosis.Diagnosis]:
    """What the top of the page says about the data and the networks."""
    auc = metrics["syncnet"].get("auc")
    found = verdicts.data_verdicts(account, clips) if account else []
    found += filter(None, [sync.verdict(clips), syncnet.data_check_summary(data_check, auc)])
    if syncnet_rows or auc is not None:
        found.append(verdicts.syncnet_verdict(metrics["syncnet"]))
    for name, figures in trained.items():
        found += verdicts.generator_verdicts(name, figures, auc)
    return found + evaluations.verdicts(evaluation)


def _syncnet(
    results: Path,
    config: Mapping[str, Any],
    clips: Sequence[Row],
    evaluation: Mapping[str, Any],
    data_check: Mapping[str, Any],
    rows: Sequence[Row],
    metrics: Mapping[str, float],
    evaluated_on: str,
) -> dict[str, Any]:
    """The content of the SyncNet section."""
    options, auc = config.get("syncnet") or {}, metrics.get("auc")
    worst = syncnet.worst_clips(results, evaluation, clips, auc)
    calibration = syncnet.calibration_figure(evaluation)
    return {
        "data_check": syncnet.data_check_verdicts(data_check, auc),
        "data_check_figures": syncnet.data_check_figures(data_check),
        "diagnosis": syncnet.diagnosis(rows, options, clips, data_check),
        "figures": [
            *curves.syncnet_figures(rows, evaluation, options, evaluated_on),
            *filter(None, [calibration]),
        ],
        "comparison": syncnet.comparison_table(
            artifacts.read_json(results / "syncnet" / "comparison.json")
        ),
        "worst": worst,
        "worst_summary": syncnet.worst_summary(metrics.get("loss"), worst),
        "table": curves.metrics_table(rows, "Metrics of the SyncNet"),
    }


def _generator(
    results: Path,
    config: Mapping[str, Any],
    name: str,
    rows: Sequence[Row],
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """The content of the section of a generator."""
    section = config.get("generator") or {}
    steps = (section.get(name) or {}).get("steps") or section.get("steps") or 0
    return {
        "name": name,
        "diagnosis": generator_diagnosis.diagnose_generator(rows, int(steps)),
        "figures": curves.generator_figures(rows, metrics),
        "samples": gallery.sample_image(results / name / "samples.png"),
        "previews": training_previews.training_previews(results / name / "previews", rows),
        "table": curves.metrics_table(rows, f"Metrics of {name}"),
    }


def detector(clips: Sequence[Row], config: Mapping[str, Any]) -> str:
    """The detectors that found the faces of the clips, else the one in the config."""
    used = sorted({row["detector"] for row in clips if row.get("detector")})
    return ", ".join(used) or str(config.get("detector", "unknown"))


def version_table(versions: Mapping[str, str], used_detector: str) -> Table:
    """Versions and the face detector, a row each."""
    rows = [[str(name), str(value)] for name, value in versions.items()]
    if "detector" not in versions:
        rows.append(["Face detector", used_detector])
    return Table("Versions", ("What", "Version"), rows)


def evaluation_table(evaluation: Mapping[str, Any]) -> Table | None:
    """All values of evaluation.json by their path, except those shown elsewhere."""
    if not evaluation:
        return None
    rows = [
        [Markup("<code>{}</code>").format(key), value]
        for key, value in artifacts.flatten(evaluation)
        if not key.startswith(SHOWN_ELSEWHERE)
    ]
    return Table("All values of evaluation.json", ("Name", "Value"), rows, numeric=(1,))


def config_yaml(config: Mapping[str, Any]) -> str:
    """The config as YAML, in its own order."""
    plain = json.loads(json.dumps(config, default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def render(context: Mapping[str, Any]) -> str:
    """The page as text that can be encoded as UTF-8, also with file names that are not UTF-8."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    scripts = interactive.scripts()
    template = environment.get_template("page.html.j2")
    html = template.render(context, style=style, scripts=scripts)
    return html.encode("utf-8", errors="replace").decode("utf-8")
