"""training/{losses,metrics,tensors,precision,runs}.py: small functions with known answers."""

import csv
import math

import numpy as np
import pytest
import torch
from torch import nn

from lipsync_core.config import GeneratorVariantConfig, SyncNetConfig
from lipsync_core.data import tensors
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import metrics
from lipsync_core.training import losses
from lipsync_core.training.engine import precision, run_signature
from tests.support.training import small_corpus

CPU = torch.device("cpu")


# losses


def test_cosine_bce_is_the_cross_entropy_of_the_cosine():
    cosine = torch.tensor([0.25, 0.5])
    assert losses.cosine_bce(cosine, 1).item() == pytest.approx(-math.log(0.125) / 2)
    assert losses.cosine_bce(cosine, 0).item() == pytest.approx(-math.log(0.375) / 2)
    for extreme in (0.0, 1.0, 1.0000001):
        assert torch.isfinite(losses.cosine_bce(torch.tensor([extreme]), 0))
        assert torch.isfinite(losses.cosine_bce(torch.tensor([extreme]), 1))


def test_cosine_matrix_is_within_groups():
    audio, face = torch.randn(3, 4, 8), torch.randn(3, 4, 8)
    found = losses.cosine_matrix(audio, face)
    assert found.shape == (3, 4, 4)
    assert found[1, 2, 3].item() == pytest.approx((audio[1, 2] @ face[1, 3]).item(), rel=1e-5)


def test_contrastive_loss_is_log_k_at_chance_and_falls_with_the_diagonal():
    in_sync = losses.same_window(torch.arange(6).reshape(1, 6).expand(2, 6))
    scale = torch.tensor(10.0).log()
    flat = losses.info_nce(torch.full((2, 6, 6), 0.5), in_sync, scale)
    assert flat.item() == pytest.approx(math.log(6))
    right = losses.info_nce(torch.eye(6).expand(2, 6, 6), in_sync, scale)
    assert right.item() < 0.001


def test_a_repeated_window_is_no_negative():
    starts = torch.tensor([[4, 9, 4]])
    in_sync = losses.same_window(starts)
    assert in_sync[0].tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    cosines = torch.zeros(1, 3, 3)
    cosines[in_sync] = 1.0
    scale = torch.tensor(50.0).log()
    assert losses.info_nce(cosines, in_sync, scale).item() < 1e-6
    assert losses.balanced_bce(cosines, in_sync).item() < 1e-5


def test_further_audio_is_a_candidate_for_the_faces_only():
    starts = torch.tensor([[1, 2, 3, 4, 2]])  # three faces; the last audio is that of the second
    in_sync = losses.same_window(starts, faces=3)
    assert in_sync.shape == (1, 5, 3) and in_sync[0, 4].tolist() == [False, True, False]
    scale = torch.tensor(10.0).log()
    chance = losses.info_nce(torch.full((1, 5, 3), 0.5), in_sync, scale).item()
    # The second face has one candidate less: its own audio once more.
    assert chance == pytest.approx((math.log(3) + (2 * math.log(5) + math.log(4)) / 3) / 2)
    right = in_sync.float()
    assert losses.info_nce(right, in_sync, torch.tensor(50.0).log()).item() < 1e-6
    wrong = right.clone()
    wrong[0, 3, 0] = 1.0  # an audio negative as close as the true audio
    assert losses.info_nce(wrong, in_sync, torch.tensor(50.0).log()).item() > 0.1
    assert losses.balanced_bce(wrong, in_sync) > losses.balanced_bce(right, in_sync) + 0.1


def test_center_removes_the_mean_of_a_group():
    own = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    shared = 50 * torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(losses.center(own + shared), losses.center(own), atol=1e-4)
    assert torch.allclose(losses.center(own).norm(dim=2), torch.ones(2, 6))
    # Before, the cosines of such embeddings are all alike.
    raw = torch.nn.functional.normalize(own + shared, dim=2)
    assert losses.cosine_matrix(raw, raw).min() > 0.9
    assert losses.cosine_matrix(losses.center(raw), losses.center(raw)).min() < 0.5


def test_contrastive_scale_is_bounded():
    in_sync = losses.same_window(torch.arange(3).reshape(1, 3))
    cosines = torch.rand(1, 3, 3)
    at_bound = losses.info_nce(cosines, in_sync, torch.tensor(100.0).log())
    assert losses.info_nce(cosines, in_sync, torch.tensor(50.0)) == pytest.approx(at_bound)


def test_balanced_bce_weighs_both_kinds_alike():
    in_sync = torch.eye(4, dtype=torch.bool)[None]
    cosines = torch.where(in_sync, 0.8, 0.4)
    wanted = -(math.log(0.8) + math.log(0.6)) / 2
    assert losses.balanced_bce(cosines, in_sync).item() == pytest.approx(wanted, rel=1e-5)
    alone = losses.balanced_bce(torch.full((1, 1, 1), 0.8), torch.ones(1, 1, 1, dtype=torch.bool))
    assert alone.item() == pytest.approx(-math.log(0.8), rel=1e-5)


