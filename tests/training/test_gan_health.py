"""training/gan_health.py, rollbacks of a GAN, engine/ema.py, reference leakage."""

import csv
import math

import numpy as np
import pytest
import torch
from torch import nn

from lipsync_core.checkpoints import build_from, read_state, save_public
from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import generator as generator_evaluation
from lipsync_core.models import QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.training import gan_health, generator
from lipsync_core.training.engine.ema import ema_model
from lipsync_core.training.generator import GeneratorTask
from tests.support.training import small_corpus

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TINY = 0.0625


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


def make_task(results, discriminator=None, kind=GeneratorTask, **more):
    torch.manual_seed(0)
    options = {"width": TINY, "batch_size": 2, "precision": "float32", "val_windows": 8} | more
    corpora = ClipDataset.load(results, "train"), ClipDataset.load(results, "val")
    models = Wav2Lip(width=TINY), SyncNet(width=TINY)
    return kind("task", *models, discriminator, *corpora, GeneratorVariantConfig(**options), 0, CPU)


# the moving average


def test_ema_forgets_its_start_and_follows_slowly():
    model = nn.Linear(1, 1)
    averaged = ema_model(model, 0.9)
    seen = []
    for value in [5.0, *[1.0] * 60, 0.0]:
        nn.init.constant_(model.weight, value)
        averaged.update_parameters(model)
        seen.append(averaged.module.weight.item())
    assert seen[0] == 5.0
    assert seen[1] == pytest.approx(5 * 2 / 11 + 9 / 11)  # (1 + 1) / (10 + 1)
    assert seen[60] == pytest.approx(1, abs=0.01)
    assert seen[61] == pytest.approx(seen[60] * 62 / 71, rel=1e-4)


def test_ema_includes_batch_norm_statistics():
    model = nn.BatchNorm1d(2)
    averaged = ema_model(model, 0.5)
    for _ in range(3):
        model(torch.randn(8, 2) + 3)
        averaged.update_parameters(model)
    assert int(averaged.module.num_batches_tracked) == 3
    assert 0 < averaged.module.running_mean[0] < model.running_mean[0]


def test_ema_weights_are_evaluated_and_exported(results, tmp_path):
    task = make_task(results, ema_decay=0.99, lr=0.01)
    for step in range(3):
        task.step(step, task.batch(step))
    name = "output_block.1.weight"
    assert not torch.equal(task.result.state_dict()[name], task.model.state_dict()[name])
    task.export(tmp_path / "weights.pth", 3)
    assert torch.equal(read_state(tmp_path / "weights.pth")[name], task.result.state_dict()[name])
    task.evaluate(3)
    first = task.evaluate(3)
    with torch.no_grad():
        task.model.output_block[1].weight.zero_()
    assert task.evaluate(3) == first
    plain = make_task(results)
    assert plain.result is plain.model


# SyncNet


def test_the_batch_norm_of_syncnet(results):
    """Statistics of the batch in training mode, and none of its own ever changes."""
    losses = {}
    batch = make_task(results, batch_size=4).batch(0)
    for mode in ("eval", "batch"):
        task = make_task(results, syncnet_batchnorm=mode)
        before = {name: value.clone() for name, value in task.syncnet.state_dict().items()}
        drawn = torch.from_numpy(batch.target).permute(0, 4, 1, 2, 3).float() / 255
        sounds, spoken = torch.from_numpy(batch.sync_mel), torch.ones(4)
        losses[mode] = task.sync_loss(drawn, sounds, spoken).item()
        assert losses[mode] == task.sync_loss(drawn, sounds, spoken).item()
        halves = (slice(0, 2), slice(2, 4))
        alone = sum(task.sync_loss(drawn[h], sounds[h], spoken[h]) for h in halves)
        assert (abs(alone.item() / 2 - losses[mode]) < 1e-5) == (mode == "eval")
        assert not task.syncnet.training
        for name, value in task.syncnet.state_dict().items():
            assert torch.equal(value, before[name]), name
    assert losses["eval"] != losses["batch"]
    with pytest.raises(LipsyncError, match="one window has no statistics; raise `batch_size`"):
        make_task(results, syncnet_batchnorm="batch", batch_size=1)


# collapses


def row(step, **more):
    """A healthy evaluation of a GAN."""
    return {
        "step": step,
        "val_l1": 0.012,
        "val_l1_reference": 0.03,
        "val_sync_loss": 0.4,
        "val_sync_loss_reference": 1.6,
        "val_output_std": 0.1,
        "val_output_std_gt": 0.12,
        "sync_weight": 0.03,
        "train_adv_loss": 0.7,
        "train_disc_real_accuracy": 0.6,
        "train_disc_fake_accuracy": 0.5,
    } | more


def sure(step, loss, **more):
    accuracy = {"train_disc_real_accuracy": 1.0, "train_disc_fake_accuracy": 0.995}
    return row(step, train_adv_loss=loss, **accuracy, **more)


def idle(step, adv_loss, disc_loss=0.001):
    """A discriminator beyond the margin of a hinge loss: it has nothing left to learn."""
    return sure(step, adv_loss, train_disc_real=disc_loss, train_disc_fake=disc_loss)


