from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import zipfile
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import accounting
from lipsync_core.report import gallery, page
from lipsync_core.report import results as artifacts
from lipsync_core.report.blocks import duration
from lipsync_core.report.timings import read_timings
from tests.support.media import portrait, write_video

SECTIONS = (
    *("summary", "dubbed", "data", "syncnet"),
    *("generators", "evaluation", "timings", "versions", "people"),
)
VERSIONS = {"Python": "3.11", "torch": "2.13"}
NASTY = 'O\'Brien & "Søn" <b>/-odd 空 <script>alert(1)</script>\u202e'
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """The elements of a page, their text, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def write_csv(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, restval="", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_crops(path: Path, frames: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = cv2.imencode(".jpg", portrait()[:100, :80])[1].tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for frame in range(0, 2 * frames, 2):
            archive.writestr(f"{frame}.jpg", jpeg)


def fabricate(results: Path) -> None:
    """A small run: six clips of four speakers, two of them dropped at different stages."""
    outcomes = {
        "00001/00001": ("train", "", ""),
        "00001/00002": ("", "no_audio", "extract_audio"),
        NASTY: ("train", "", ""),
        "00003/00001": ("val", "", ""),
        "00003/00002": ("", "low_coverage", "check_clips"),
        "00004/00001": ("test", "", ""),
    }
    clips: list[dict[str, object]] = []
    for index, (clip, (split, reason, stage)) in enumerate(outcomes.items()):
        detail = f"detail <{index}>" if reason else ""
        measures = {"seconds": 8 + index, "coverage": 0.99, "face_px": 120 + index}
        clips.append(
            {"clip": clip, "speaker": clip.partition("/")[0], "split": split}
            | {"kept": int(not reason), "reason": reason, "detail": detail, "dropped_by": stage}
            | {"detector": "centerface", **measures}
        )
        if not reason:
            write_crops(results / "faces" / f"{clip}.zip")
    write_csv(results / "filelists" / "clips.csv", clips)
    accounting.write_accounting(
        results / "filelists" / "accounting.csv",
        [
            accounting.StageCounts("extract_audio", 6, 0, 5, Counter(no_audio=1)),
            accounting.StageCounts("check_clips", 5, 0, 4, Counter(low_coverage=1)),
            accounting.StageCounts("filelists", 4, 0, 4),
        ],
    )
    steps = range(0, 400, 100)
    write_csv(
        results / "syncnet" / "metrics.csv",
        [
            {"step": s, "train_loss": 2.4 - s / 200, "val_loss": "nan" if s == 0 else 0.6}
            | {"val_accuracy": 0.5 + s / 1000, "val_auc": 0.5 + s / 750}
            | {"val_offset_1": 0.6, "val_offset_10plus": 0.9}
            for s in steps
        ],
    )
    for variant in ("wav2lip", "wav2lip_gan"):
        write_csv(
            results / variant / "metrics.csv",
            [
                {"step": s, "train_l1": 0.1 - s / 5000, "val_l1": 0.1 - s / 5000}
                | {"val_l1_reference": 0.05, "val_sync_loss": 0.9 - s / 1000}
                | {"sync_weight": 0.03 if s > 100 else 0}
                | ({"train_disc_real": 0.6, "train_disc_fake": 0.7} if "gan" in variant else {})
                for s in steps
            ],
        )
        cv2.imwrite(str(results / variant / "samples.png"), np.tile(portrait(), (4, 2, 1)))
    (results / "evaluation.json").write_text('{"syncnet": {"auc": 0.93}, "list": [1, 2.5]}')
    for rule in ("train_syncnet", "crop_faces/0", "crop_faces/1", "report_page"):
        write_csv(
            results / "benchmarks" / f"{rule}.tsv", [{"s": 30, "max_rss": 2000, "io": "-"}], "\t"
        )
    write_video(results / "result_voice.mp4", 0.4)


DUBS = [
    {"face": "auto", "audio": NASTY, "output": "result_voice.mp4", "checkpoint": "w/c.pth"},
    {"face": "f.png", "audio": "a.wav", "output": "never_made.mp4", "checkpoint": ""},
]
CONFIG = {
    "data_root": "data_root",
    "shards": 2,
    "seed": 1,
    "detector": "auto",
    "syncnet": {"steps": 300, "bce_fraction": 0.5, "loss": "contrastive+bce"},
    "note": "</pre><script>",
}


def build(results: Path, out: Path, **changes: object) -> str:
    arguments = {
        "config": CONFIG,
        "dubs": DUBS,
        "variants": ["wav2lip", "wav2lip_gan"],
        "versions": VERSIONS,
        "demo": True,
    }
    page.build(results, out, **(arguments | changes))
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("run") / "results"
    fabricate(results)
    return results


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return build(run, run / "report" / "index.html")


def test_every_section_is_there_with_its_content(html: str) -> None:
    found = Page(html)
    assert found.open == []
    assert [s["id"] for s in found.all("section")] == list(SECTIONS)
    for words in (
        "6 clips found = 4 kept + 2 dropped.",
        "Verdicts and their thresholds",
        "usable",
        "better than the reference",
        "Area under the ROC curve",
        "cross entropy",
        "used from here, weight 0.03",
        "Discriminator loss",
        "detail <1>",
        "No speaker is in more than one split.",
        "train_syncnet",
        "centerface",
        "data_root: data_root",
        "public-domain portraits",
        "There is no",
    ):
        assert words in found.text, words
    assert "report_page" not in found.text
    assert found.all("video")[0]["src"].startswith("data:video/mp4;base64,")
    assert "controls" in found.all("video")[0]


def test_the_page_loads_nothing_from_the_network(html: str) -> None:
    found = Page(html)
    for tag, attrs in found.elements:
        for name in ("src", "href", "poster", "srcset", "action", "data"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#", "./", "../")), (tag, value)
    without_scripts = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r"url\(|@import|https?://", without_scripts)
    assert {"link", "iframe", "object"}.isdisjoint(tag for tag, _ in found.elements)


def test_scripts_run_by_their_hash_alone(html: str) -> None:
    sources = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    assert len(sources) == 3 and html.count("<script") == 3
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in sources]
    wanted = " ".join(f"'sha256-{value}'" for value in hashes)
    assert f"script-src {wanted}" in policy and policy.startswith("default-src 'none';")
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    assert not re.search(r"<[^>]* on\w+=", re.sub(r"<script>.*?</script>", "", html, flags=re.S))
    assert "Leon Sorokin" in sources[0]  # its licence asks for the notice


def test_curves_have_their_points_and_a_static_picture(html: str) -> None:
    boxes = [box for box in Page(html).all("div") if box.get("data-chart")]
    assert len(boxes) == len(re.findall(r'<div class="chart" data-chart="[^"]*"><svg', html)) > 5
    chart = json.loads(next(b["data-chart"] for b in boxes if "reference" in b["data-chart"]))
    assert all(len(line["y"]) == len(chart["x"]) for line in chart["lines"])
    assert [line["name"] for line in chart["lines"]][:2] == ["training", "validation"]


def test_the_page_is_accessible_to_screen_readers(html: str) -> None:
    found = Page(html)
    assert all(image.get("alt") for image in found.all("img"))
    assert all(drawing.get("aria-label") for drawing in found.all("svg"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert len(found.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_names_are_escaped(html: str) -> None:
    assert "<script>alert" not in html and "</pre><script" not in html
    assert NASTY in "".join(Page(html).words)
    assert any(NASTY in image["alt"] for image in Page(html).all("img"))


def test_equal_inputs_give_equal_bytes(run: Path, html: str) -> None:
    assert build(run, run / "report" / "again.html") == html


def test_missing_artifacts_are_stated_in_a_sentence(tmp_path: Path) -> None:
    html = build(tmp_path, tmp_path / "index.html", config={}, dubs=[], demo=False)
    found = Page(html)
    assert [s["id"] for s in found.all("section")] == list(SECTIONS)
    for words in (
        "There are no results yet",
        "No dubbing was requested",
        "No clip was prepared",
        "There are no face crops to show.",
        "The SyncNet was not trained here",
        "there is no wav2lip_gan/metrics.csv",
        "No times were recorded",
        "There is no evaluation.json",
    ):
        assert words in found.text, words
    assert "public-domain portraits" not in found.text


@pytest.mark.parametrize(
    "lost",
    [
        "filelists/clips.csv",
        "filelists/accounting.csv",
        "syncnet/metrics.csv",
        "wav2lip/samples.png",
        "wav2lip_gan/metrics.csv",
        "evaluation.json",
        "faces/00001/00001.zip",
        "result_voice.mp4",
    ],
)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_any_artifact_may_be_missing_or_empty(
    run: Path, tmp_path: Path, lost: str, how: str
) -> None:
    results = tmp_path / "results"
    for source in sorted(path for path in run.rglob("*") if path.is_file()):
        target = results / source.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(source)
    (results / lost).unlink()
    if how == "empty" and lost != "evaluation.json":
        (results / lost).touch()
    assert Page(build(results, tmp_path / "index.html")).open == []


def test_a_large_video_is_linked_not_embedded(run: Path) -> None:
    found = Page(build(run, run / "report" / "linked.html", video_bytes=10))
    assert not found.all("video")
    assert any(link["href"] == "../result_voice.mp4" for link in found.all("a"))
    assert "Not embedded" in found.text


def test_broken_evaluation_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(LipsyncError, match=r"evaluation\.json: not valid JSON"):
        artifacts.read_json(tmp_path / "evaluation.json")


def test_names_that_are_not_unicode_are_replaced(tmp_path: Path) -> None:
    html = build(tmp_path, tmp_path / "index.html", config={"data_root": "caf\udce9"})
    assert "caf" in html


def test_strip_and_samples_survive_bad_files(tmp_path: Path) -> None:
    write_crops(tmp_path / "few.zip", frames=2)
    strip = gallery.crop_strip(tmp_path / "few.zip", "few")
    assert strip is not None
    assert (strip.shown, strip.total, strip.width) == (2, 2, 2 * gallery.SIDE)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("0.jpg", b"no jpeg")
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    for name in ("bad", "none", "missing"):
        assert gallery.crop_strip(tmp_path / f"{name}.zip", name) is None
    (tmp_path / "samples.png").write_bytes(b"no image")
    assert gallery.sample_image(tmp_path / "samples.png") is None
    noise = np.random.default_rng(0).integers(0, 255, (1100, 1100, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), noise)
    assert gallery.sample_image(tmp_path / "large.png").uri.startswith("data:image/jpeg")
    (tmp_path / "v.mp4").write_bytes(b"no video")
    found = gallery.videos([{"output": "v.mp4"}], tmp_path, tmp_path / "i.html", 10)
    assert "not readable" in found[0].facts and found[0].link == "./v.mp4"
    assert (
        gallery.videos([{"output": "v.mp4"}], tmp_path, tmp_path / "i.html", 1000)[0].poster == ""
    )


def test_an_embedded_video_shows_its_first_frame(html: str) -> None:
    (video,) = Page(html).all("video")
    kind, _, content = video["poster"].partition(",")
    poster = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/jpeg;base64" and poster.std() > 10


def test_the_previews_of_a_training_are_in_its_section(tmp_path: Path) -> None:
    rows = [{"step": step, "val_l1": 0.05, "val_sync_loss": 0.7} for step in (100, 200)]
    write_csv(tmp_path / "wav2lip" / "metrics.csv", rows)
    for step in (100, 200):
        write_video(tmp_path / "wav2lip" / "previews" / f"step_{step:07d}.mp4", 0.2)
    found = Page(build(tmp_path, tmp_path / "index.html", config={}, dubs=[], demo=False))
    videos = found.all("video")
    assert [video["aria-label"] for video in videos] == [
        "Preview of wav2lip at step 100",
        "Preview of wav2lip at step 200",
    ]
    assert all(video["src"].startswith("data:video/mp4;base64,") for video in videos)
    steps = [box.get("data-step") for box in found.all("div") if box.get("class") == "moment"]
    assert steps == ["100", "200"]
    assert "Step 200 : L1 0.05, sync loss 0.7" in found.text


def test_timings_are_summed_by_rule_in_the_order_of_the_pipeline(run: Path) -> None:
    found = read_timings(run)
    assert [(t.rule, t.jobs, t.seconds, t.max_rss) for t in found] == [
        ("crop_faces", 2, 60, 2000),
        ("train_syncnet", 1, 30, 2000),
    ]


def test_metrics_on_a_seen_speaker_are_labeled(tmp_path: Path) -> None:
    fabricate(tmp_path)
    parts = {"split": "train+val+test", "split_frames": "0-2499+2550-2799+2850-3099"}
    rows = [
        {"clip": "me/1", "speaker": "me", "kept": 1, "reason": "", "seconds": 124, **parts},
    ]
    write_csv(tmp_path / "filelists" / "clips.csv", rows)
    lines = [accounting.StageCounts("filelists", 1, 0, 1)]
    accounting.write_accounting(tmp_path / "filelists" / "accounting.csv", lines)
    split = {name: {"evaluated_on": "seen speaker"} for name in ("val", "test")}
    (tmp_path / "filelists" / "split.json").write_text(json.dumps(split))
    evaluation = {"evaluated_on": "seen speaker", "syncnet": {"auc": 0.93, "loss": 0.3}}
    for written in (evaluation, {}):
        (tmp_path / "evaluation.json").write_text(json.dumps(written))
        text = Page(build(tmp_path, tmp_path / "index.html", demo=False)).text
        assert "seen speaker; chance 0.5" in text
        assert "Generators, evaluated on: seen speaker" in text
        assert "held-out" not in text.lower()
    assert "1 + 1 + 1 in train, val, test" in text
    # The length of a split is that of its parts: 2,500 frames are 100 s.
    train = re.search(r"Share of clips train 1 1 (.+?) 100", text)
    assert train is not None and train[1] == re.sub(r"\s+", " ", duration(100))