def test_sync_loss_of_equal_embeddings_is_zero():
    embedding = nn.functional.normalize(torch.rand(4, 16), dim=1)
    assert losses.sync_loss(embedding, embedding).item() < 1e-4
    across = torch.eye(4, 16)
    assert losses.sync_loss(across, across.roll(1, 0)).item() > 10


def test_a_saturated_discriminator_still_has_a_gradient():
    probability = torch.tensor([[1e-12]], requires_grad=True)
    losses.gan_bce(probability, 1).backward()
    assert probability.grad.abs().item() > 1
    undecided = torch.tensor([0.5]).to(torch.bfloat16)
    assert losses.gan_bce(undecided, 0).item() == pytest.approx(math.log(2))


# metrics


def test_auc_counts_pairs():
    assert metrics.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert metrics.auc(np.array([0.0, 3.0]), np.array([1.0, 2.0])) == 0.5
    assert metrics.auc(np.array([1.0]), np.array([1.0])) == 0.5
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(1, 1, 40), rng.normal(0, 1, (7, 9))
    brute = np.mean([(r > w) + 0.5 * (r == w) for r in right for w in wrong.ravel()])
    assert metrics.auc(right, wrong) == pytest.approx(brute)
    assert math.isnan(metrics.auc(right, np.array([])))


def test_accuracy_weighs_both_kinds_alike():
    wrong = np.array([0.1, 0.2, 0.3, 0.9])
    assert metrics.accuracy(np.array([0.6]), wrong) == pytest.approx((1 + 0.75) / 2)
    assert metrics.accuracy(np.array([0.5]), wrong) == pytest.approx(0.75 / 2)
    assert math.isnan(metrics.accuracy(np.array([]), wrong))


def test_bce_of_arrays_is_the_loss_of_tensors():
    cosines = torch.rand(2, 5, 5)
    in_sync = torch.eye(5, dtype=torch.bool).expand(2, 5, 5)
    found = metrics.bce(cosines[in_sync].numpy(), cosines[~in_sync].numpy())
    assert found == pytest.approx(losses.balanced_bce(cosines, in_sync).item(), rel=1e-5)
    assert math.isnan(metrics.bce(np.array([0.5]), np.array([])))
    assert metrics.sync_loss(np.array([0.5, 0.25])) == pytest.approx(
        losses.cosine_bce(torch.tensor([0.5, 0.25]), 1).item()
    )


def test_top1_wants_a_strict_maximum():
    scores = np.array([[[0.9, 0.1], [0.8, 0.2]], [[0.5, 0.5], [0.0, 1.0]]])
    assert metrics.top1(scores) == 0.5


def test_psnr_and_fraction():
    assert metrics.psnr(0.01) == pytest.approx(20)
    assert metrics.psnr(0.0) == math.inf
    assert metrics.fraction(np.array([True, False])) == 0.5
    assert math.isnan(metrics.fraction(np.array([], bool)))


# tensors


def test_calibration_of_probabilities_with_known_labels():
    rng = np.random.default_rng(0)
    said = rng.random(20_000)
    true = rng.random(20_000) < said  # what is called 0.7 is right seven times in ten
    curve = metrics.calibration(said[true], said[~true])
    assert len(curve) == 10 and metrics.ece(curve) < 0.02
    assert sum(point.weight for point in curve) == pytest.approx(1)
    assert sum(point.count for point in curve) == 20_000
    assert [point.low for point in curve] == pytest.approx(np.arange(10) / 10)
    too_sure = metrics.calibration(said[true] ** 0.25, said[~true] ** 0.25)
    assert metrics.ece(too_sure) > 0.2
    # One pair in sync counts as much as all the others.
    few = metrics.calibration(np.array([0.95]), np.full(99, 0.95))
    assert few[0].positive_fraction == pytest.approx(0.5) and metrics.ece(few) == pytest.approx(
        0.45
    )
    assert metrics.calibration(np.array([]), np.array([0.5])) == []
    assert math.isnan(metrics.ece([]))


def test_stack_window_is_frame_major_and_scaled():
    frames = torch.randint(0, 256, (2, 5, 48, 96, 3), dtype=torch.uint8)
    stacked = tensors.stack_window(frames)
    assert stacked.shape == (2, 15, 48, 96)
    assert stacked.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(stacked[1, 3 * 4 + 2], frames[1, 4, :, :, 2] / 255)


