"""The evaluation in the report: intervals, rankings that fail, judges, groups."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lipsync_core.evaluation import summary
from lipsync_core.evaluation.output import rounded
from lipsync_core.report import evaluation
from tests.report.test_page import Page, build

SYSTEMS = ("ground_truth", "ground_truth_h264", "copied_reference", "net", "net_shuffled_audio")
JUDGES = ("syncnet", "second_judge")


def made(first: float = 0.05, second: float = 0.05) -> dict:
    """An evaluation of 14 clips of 7 speakers; first, second: by how much each judge's distance
    grows from system to system."""
    rows = [
        {
            "protocol": "same_audio",
            "system": system,
            "clip": f"s{n % 7}/{n}",
            "speaker": f"s{n % 7}",
        }
        | {"audio": "", "reason": "too_short" if n == 13 and place == 3 else ""}
        | {"distance_syncnet": 0.3 + first * place + n / 1000}
        | {"distance_second_judge": 0.3 + second * place + n / 1000}
        | {"mouth_l1": (0, 0.01, 0.05, 0.04, 0.08)[place] + n / 10000}
        for place, system in enumerate(SYSTEMS)
        for n in range(14)
    ]
    systems = summary.summarize(rows, JUDGES)
    return rounded(
        {
            "evaluated_on": "held-out speakers",
            "judges": {
                name: {"description": f"the {name}", "is_loss": name == "syncnet"}
                for name in JUDGES
            },
            "protocols": {"same_audio": systems},
            "rankings": {"same_audio": summary.rankings(systems, ["net"], JUDGES)},
            "agreement": summary.agreement(rows, systems, JUDGES),
            "fid": {"value": None, "reason": "no weights"},
            "groups": {"same_audio": {"sex": {"f": systems}}},
        }
    )


def test_each_system_has_a_row_with_intervals() -> None:
    found = evaluation.section(made())
    assert found is not None
    (protocol,) = found.protocols
    sync, mouth = protocol.tables
    assert len(mouth.columns) == 2
    assert [row[0] for row in sync.rows] == [
        *("ground truth", "ground truth, re-encoded", "copied reference"),
        *("net", "net, shuffled audio"),
    ]
    cell = re.fullmatch(
        r'([\d.]+)<span class="interval">([\d.]+) to ([\d.]+)</span>', sync.rows[3][1]
    )
    assert cell and float(cell[2]) < float(cell[1]) < float(cell[3])
    assert "over 7 speakers" in protocol.text and "net: 1 too_short" in protocol.text
    assert [figure.title for figure in protocol.figures] == [
        *("Distance by syncnet", "Distance by second_judge", "Mouth L1"),
    ]
    assert protocol.figures[0].svg.count('class="whisker') == 5
    assert [table.caption for table in protocol.groups] == ["Audio of the same clip, sex: f"]


def test_failing_rankings_and_judges_that_differ_are_told(tmp_path: Path) -> None:
    found = made(0.05, -0.05)
    section = evaluation.section(found)
    assert section is not None
    (protocol,) = section.protocols
    assert protocol.failing_metrics == ["Distance by syncnet", "Distance by second_judge"]
    assert protocol.failing is not None
    first, second = protocol.failing.rows
    assert first[2].startswith("copied reference (0.406) is not worse than net (0.457)")
    assert second[2].count("is not worse than") == 2
    assert section.agreement[0].level == "bad" and section.agreement[0].word == "disagree"
    assert evaluation.section(made()).agreement[0].word == "agree"
    (tmp_path / "evaluation.json").write_text(json.dumps(found))
    text = Page(build(tmp_path, tmp_path / "i.html", dubs=[], variants=[])).text
    assert (
        "disagree" in text
        and "the other rows: Distance by syncnet, Distance by second_judge." in text
    )
    assert "1 of 3 rankings have the ground truth first" in text and "FID: no weights." in text


def test_verdict_on_each_generator() -> None:
    (found,) = evaluation.verdicts(made())  # of three metrics only the L1 is better than copied
    assert found.level == "bad" and "1 of 3 metrics" in found.figures
    (found,) = evaluation.verdicts(made(-0.05, -0.05))
    assert found.level == "good"
    assert evaluation.verdicts({}) == [] and evaluation.section({"syncnet": {}}) is None
