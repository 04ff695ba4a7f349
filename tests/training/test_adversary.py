"""training/adversary.py and the losses of the default recipe."""

import pytest
import torch

from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.models import PatchDiscriminator, SyncNet, Wav2Lip
from lipsync_core.training import adversary, losses
from lipsync_core.training.adversary import Adversary
from lipsync_core.training.frozen_syncnet import copy_audio_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TINY = 0.0625


def make(**more):
    torch.manual_seed(0)
    config = GeneratorVariantConfig(width=TINY, adv_weight=0.03, **more)
    return Adversary(adversary.build(config, 96), config, "float32", CPU)


@pytest.mark.parametrize("size", [96, 192, 288, 384])
def test_the_patch_discriminator_judges_patches_of_the_lower_half(size):
    network = PatchDiscriminator(width=TINY, image_size=size)
    faces = torch.rand(1, 3, 2, size, size)
    logits, features = network(faces)
    assert logits.shape[:2] == (2, 1) and 6 <= logits.shape[2] <= 12
    assert features[0].shape[2:] == (size // 2, size)
    faces[..., : size // 2, :] = 0
    assert torch.equal(network(faces)[0], logits)


def test_a_patch_discriminator_learns_what_is_real():
    opponent = make(r1_weight=0.002)
    gt, generated = torch.rand(2, 3, 5, 96, 96), torch.full((2, 3, 5, 96, 96), 0.5)
    for step in range(40):
        opponent.optimizer.zero_grad()
        found = opponent.own_losses(gt, generated, step)
        found["train_disc_loss"].backward()
        opponent.optimizer.step()
    assert found["train_disc_real_accuracy"] > 0.9 < found["train_disc_fake_accuracy"]
    told = opponent.generator_losses(gt, generated)
    assert told["train_adv_loss"] > 0 and told["train_feature_loss"] > 0
    assert opponent.generator_losses(gt, gt)["train_feature_loss"] == 0


def test_r1_is_part_of_every_eighth_step():
    gt, generated = torch.rand(1, 3, 5, 96, 96), torch.rand(1, 3, 5, 96, 96)
    opponent = make(r1_weight=10.0)
    with_r1, without = (opponent.own_losses(gt, generated, step) for step in (8, 9))
    assert with_r1["train_disc_loss"] > without["train_disc_loss"]
    wanted = without["train_disc_real"] + without["train_disc_fake"]
    assert without["train_disc_loss"].item() == pytest.approx(wanted.item())


def test_the_gradient_penalty_of_a_linear_network():
    halves = torch.rand(2, 3, 4, 8, requires_grad=True)
    penalty = losses.gradient_penalty(2 * halves.sum((1, 2, 3)), halves)
    assert penalty.item() == pytest.approx(4 * 3 * 4 * 8)


def test_the_hinge_loss_stops_at_its_margin():
    logits = torch.tensor([-2.0, 0.0, 2.0])
    assert losses.hinge(logits, 1).item() == pytest.approx((3 + 1 + 0) / 3)
    assert losses.hinge(logits, 0).item() == pytest.approx((0 + 1 + 3) / 3)


def test_windows_of_silence_have_no_sync_loss():
    audio = torch.nn.functional.normalize(torch.rand(4, 8), dim=1)
    face = torch.nn.functional.normalize(torch.rand(4, 8), dim=1)
    spoken = torch.tensor([1.0, 0.0, 1.0, 0.0])
    wanted = (losses.sync_loss(audio[::2], face[::2]) * 2) / 4
    assert losses.sync_loss(audio, face, spoken).item() == pytest.approx(wanted.item())
    assert losses.sync_loss(audio, face, torch.ones(4)) == losses.sync_loss(audio, face)


def test_the_l1_of_the_mouth_sees_the_mouth_only():
    gt = torch.zeros(1, 3, 5, 96, 96)
    outside, inside = gt.clone(), gt.clone()
    outside[..., :50, :] = 1
    inside[..., 60:80, 40:60] = 1
    assert losses.mouth_l1(outside, gt) == 0 < losses.mouth_l1(inside, gt)


def test_colors_are_compared_in_the_mean():
    gt = torch.rand(2, 3, 48, 96)
    tinted = gt.clone()
    tinted[:, 1] -= 6 / 255
    assert losses.color_distance(gt, gt) == 0
    assert losses.color_distance(tinted, gt).item() == pytest.approx(2 / 255, rel=1e-3)
    noise = 0.1 * torch.sign(torch.rand_like(gt) - 0.5)
    assert losses.color_distance(gt + noise, gt) < 0.01


def test_texture_counts_detail_and_stripes_but_not_places():
    torch.manual_seed(0)
    gt = 0.5 + 0.05 * torch.randn(2, 3, 48, 96)
    moved = gt.roll(3, dims=3)
    blurred = torch.nn.functional.avg_pool2d(gt, 3, 1, 1)
    striped = gt.clone()
    striped[..., ::2] += 0.05
    distance = losses.texture_distance
    assert distance(gt, gt) == 0
    assert distance(moved, gt) < 0.6 * distance(blurred, gt)
    assert distance(moved, gt) < 0.6 * distance(striped, gt)


@pytest.mark.parametrize("period", [2, 4])
def test_patterns_of_transposed_convolutions_are_no_texture(period):
    torch.manual_seed(0)
    gt = 0.5 + 0.05 * torch.randn(2, 3, 48, 96)
    striped = gt.clone()
    striped[..., ::period] += 0.02
    moved = gt.roll(3, dims=3)
    assert losses.stripe_distance(gt, gt) == 0
    assert losses.stripe_distance(striped, gt).item() == pytest.approx(
        0.02 * 2 * (period - 1) / period**2, rel=1e-3
    )
    slow = gt.clone()
    slow[..., ::5] += 0.02 * 5 / period  # as much light, with another period
    assert losses.stripe_distance(slow, gt) < 0.7 * losses.stripe_distance(striped, gt)
    assert losses.stripe_distance(moved, gt) > 0


def test_the_relative_feature_distance_does_not_depend_on_scale_nor_on_the_batch():
    ours, true = torch.rand(4, 2, 6, 6), torch.rand(4, 2, 6, 6) + 1
    one = losses.feature_distance([ours], [true], relative=True)
    scaled = losses.feature_distance([10 * ours], [10 * true], relative=True)
    assert scaled.item() == pytest.approx(one.item(), rel=1e-2)
    halves = [
        losses.feature_distance([ours[part]], [true[part]], relative=True)
        for part in (slice(0, 2), slice(2, 4))
    ]
    assert sum(halves).item() / 2 == pytest.approx(one.item(), rel=1e-5)


@pytest.mark.parametrize("size", [96, 288])
def test_face_features_are_those_of_the_encoder(size):
    syncnet = SyncNet(width=TINY, image_size=size).eval()
    faces = torch.rand(1, 15, size // 2, size)
    seen = []
    for index in (0, 1, 3, 6):
        syncnet.face_encoder[index].register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        syncnet.encode_faces(faces)
        first, seen[:] = list(seen), []
        features = syncnet.face_features(faces)
    assert all(torch.equal(one, other) for one, other in zip(first, features, strict=True))


def test_the_audio_encoder_starts_as_syncnets(caplog):
    syncnet, model = SyncNet(width=TINY), Wav2Lip(width=TINY)
    copy_audio_encoder(syncnet, model)
    theirs, ours = list(syncnet.audio_encoder), list(model.audio_encoder)
    assert torch.equal(theirs[0].conv_block[0].weight, ours[0].conv_block[0].weight)
    assert torch.equal(theirs[-1].conv_block[0].weight, ours[-1].conv_block[0].weight)
    assert all(weight.requires_grad for weight in ours[0].conv_block[0].weight[None])
    before = model.audio_encoder[0].conv_block[0].weight.clone()
    with caplog.at_level("INFO"):
        copy_audio_encoder(SyncNet(width=0.25), model)
    assert torch.equal(before, model.audio_encoder[0].conv_block[0].weight)
    assert "another width" in caplog.text