def colored(step, shift, **more):
    """A mean green that is off."""
    others = {"val_color_shift_b": 0.5, "val_color_shift_r": -0.2}
    return row(step, val_color_shift_g=shift, **others, **more)


def blind(loss, accuracy):
    return row(1, train_disc_real=loss, train_disc_real_accuracy=accuracy, train_disc_fake=0.01)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ""),
        ([row(1)], ""),
        ([row(1), row(2, val_l1=0.02, val_sync_loss=0.9)], ""),
        (
            [row(1), row(2, val_l1=0.027)],
            "the L1 of the generated frames is 0.027, it was 0.012 (reference frames 0.03)",
        ),
        (
            [row(1), row(2), row(3, val_sync_loss=1.5)],
            "the sync loss of the generated frames is 1.5, it",
        ),
        # Nothing had held the sync loss down.
        ([row(1, sync_weight=0.0), row(2, val_sync_loss=1.5)], ""),
        # From scratch: no better than copying yet.
        ([row(1, val_l1=0.2), row(2, val_l1=0.28)], ""),
        ([row(1, val_l1=0.2), row(2, val_l1=0.32)], "the L1 of the generated frames is 0.32"),
        ([{"val_l1": 0.1}, {"val_l1": 0.2}], "the L1 of the generated frames is 0.2, it was 0.1"),
        ([row(1, val_output_std=0.01)], "mode collapse: the outputs vary 8% as much"),
        ([row(1), row(2, val_output_std=0.01)], "mode collapse: the outputs vary 8% as much"),
        # From scratch: they have not learned to differ yet.
        ([row(1, val_output_std=0.001), row(2, val_output_std=0.01)], ""),
        ([sure(1, 7.0), sure(2, 8.0), sure(3, 9.0)], "right about every frame for 3 evaluations"),
        ([sure(1, 7.0), sure(2, 8.0), sure(3, 9.0, rollbacks=1)], ""),
        ([sure(1, 7.0), row(2, train_adv_loss=8.0), sure(3, 9.0)], ""),
        ([sure(1, 9.0), sure(2, 8.0), sure(3, 7.0)], ""),
        ([sure(1, 1.0), sure(2, 2.0), sure(3, 3.0)], ""),
        ([blind(99.0, 0.007)], "certain and wrong on real frames: loss 99"),
        ([blind(0.01, 0.99)], ""),
        ([blind(7.0, 0.9)], ""),  # a few frames that it cannot place
        # Losses on outputs that are no probabilities.
        ([idle(1, 3.0), idle(2, 3.1), idle(3, 3.0)], "the adversarial loss does not fall (3 to 3)"),
        ([idle(1, 1.0), idle(2, 1.0), idle(3, 1.0)], "right about every frame"),  # least squares
        ([idle(1, 3.0), idle(2, 2.5), idle(3, 2.0)], ""),  # the generator catches up
        ([idle(1, 3.0, 0.2), idle(2, 3.0, 0.2), idle(3, 3.0, 0.2)], ""),
        ([row(1, train_adv_loss=-0.3), row(2, train_adv_loss=-2.0)], ""),
        # The sync loss explodes after its ramp, though copied frames would be worse still.
        (
            [
                row(n, sync_weight=w, val_sync_loss=loss, val_sync_loss_reference=7.0)
                for n, (w, loss) in enumerate([(0.01, 1.4), (0.03, 0.6), (0.06, 2.9)])
            ],
            "the sync loss of the generated frames is 2.9, it was 0.6 (reference frames 7)",
        ),
        ([colored(1, -1.0), colored(2, -6.9)], ""),  # named by the diagnosis
        ([colored(1, -1.0), colored(2, -9.0)], "tinted magenta: mean green is 9.0 of 255 too low"),
        ([colored(1, 40.0), colored(2, 30.0)], ""),  # from scratch
        ([colored(1, math.nan)], ""),
    ],
)
def test_collapse_is_detected_from_the_rows(rows, words):
    found = gan_health.collapse(rows)
    assert words in found and bool(found) == bool(words)


def test_only_a_gan_can_collapse(results):
    collapsed = [row(1), row(2, val_l1=0.2)]
    assert make_task(results).failure(collapsed) == ""
    discriminator = QualityDiscriminator(width=TINY)
    assert "L1" in make_task(results, discriminator, adv_weight=0.07).failure(collapsed)


def test_a_gan_is_compared_with_its_start_metrics(results):
    task = make_task(results, QualityDiscriminator(width=TINY), adv_weight=0.07, lr=1e-6)
    task.step(0, task.batch(0))
    start = task.extra_state["start_l1"]
    assert task.failure([{"step": 2, "val_l1": 3 * start}])
    assert not task.failure([{"step": 2, "val_l1": start}])
    task.step(1, task.batch(1))
    assert task.extra_state["start_l1"] == start


