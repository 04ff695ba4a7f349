"""training/{syncnet,generator}.py: the three trainings run, stop, resume bit for bit and learn."""

import csv
import functools
import os
import signal

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lipsync_core.checkpoints import build_from, load_weights, read_checkpoint, save_public
from lipsync_core.config import GeneratorVariantConfig, SyncNetAugment, SyncNetConfig
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.models import PatchDiscriminator, QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.models.discriminator import data_dependent_init
from lipsync_core.training import generator, losses, syncnet
from lipsync_core.training.engine.signals import Interrupted
from lipsync_core.training.generator import GeneratorTask
from lipsync_core.training.syncnet import SyncNetTask
from tests.support.training import small_corpus, write_corpus
from tests.training.engine.test_loop import assert_same

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TINY = 0.0625
SYNCNET = {
    "width": TINY,
    "steps": 6,
    "clips_per_batch": 2,
    "windows_per_clip": 4,
    "warmup_steps": 2,
    "val_windows": 12,
    "eval_every": 2,
    "save_every": 100,
    "precision": "float32",
}
PLAIN = {
    "width": TINY,
    "steps": 6,
    "batch_size": 1,
    "val_windows": 8,
    "eval_every": 2,
    "save_every": 100,
    "precision": "float32",
    "sync_threshold": 50.0,
    "sync_ramp_steps": 0,
    "warmup_steps": 2,
    "silence_share": 0.5,
    "previews": False,
}
GAN = PLAIN | {"adv_weight": 0.03}
PUBLIC = {  # the recipe of the public code, as config/presets/full.yaml has it
    "optimizer": "adam",
    "lr": 1e-4,
    "lr_schedule": "constant",
    "warmup_steps": 0,
    "grad_clip": 0,
    "reference": "random",
    "silence_share": 0,
    "audio_encoder": "random",
    "mouth_weight": 0,
    "perceptual_weight": 0,
    "texture_weight": 0,
    "color_weight": 0,
    "sync_weight": 0.01,
    "sync_threshold": 0.75,
    "sync_ramp_steps": 0,
    "discriminator": "public",
    "disc_lr": 1e-4,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def syncnet_path(tmp_path_factory):
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("syncnet") / "checkpoint.pth"
    save_public(path, SyncNet(width=TINY))
    return path


def train_syncnet(results, folder, syncnet_path, size=96, **more):
    out = folder / "checkpoint.pth", folder / "metrics.csv"
    config = SyncNetConfig(**SYNCNET | more)
    syncnet.train(results, config, size, folder / "run", *out, seed=3, device=CPU)


def train_generator(keys, results, folder, syncnet_path, size=96, **more):
    out = folder / "checkpoint.pth", folder / "metrics.csv", folder / "samples.png"
    config = GeneratorVariantConfig(**keys | more)
    generator.train(results, config, size, folder / "run", *out, syncnet_path, seed=3, device=CPU)


TRAININGS = {
    "syncnet": (train_syncnet, SyncNetTask),
    "wav2lip": (functools.partial(train_generator, PLAIN), GeneratorTask),
    "wav2lip_gan": (functools.partial(train_generator, GAN), GeneratorTask),
}


@pytest.fixture(scope="module", params=TRAININGS)
def trained(request, results, syncnet_path, tmp_path_factory):
    """A training by name and the folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp(request.param)
    TRAININGS[request.param][0](results, folder, syncnet_path)
    return request.param, folder


def test_six_steps_are_three_and_three(trained, results, syncnet_path, tmp_path, monkeypatch):
    name, straight = trained
    train, task = TRAININGS[name]
    real = task.step

    def stop_at_third(self, step, batch):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(task, "step", stop_at_third)
        with pytest.raises(Interrupted, match="at step 3 of 6"):
            train(results, tmp_path, syncnet_path)
    assert not (tmp_path / "checkpoint.pth").exists()
    train(results, tmp_path, syncnet_path, num_workers=3)
    for file in ("metrics.csv", "checkpoint.pth", "run/best.pth", "samples.png"):
        if (straight / file).exists():
            assert (tmp_path / file).read_bytes() == (straight / file).read_bytes(), file
    states = [
        torch.load(place / "run/last.pt", weights_only=True) for place in (straight, tmp_path)
    ]
    assert_same(*states)
    assert states[0]["step"] == 6


def test_the_outputs_of_a_training(trained):
    name, folder = trained
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    wanted = {
        "syncnet": {"train_loss", "val_loss", "val_accuracy", "val_auc", "val_top1", "phase"},
        "wav2lip": {"train_l1", "val_l1", "val_sync_loss", "val_l1_reference", "train_sync_loss"},
        "wav2lip_gan": {"train_l1", "val_l1", "val_sync_loss", "train_disc_real", "train_adv_loss"},
    }[name]
    assert wanted <= rows[0].keys()
    model = build_from(folder / "checkpoint.pth", SyncNet if name == "syncnet" else Wav2Lip)
    assert model.width == TINY
    content = read_checkpoint(folder / "checkpoint.pth")
    if name == "syncnet":
        assert [row["phase"] for row in rows] == ["contrastive", "bce", "bce"]
        return
    # As the public code does to go on: the optimizer of all parameters of the network, no others.
    assert content["optimizer"] is None  # Muon's
    assert content["global_step"] == 6
    assert [float(row["sync_weight"]) for row in rows] == [0, 0.03, 0.03]
    assert rows[0]["train_sync_loss"] == "" and float(rows[1]["train_sync_loss"]) > 0
    image = cv2.imread(str(folder / "samples.png"))
    assert image.shape[0] == 4 * 96 and image.shape[1] > 8 * 96
    masked = image[96 + 48 : 2 * 96, -96:]
    assert not masked.any() and image[2 * 96 :, -96:].any()
    disc = folder / "run" / generator.DISCRIMINATOR
    assert disc.is_file() == (name == "wav2lip_gan")
    if disc.is_file():
        load_weights(PatchDiscriminator(width=TINY), disc)


def test_adams_state_is_exported_as_in_public_files(results, tmp_path):
    task = make_generator_task(results)
    task.step(0, task.batch(0))
    task.export(tmp_path / "public.pth", 1)
    state = read_checkpoint(tmp_path / "public.pth")["optimizer"]
    torch.optim.Adam(task.model.parameters()).load_state_dict(state)
    assert state["state"]


def make_syncnet_task(results, **more):
    torch.manual_seed(0)
    options = SyncNetConfig(**{"width": TINY, "precision": "float32", "val_windows": 24} | more)
    train, val = ClipDataset.load(results, "train"), ClipDataset.load(results, "val")
    return SyncNetTask(SyncNet(width=TINY), train, val, options, 0, CPU)


def make_generator_task(results, network=None, **more):
    torch.manual_seed(0)
    options = GeneratorVariantConfig(
        **{"width": TINY, "batch_size": 2, "precision": "float32"} | PUBLIC | more
    )
    corpora = ClipDataset.load(results, "train"), ClipDataset.load(results, "val")
    models = Wav2Lip(width=TINY), SyncNet(width=TINY)
    return GeneratorTask("task", *models, network, *corpora, options, 0, CPU)


class Exploding(SyncNetTask):
    """The weights are no numbers any more after step 3, as often as `times`."""

    times, crash = 1, None

    def step(self, step, batch):
        if step == self.crash and self.extra_state["rollbacks"]:
            raise RuntimeError("as if killed")
        if step == 3 and self.extra_state["rollbacks"] < self.times:
            with torch.no_grad():
                self.temperature.log_scale.fill_(float("nan"))
                next(self.model.parameters()).fill_(float("nan"))
        return super().step(step, batch)


def explode(results, folder, monkeypatch, times, crash=None, **more):
    kind = type("Exploding", (Exploding,), {"times": times, "crash": crash})
    monkeypatch.setattr(syncnet, "SyncNetTask", kind)
    out = folder / "checkpoint.pth", folder / "metrics.csv"
    config = SyncNetConfig(**SYNCNET | {"eval_every": 2} | more)
    syncnet.train(results, config, 96, folder / "run", *out, seed=0, device=CPU)
    return list(csv.DictReader(out[1].read_text().splitlines()))


@pytest.mark.parametrize("loss", ["contrastive+bce", "contrastive", "bce"])
def test_a_diverged_syncnet_continues_with_other_samples(
    results, tmp_path, monkeypatch, caplog, loss
):
    rows = explode(results, tmp_path, monkeypatch, 2, loss=loss)
    assert "is nan" in caplog.text and "last good state of step 2, rollback 2" in caplog.text
    assert [(row["step"], row["rollbacks"]) for row in rows] == [("2", "2"), ("4", "2"), ("6", "2")]
    assert all(np.isfinite(float(row["val_loss"])) for row in rows)


def test_a_syncnet_that_keeps_diverging_raises(results, tmp_path, monkeypatch):
    words = "syncnet: failed 3 times, each time with other samples; .* Lower `lr`, set `grad_clip`"
    for _ in range(2):  # the second time at once
        with pytest.raises(LipsyncError, match=words):
            explode(results, tmp_path, monkeypatch, 9, max_rollbacks=2)
    assert not (tmp_path / "checkpoint.pth").exists()
    rows = explode(results, tmp_path, monkeypatch, 3, max_rollbacks=3)
    assert [row["step"] for row in rows] == ["2", "4", "6"]


def test_syncnet_samples_differ_after_a_rollback(results):
    task = make_syncnet_task(results)
    before, task.extra_state["rollbacks"] = task.batch(3), 1
    assert not np.array_equal(before.frames, task.batch(3).frames)


def test_a_kill_around_a_syncnet_rollback_changes_nothing(results, tmp_path, monkeypatch):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    explode(results, quiet, monkeypatch, times=2)
    for crash in (2, 3, 5):
        with pytest.raises(RuntimeError, match="as if killed"):
            explode(results, killed, monkeypatch, times=2, crash=crash)
    explode(results, killed, monkeypatch, times=2)
    for name in ("last.pt", "last_good.pt"):
        states = [torch.load(at / "run" / name, weights_only=True) for at in (quiet, killed)]
        assert_same(*states)
    assert (quiet / "checkpoint.pth").read_bytes() == (killed / "checkpoint.pth").read_bytes()


def test_syncnet_learns_to_match_audio(tmp_path):
    ids = [f"s{number}/1" for number in range(4)]
    results = write_corpus(tmp_path, {"train": ids, "val": ["v/1"]}, frames=80)
    options = SYNCNET | {
        "steps": 60,
        "windows_per_clip": 8,
        "lr": 3e-3,
        "val_windows": 40,
        "eval_every": 60,
    }
    out = tmp_path / "checkpoint.pth", tmp_path / "metrics.csv"
    config = SyncNetConfig(**options)
    syncnet.train(results, config, 96, tmp_path / "run", *out, seed=0, device=CPU)
    row = next(csv.DictReader(out[1].read_text().splitlines()))
    assert float(row["val_auc"]) > 0.65


@pytest.mark.parametrize(
    ("loss", "classic"),
    [
        ("contrastive+bce", [False] * 7 + [True] * 3),
        ("contrastive", [False] * 10),
        ("bce", [True] * 10),
    ],
)
def test_phases_of_syncnet(results, loss, classic):
    task = make_syncnet_task(results, loss=loss, steps=10, bce_fraction=0.3)
    assert [task.uses_bce(step) for step in range(10)] == classic
    assert (task.monitor, task.mode) == (
        ("val_auc", "max") if loss == "contrastive" else ("val_loss", "min")
    )


def test_the_curriculum_of_syncnet(results):
    task = make_syncnet_task(
        results,
        min_window_gap=9,
        curriculum_steps=10,
        augment=SyncNetAugment(translate=0.1),
        windows_per_clip=3,
        audio_negatives=0,
    )
    changes, apart = zip(*(task.curriculum(step) for step in (0, 5, 10, 99)), strict=True)
    assert apart == (9, 5, 1, 1)
    assert [change.translate for change in changes] == [0, 0.05, 0.1, 0.1]
    assert all(change.hflip for change in changes)
    gaps = [np.diff(np.sort(task.batch(0).starts, axis=1)).min() for _ in range(3)]
    assert min(gaps) >= 9
    without = make_syncnet_task(results, min_window_gap=9, curriculum_steps=0)
    assert without.curriculum(0) == without.curriculum(50)


def test_centering_changes_the_first_contrastive_steps_only(results):
    def loss(step, **more):
        task = make_syncnet_task(results, windows_per_clip=4, **more)
        return float(task.step(step, task.batch(step))["train_loss"])

    for name, step, same in (("contrastive", 0, 0), ("contrastive", 1, 1), ("bce", 0, 1)):
        with_it, without = (loss(step, loss=name, center_steps=steps) for steps in (1, 0))
        assert (with_it == without) == same


def test_only_adams_state_goes_into_a_public_file(results, tmp_path):
    for name, has_state in (("adam", True), ("muon", False)):
        task = make_syncnet_task(results, optimizer=name)
        task.step(0, task.batch(0))
        task.export(tmp_path / f"{name}.pth", 1)
        state = read_checkpoint(tmp_path / f"{name}.pth")["optimizer"]
        assert (state is not None) == has_state
        if has_state:  # the network's alone, without the temperature's: the public code goes on
            assert state["state"]
            torch.optim.Adam(task.model.parameters()).load_state_dict(state)


def test_syncnet_starts_from_a_public_file(results, tmp_path, caplog):
    caplog.set_level("INFO")
    torch.manual_seed(9)
    source = SyncNet(width=TINY)
    save_public(tmp_path / "lipsync_expert.pth", source)
    out = tmp_path / "checkpoint.pth", tmp_path / "metrics.csv"
    options = SYNCNET | {"steps": 1, "lr": 1e-50, "export": "last"}
    syncnet.train(
        results,
        SyncNetConfig(**options),
        96,
        tmp_path / "run",
        *out,
        seed=3,
        device=CPU,
        pretrained=tmp_path / "lipsync_expert.pth",
    )
    trained = build_from(out[0], SyncNet)
    for left, right in zip(trained.parameters(), source.parameters(), strict=True):
        assert torch.equal(left, right)
    assert "tensors that do not fit: none" in caplog.text


def test_generator_loss_is_the_public_sum(results, monkeypatch):
    task = make_generator_task(results, lr=1e-50)
    batch = task.batch(0)
    plain = task.step(0, batch)
    assert set(plain) == {"train_l1", "train_loss"}
    assert plain["train_loss"].item() == pytest.approx(plain["train_l1"].item())
    task.extra_state["sync_weight"] = 0.3
    both = task.step(0, batch)
    wanted = 0.7 * both["train_l1"] + 0.3 * both["train_sync_loss"]
    assert both["train_loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_gan_loss_and_the_discriminators_step(results):
    torch.manual_seed(1)
    task = make_generator_task(
        results, QualityDiscriminator(width=TINY), lr=1e-50, adv_weight=0.07, disc_lr=1e-50
    )
    assert task.optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    found = task.step(0, task.batch(0))
    wanted = 0.93 * found["train_l1"] + 0.07 * found["train_adv_loss"]
    assert found["train_loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    # At the same weights, "looks real" and "is drawn" are the two sides of one probability.
    discriminator = task.parts["discriminator"].eval()
    batch = task.batch(0)
    with torch.no_grad():
        real = torch.from_numpy(batch.target).permute(0, 4, 1, 2, 3).float() / 255
        on_real = losses.gan_bce(discriminator(real), 1)
    assert found["train_disc_real"].item() == pytest.approx(on_real.item(), rel=1e-4)
    assert {"train_disc_real_accuracy", "train_disc_fake_accuracy"} <= found.keys()


def test_a_nan_discriminator_gives_a_nan_loss():
    probability = torch.tensor([0.2, float("nan")], requires_grad=True)
    assert losses.gan_bce(probability, 1).isnan()
    probability = torch.tensor([0.2, 1.0], requires_grad=True)
    loss = losses.gan_bce(probability, 1)
    assert loss.item() == pytest.approx(-np.log(0.2) / 2, rel=1e-6)
    loss.backward()
    assert probability.grad.tolist() == pytest.approx([-2.5, 0.0])


def test_each_step_moves_its_own_network_only(results):
    torch.manual_seed(1)
    task = make_generator_task(results, QualityDiscriminator(width=TINY), adv_weight=0.07)
    task.extra_state["sync_weight"] = 0.03
    nets = {
        "model": task.model,
        "discriminator": task.parts["discriminator"],
        "syncnet": task.syncnet,
    }
    before = {name: [w.clone() for w in net.state_dict().values()] for name, net in nets.items()}
    task.step(0, task.batch(0))
    moved = {
        name: any(
            not torch.equal(a, b)
            for a, b in zip(before[name], net.state_dict().values(), strict=True)
        )
        for name, net in nets.items()
    }
    assert moved == {"model": True, "discriminator": True, "syncnet": False}
    assert not task.syncnet.training


def test_the_sync_loss_is_differentiable(results):
    task = make_generator_task(results)
    drawn = torch.rand(2, 3, 5, 96, 96, requires_grad=True)
    batch = task.batch(0)
    task.sync_loss(drawn, *map(torch.from_numpy, (batch.sync_mel, batch.spoken))).backward()
    assert (drawn.grad[..., :48, :] == 0).all() and drawn.grad[..., 48:, :].abs().sum() > 0


@pytest.mark.parametrize(("threshold", "weights"), [(1e-6, [0, 0]), (50.0, [0, 0.01])])
def test_the_sync_loss_is_switched_on_below_its_threshold(results, threshold, weights):
    task = make_generator_task(results, sync_threshold=threshold, val_windows=8)
    rows = [task.evaluate(1) for _ in range(2)]
    assert [row["sync_weight"] for row in rows] == weights


def test_the_weight_of_the_sync_loss_grows_over_its_ramp(results):
    options = {"sync_weight": 0.04, "sync_ramp_steps": 4, "val_windows": 8}
    task = make_generator_task(results, sync_threshold=0, **options)
    assert [task.sync_weight(step) for step in (0, 1, 3, 50)] == pytest.approx(
        [0.01, 0.02, 0.04, 0.04]
    )
    assert task.evaluate(1)["sync_weight"] == pytest.approx(0.02)
    waiting = make_generator_task(results, sync_threshold=50.0, **options)
    assert waiting.evaluate(10)["sync_weight"] == 0  # from now on it is on
    assert [waiting.sync_weight(step) for step in (10, 11, 99)] == pytest.approx([0.01, 0.02, 0.04])


def test_the_sync_loss_stays_switched_on(results):
    task = make_generator_task(results, sync_threshold=1e-6, val_windows=8)
    task.extra_state["sync_weight"] = 0.01
    task.evaluate(1)
    assert task.extra_state["sync_weight"] == 0.01


def test_evaluation_changes_no_weights(results):
    task = make_generator_task(results, val_windows=8)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    first, second = task.evaluate(1), task.evaluate(1)
    assert_same(before, dict(task.model.state_dict()))
    assert first["val_l1"] == second["val_l1"]


def test_syncnet_and_generator_sizes_must_agree(results, tmp_path):
    save_public(tmp_path / "big.pth", SyncNet(width=TINY, image_size=192))
    with pytest.raises(
        LipsyncError, match=r"big\.pth: a SyncNet for 192 pixels cannot train a generator of 96"
    ):
        train_generator(PLAIN, results, tmp_path, tmp_path / "big.pth")


def test_unusable_data_stops_every_training_before_it_begins(tmp_path, syncnet_path):
    results = small_corpus(tmp_path / "results")
    (results / "mels/c/1.npy").unlink()  # validation
    for train, _ in TRAININGS.values():
        with pytest.raises(LipsyncError, match=r"1 of 1 clips cannot be used .*c/1\.npy"):
            train(results, tmp_path / "out", syncnet_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bf16", "float32"])
def test_precision_of_the_steps(results, name):
    task = make_syncnet_task(results, precision=name, clips_per_batch=2, windows_per_clip=4)
    seen = []
    task.model.face_encoder[0].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    loss = task.step(0, task.batch(0))["train_loss"]
    assert seen == [torch.bfloat16 if name == "bf16" else torch.float32]
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert {weight.dtype for weight in task.model.parameters()} == {torch.float32}


def test_generator_learns_to_fill_in(results):
    task = make_generator_task(results, lr=5e-3, batch_size=2)
    losses_seen = [task.step(step, task.batch(step))["train_l1"].item() for step in range(25)]
    assert np.mean(losses_seen[-3:]) < 0.7 * np.mean(losses_seen[:3])


def test_syncnet_is_untouched_by_the_loss_of_the_window_order(results):
    """Cosines of a group do not depend on where in the batch the group stands."""
    task = make_syncnet_task(results, clips_per_batch=2, windows_per_clip=4, audio_negatives=0)
    task.model.eval()
    batch = task.batch(0)
    frames = torch.from_numpy(batch.frames).flatten(0, 1).permute(0, 2, 3, 1, 4).flatten(3)
    with torch.no_grad():
        audio, face = task.model(
            torch.from_numpy(batch.mels).flatten(0, 1), frames.permute(0, 3, 1, 2).float() / 255
        )
    assert torch.allclose(audio.norm(dim=1), torch.ones(8), atol=1e-4)
    assert F.cosine_similarity(audio, face).min() >= 0


def test_an_initialized_discriminator_distinguishes_inputs():
    torch.manual_seed(0)
    faces = torch.rand(16, 3, 1, 1, 1) * torch.rand(16, 3, 1, 96, 96)

    def logits(discriminator):
        with torch.no_grad():
            return torch.logit(discriminator.eval()(faces), eps=1e-7)

    # torch's own start: 1e-7 to 5e-7 in three seeds.
    initialized = logits(data_dependent_init(QualityDiscriminator(width=0.25), faces))
    assert (
        initialized.std().item() == pytest.approx(0.3, rel=0.1)
        and abs(initialized.mean().item()) < 0.01
    )
    assert logits(QualityDiscriminator(width=0.25)).std().item() < 1e-4


@pytest.mark.parametrize("size", [192, 288, 384])
def test_the_larger_sizes_train_from_end_to_end(results, tmp_path, monkeypatch, size):
    monkeypatch.setattr(generator, "LEAKAGE_WINDOWS", 8)  # a batch of them is enough
    few = {"size": size, "width": TINY / 2, "steps": 2, "val_windows": 4}
    syncnet_path = tmp_path / "syncnet/checkpoint.pth"
    train_syncnet(results, tmp_path / "syncnet", None, **few)
    train_generator(GAN, results, tmp_path / "gan", syncnet_path, **few)
    assert build_from(syncnet_path, SyncNet).image_size == size
    assert build_from(tmp_path / "gan/checkpoint.pth", Wav2Lip).image_size == size
    height, width = cv2.imread(str(tmp_path / "gan/samples.png")).shape[:2]
    assert height == 4 * size and width > 8 * size