def test_generator_input_hides_the_lower_half_of_the_target_only():
    target = torch.randint(1, 256, (2, 5, 96, 96, 3), dtype=torch.uint8)
    real = tensors.to_planes(target)
    assert real.shape == (2, 3, 5, 96, 96)
    assert torch.equal(real[1, 2, 3], target[1, 3, :, :, 2] / 255)
    faces = tensors.generator_input(real, real)
    assert faces.shape == (2, 6, 5, 96, 96)
    assert (faces[:, :3, :, 48:] == 0).all() and (faces[:, :3, :, :48] > 0).all()
    assert torch.equal(faces[:, 3:], real) and (real > 0).all()


def test_syncnet_input_of_generated_frames_equals_that_of_stored_ones():
    frames = torch.randint(0, 256, (2, 5, 96, 96, 3), dtype=torch.uint8)
    stored = tensors.stack_window(frames[:, :, 48:])
    assert torch.equal(tensors.syncnet_input(tensors.to_planes(frames)), stored)


def test_to_device_takes_views():
    turned = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::-1]
    assert np.array_equal(tensors.to_device(turned, CPU).numpy(), turned)


# precision


def test_precision_by_name():
    assert precision.resolve("float32", CPU) == "float32"
    assert precision.resolve("bf16", CPU) == "bf16"
    with pytest.raises(LipsyncError, match="precision 'half': choose one of auto, float32, bf16"):
        precision.resolve("half", CPU)


@pytest.mark.parametrize(
    ("has", "wanted"), [({"amx_bf16": True}, "bf16"), ({"avx2": True}, "float32")]
)
def test_auto_precision_asks_the_processor(monkeypatch, has, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert precision.resolve("auto", CPU) == wanted
    assert precision.resolve("auto", torch.device("mps")) == "float32"


def test_probabilities_stay_fine_in_bf16():
    torch.manual_seed(0)
    model = precision.float32_sigmoids(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Sigmoid()))
    with precision.autocast("bf16", CPU):
        found = model(torch.rand(1, 3, 64, 64))
        assert model[0](torch.rand(1, 3, 4, 4)).dtype == torch.bfloat16
    assert found.dtype == torch.float32
    with precision.autocast("float32", CPU):
        assert model[0](torch.rand(1, 3, 4, 4)).dtype == torch.float32


# runs


def keys(kind=SyncNetConfig, **more):
    return run_signature.computed_keys(kind(**more))


def test_a_run_is_named_by_what_is_computed(tmp_path):
    def name(data="data", seed=0, **more):
        return run_signature.open_run(tmp_path, "syncnet", keys(**more), data, seed).name

    assert len(name()) == 16 and int(name(), 16) >= 0
    for key in ("eval_every", "save_every", "checkpoint_every", "num_workers", "cache_mb"):
        assert name(**{key: 7}) == name()
    for key in ("patience", "max_rollbacks", "num_processes", "max_runs"):
        assert name(**{key: 7}) == name()
    for other in ({"export": "last"}, {"compile": True}, {"data_check": "off"}):
        assert name(**other) == name()
    for other in ({"width": 0.5}, {"lr": 2e-4}, {"steps": 200}, {"lr_schedule": "constant"}):
        assert name(**other) != name()
    assert len({name(), name(data="other data"), name(seed=1)}) == 3


def test_steps_count_only_where_the_schedule_depends_on_them():
    constant = {"lr_schedule": "constant", "loss": "bce"}
    assert keys(**constant, steps=1) == keys(**constant, steps=2)
    phases = {"lr_schedule": "constant", "loss": "contrastive+bce"}
    assert keys(**phases, steps=1) != keys(**phases, steps=2)


def test_evaluations_count_where_they_switch_the_sync_loss_on():
    kind = GeneratorVariantConfig
    assert keys(kind, eval_every=100) != keys(kind, eval_every=50)
    constant = {"lr_schedule": "constant"}
    assert keys(kind, **constant, steps=100) == keys(kind, **constant, steps=50)


def test_data_digest_follows_lists_keys_and_weights(tmp_path):
    results = small_corpus(tmp_path)
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"one")
    seen = {run_signature.data_digest(results), run_signature.data_digest(results, [weights])}
    assert len(seen) == 2 and run_signature.data_digest(results) in seen
    weights.write_bytes(b"two")
    seen.add(run_signature.data_digest(results, [weights]))
    table = results / "filelists/clips.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    text = table.read_text()
    table.write_text(text.replace("key0", "another"))
    seen.add(run_signature.data_digest(results))
    table.write_text(text.replace("key4", "another"))  # a test clip: training does not read it
    assert rows[4]["split"] == "test" and run_signature.data_digest(results) in seen
    lists = results / "filelists/train.txt"
    lists.write_text("a/1\n")
    seen.add(run_signature.data_digest(results))
    assert len(seen) == 5
