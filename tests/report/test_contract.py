"""What the report reads, the pipeline writes: columns and keys are taken from real runs of both."""

from __future__ import annotations

import csv
import re

import pytest
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig, TrainingConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.evaluation import evaluate
from lipsync_core.models import QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.preparation import stages
from lipsync_core.report import corpus, curves, syncnet, timings, verdicts
from lipsync_core.report import results as artifacts
from lipsync_core.training.engine import loop
from lipsync_core.training.engine.run_folder import METRICS
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.syncnet import SyncNetTask
from tests.support.training import small_corpus

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TINY = 0.0625
STEPS = TrainingConfig(steps=2, eval_every=1, save_every=1)


class Recorder(dict):
    """A row or a section that remembers which of its keys were asked for."""

    def __init__(self, content, asked) -> None:
        super().__init__(
            {k: Recorder(v, asked) if isinstance(v, dict) else v for k, v in content.items()}
        )
        self.asked = asked

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def tables(results, tmp_path_factory):
    """metrics.csv of a short training of each kind: SyncNet, a generator, one with GAN."""
    torch.manual_seed(0)
    train, val = ClipDataset.load(results, "train"), ClipDataset.load(results, "val")
    small = {"width": TINY, "precision": "float32"}
    options = SyncNetConfig(**small, clips_per_batch=2, windows_per_clip=4, val_windows=12)
    tasks = {"syncnet": SyncNetTask(SyncNet(width=TINY), train, val, options, 0, CPU)}
    for name, weight in (("wav2lip", 0.0), ("wav2lip_gan", 0.07)):
        # The sync loss counts from the first evaluation on.
        options = GeneratorVariantConfig(
            **small, batch_size=2, val_windows=8, adv_weight=weight, sync_threshold=100.0
        )
        networks = Wav2Lip(width=TINY), SyncNet(width=TINY)
        discriminator = QualityDiscriminator(width=TINY) if weight else None
        tasks[name] = GeneratorTask(name, *networks, discriminator, train, val, options, 0, CPU)
    found = {}
    for name, task in tasks.items():
        folder = tmp_path_factory.mktemp(name)
        loop.train(task, folder, STEPS)
        with open(folder / METRICS, newline="", encoding="utf-8") as stream:
            found[name] = list(csv.DictReader(stream))
    return found


@pytest.fixture(scope="module")
def evaluation(results, tmp_path_factory):
    """evaluation.json of SyncNet and a generator."""
    folder = tmp_path_factory.mktemp("weights")
    save_public(folder / "syncnet.pth", SyncNet(width=TINY))
    save_public(folder / "one.pth", Wav2Lip(width=TINY))
    generators = {"wav2lip": folder / "one.pth"}
    arguments = {"windows_per_clip": 12, "generator_windows": 8, "clip_frames": 20}
    found = evaluate.evaluate(results, folder / "syncnet.pth", generators, CPU, **arguments)
    return found.report


def recorded(rows):
    asked = set()
    return [Recorder(row, asked) for row in rows], asked


def test_the_curves_of_syncnet_are_columns_that_its_training_writes(tables):
    rows, asked = recorded(tables["syncnet"])
    options = {"loss": "contrastive+bce", "steps": 2, "bce_fraction": 0.5}
    figures = curves.syncnet_figures(rows, {}, options, "")
    assert asked <= tables["syncnet"][-1].keys()
    titles = {figure.title for figure in figures}
    assert {"Loss", "Accuracy", "Accuracy by offset of the wrong audio"} <= titles


def test_the_curves_of_the_generators_are_columns_that_their_training_writes(tables):
    rows, asked = recorded(tables["wav2lip_gan"])
    figures = curves.generator_figures(rows, {})
    assert asked <= tables["wav2lip_gan"][-1].keys()
    lines = {figure.title: [name for _, name in figure.legend] for figure in figures}
    assert len(lines["Discriminator loss"]) == 3
    assert any(name.startswith("adversarial loss") for name in lines["Discriminator loss"])
    rows, asked = recorded(tables["wav2lip"])
    curves.generator_figures(rows, {})
    only_with_gan = tables["wav2lip_gan"][-1].keys() - tables["wav2lip"][-1].keys()
    assert asked <= tables["wav2lip"][-1].keys() | only_with_gan


def final_metrics(tables, evaluation, name):
    """Metrics as the report reads them, and which of them it asks for."""
    asked: set[str] = set()
    return Recorder(artifacts.final_metrics(tables[name], evaluation, name), asked), asked


def test_the_verdicts_read_metrics_that_are_written(tables, evaluation):
    syncnet_metrics, asked = final_metrics(tables, evaluation, "syncnet")
    verdicts.syncnet_verdict(syncnet_metrics)
    assert asked and asked <= syncnet_metrics.keys()
    metrics, asked = final_metrics(tables, evaluation, "wav2lip")
    verdicts.generator_verdicts("wav2lip", metrics, 0.9)
    curves.generator_table({"wav2lip": metrics}, "")
    curves.generator_figures([], metrics)
    assert {"sync_loss_gt", "motion_silent_audio"} <= asked <= metrics.keys()
    with_gan, asked = final_metrics(tables, {}, "wav2lip_gan")
    assert len(verdicts.generator_verdicts("wav2lip_gan", with_gan, 0.9)) == 3
    assert "train_disc_fake" in asked


def test_the_report_reads_of_an_evaluation_what_is_written(evaluation, tmp_path):
    asked: set[str] = set()
    read = Recorder(evaluation, asked)
    curves.syncnet_figures([], read, {}, "")
    syncnet.calibration_figure(read)
    syncnet.worst_clips(tmp_path, read, [], None)
    written = evaluation.keys() | evaluation["syncnet"].keys()
    written |= (
        evaluation["syncnet"]["per_clip"].keys()
        | evaluation["syncnet"]["accuracy_by_offset"].keys()
    )
    assert asked <= written


def test_the_timings_name_every_rule_that_is_timed(root):
    rules = {}
    for path in sorted((root / "rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text(), re.M):
            rules[name] = "benchmark:" in body
    timed = {name for name, is_timed in rules.items() if is_timed}
    assert timed - set(timings.LEFT_OUT) == set(timings.ORDER)


def test_every_stage_has_a_name_in_the_report():
    assert {stage.rule for stage in (*stages.ALL, stages.SYNC)} <= corpus.STAGE_NAMES.keys()