def test_a_rollback_changes_learning_rates_and_samples(results, monkeypatch):
    task = make_task(results, QualityDiscriminator(width=TINY), adv_weight=0.07)
    before = task.batch(3)
    seen = []

    def optimizer_step(optimizer, lr, grad_clip, parts):
        seen.append(lr)

    monkeypatch.setattr(generator, "optimizer_step", optimizer_step)
    task.step(0, before)
    task.extra_state["rollbacks"] = 2
    task.on_rollback(2)
    after = task.batch(3)
    assert not np.array_equal(before.target, after.target)
    task.step(0, after)
    assert seen[2:] == [pytest.approx(rate / 4) for rate in seen[:2]]


class Sabotaged(GeneratorTask):
    """Loses its last layer at step 2, once."""

    def step(self, step, batch):
        if step == 2 and not self.extra_state.get("rollbacks"):
            with torch.no_grad():
                for weight in self.model.output_block.parameters():
                    weight.zero_()
        return super().step(step, batch)


def test_a_planted_collapse_is_rolled_back(results, tmp_path, monkeypatch, caplog):
    """The end is as good as the beginning, and the metrics tell."""
    torch.manual_seed(2)
    save_public(tmp_path / "syncnet.pth", SyncNet(width=TINY))
    plain = make_task(results, lr=1e-2)
    for step in range(20):
        plain.step(step, plain.batch(step))
    plain.export(tmp_path / "start.pth", 20)

    monkeypatch.setattr(generator, "GeneratorTask", Sabotaged)
    options = {
        **{"width": TINY, "steps": 6, "batch_size": 2, "lr": 1e-4, "adv_weight": 0.07},
        **{"ema_decay": 0.5, "eval_every": 2, "val_windows": 8, "precision": "float32"},
    }
    outputs = [tmp_path / name for name in ("checkpoint.pth", "metrics.csv", "samples.png")]
    weights = (tmp_path / "syncnet.pth", 3, CPU, tmp_path / "start.pth")
    config = GeneratorVariantConfig(**options)
    generator.train(results, config, 96, tmp_path / "run", *outputs, *weights)
    assert "back to the last good state of step 2, rollback 1" in caplog.text
    rows = list(csv.DictReader(outputs[1].read_text().splitlines()))
    assert [(row["step"], row["rollbacks"]) for row in rows] == [("2", "1"), ("4", "1"), ("6", "1")]
    values = [float(row["val_l1"]) for row in rows]
    assert max(values) < 1.5 * values[0]
    build_from(outputs[0], Wav2Lip)


def test_a_generator_continues_from_its_ema_after_a_rollback(results):
    discriminator = QualityDiscriminator(width=TINY)
    task = make_task(results, discriminator, adv_weight=0.07, ema_decay=0.9, lr=1e-9)
    task.step(0, task.batch(0))
    with torch.no_grad():
        task.model.output_block[1].weight.zero_()
    task.on_rollback(1)
    for step in (1, 2):
        task.step(step, task.batch(step))
        assert task.model.output_block[1].weight.abs().max() > 1e-3
        with torch.no_grad():
            healthy = task.ema.module.output_block[1].weight
            assert torch.allclose(task.model.output_block[1].weight, healthy, atol=1e-6)
    with torch.no_grad():
        task.model.output_block[1].weight.zero_()
    task.step(3, task.batch(3))  # once only
    assert task.model.output_block[1].weight.abs().max() < 1e-3


# motion in silence


def test_motion_in_silence(results, monkeypatch):
    """A mouth that only the sound moves stands still without it."""
    corpus = ClipDataset.load(results, "test")

    def listens(model, batch):
        loud = batch.mels.mean(axis=(2, 3, 4), dtype=np.float32)
        return np.broadcast_to(loud[:, :, None, None, None], (*loud.shape, 96, 96, 3))

    monkeypatch.setattr(generator_evaluation, "generate", listens)
    found = generator_evaluation.reference_leakage(None, corpus, windows=8)
    assert found["motion_silent_audio"] == 0 < found["motion"]
    monkeypatch.setattr(
        generator_evaluation, "generate", lambda model, batch: batch.reference / np.float32(255)
    )
    found = generator_evaluation.reference_leakage(None, corpus, windows=8)
    assert found["motion_silent_audio"] == found["motion"] > 0
    assert found["motion_gt"] > 0


# sizes


@pytest.mark.parametrize("image_size", [192, 288, 384])
def test_a_gan_step_at_every_size(results, image_size):
    torch.manual_seed(0)
    sizes = {"width": TINY, "image_size": image_size}
    options = GeneratorVariantConfig(width=TINY, batch_size=1, adv_weight=0.07, precision="float32")
    corpora = [ClipDataset.load(results, split, image_size) for split in ("train", "val")]
    models = Wav2Lip(**sizes), SyncNet(**sizes), QualityDiscriminator(**sizes)
    task = GeneratorTask("task", *models, *corpora, options, 0, CPU)
    task.extra_state |= {"sync_weight": 0.03, "start_l1": 1.0}
    before = task.model.output_block[1].weight.clone()
    found = task.step(0, task.batch(0))
    assert all(torch.isfinite(value) for value in found.values())
    assert {"train_sync_loss", "train_adv_loss"} <= found.keys()
    assert not torch.equal(before, task.model.output_block[1].weight)
