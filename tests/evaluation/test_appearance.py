"""Appearance of generated mouths: planted blur, color and stripes; motion and use of the audio."""

import cv2
import numpy as np
import pytest
import torch

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.evaluation import appearance, generator
from lipsync_core.evaluation.appearance import Appearance, line_energy, stripes
from lipsync_core.models import SyncNet
from tests.support.training import moving_face, small_corpus

TINY = 0.0625
Y, X = np.mgrid[:96, :96]
PATTERNS = {
    "columns": (-1.0) ** X,
    "rows": (-1.0) ** Y,
    "checkerboard": (-1.0) ** (X + Y),
    "columns of 4": np.cos(np.pi / 2 * X),
    "rows of 4": np.cos(np.pi / 2 * Y),
}


@pytest.fixture(scope="module")
def gt():
    """Faces with some grain, as a camera has it."""
    faces = moving_face(3, np.tile([0, 0.2, 0.5, 0.9, 0.6, 0.1], 2)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 6, faces.shape)
    return as_frames(faces + [cv2.GaussianBlur(image, (0, 0), 0.7) for image in noise])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


def as_frames(levels):
    return levels.round().clip(0, 255).astype(np.uint8)


def blurred(frames, sigma):
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def found(frames, gt):
    measured = Appearance()
    measured.add(frames, gt)
    return measured.result()


def test_the_ground_truth_is_like_itself(gt):
    assert found(gt, gt) == {
        "sharpness_ratio": 1,
        **{"color_shift_b": 0, "color_shift_g": 0, "color_shift_r": 0},
        "stripes": 1,
    }


@pytest.mark.parametrize("sigma", [0.7, 1, 2, 4])
def test_blur_lowers_sharpness_and_makes_no_stripes(gt, sigma):
    figures = found(blurred(gt, sigma), gt)
    assert figures["sharpness_ratio"] < 0.6
    assert figures["stripes"] < 1.05


@pytest.mark.parametrize("pattern", PATTERNS)
def test_periodic_stripes_are_seen_through_blur(gt, pattern):
    values = []
    for amplitude in (0, 2, 4):
        added = amplitude * PATTERNS[pattern][None, ..., None]
        values.append(found(as_frames(blurred(gt, 1.5) + added), gt)["stripes"])
    assert values[0] < 1.05 and values[1] > 1.1 and values[2] > values[1] + 0.2


def test_transposed_convolutions_leave_stripes(gt):
    """Overlaps of kernels of 3 with a stride of 2 weigh every other pixel twice."""
    torch.manual_seed(0)
    small = torch.from_numpy(gt).permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(small, scale_factor=0.5, mode="area")
    kernel = torch.full((3, 1, 3, 3), 0.25)
    large = torch.nn.functional.conv_transpose2d(small, kernel, None, 2, 1, 1, 3)
    even = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    drawn, smooth = (as_frames(made.permute(0, 2, 3, 1).numpy()) for made in (large, even))
    assert stripes(line_energy(drawn), line_energy(gt)) > 10
    assert stripes(line_energy(smooth), line_energy(gt)) < 1.05


def test_a_color_shift_has_its_channel_and_sign(gt):
    tinted = as_frames(gt + np.array([2.0, -6, 0]))
    figures = found(tinted, gt)
    assert figures["color_shift_b"] == pytest.approx(2, abs=0.1)
    assert figures["color_shift_g"] == pytest.approx(-6, abs=0.1)
    assert figures["color_shift_r"] == pytest.approx(0, abs=0.1)
    assert appearance.figures(tinted, gt)["color_shift"] == pytest.approx(6, abs=0.1)


def test_black_frames_have_finite_figures(gt):
    assert all(np.isfinite(value) for value in found(np.zeros_like(gt), gt).values())
    assert all(np.isfinite(value) for value in found(gt, np.zeros_like(gt)).values())


def test_the_metrics_of_a_generator_have_its_appearance(results, monkeypatch):
    corpus, syncnet = ClipDataset.load(results, "test"), SyncNet(width=TINY).eval()
    monkeypatch.setattr(
        generator, "generate", lambda model, batch: batch.target / np.float32(255) * 0.9
    )
    figures = generator.generator_metrics(None, syncnet, corpus, windows=8)
    assert figures["sharpness_ratio"] == pytest.approx(0.81, abs=0.05)
    assert -30 < figures["color_shift_g"] < -1 and figures["stripes"] < 1.1


def listens(model, batch):
    """The audio alone moves the mouth."""
    loud = batch.mels.mean(axis=(2, 3, 4), dtype=np.float32) / 8 + 0.5
    return np.broadcast_to(loud[:, :, None, None, None], (*loud.shape, 96, 96, 3))


def test_the_use_of_the_audio_has_ratios(results, monkeypatch):
    corpus = ClipDataset.load(results, "train")
    monkeypatch.setattr(generator, "generate", listens)
    figures = generator.reference_leakage(None, corpus, windows=8)
    assert (
        figures["silent_motion_ratio"] == 0 < figures["motion"]
        and figures["l1_shuffled_ratio"] != 1
    )
    copied = lambda model, batch: batch.reference / np.float32(255)  # noqa: E731
    monkeypatch.setattr(generator, "generate", copied)
    figures = generator.reference_leakage(None, corpus, windows=8)
    assert figures["silent_motion_ratio"] == figures["l1_shuffled_ratio"] == 1
    assert figures["silent_lip_motion_ratio"] == 1 and figures["lip_motion"] > 0


def test_a_moving_head_is_no_lip_motion(results, monkeypatch):
    corpus = ClipDataset.load(results, "train")

    def nods(model, batch):
        """The audio moves the lips, the head moves by itself: 2 pixels a frame."""
        textures = 0.5 + 0.05 * np.sin((X + 2 * np.arange(5)[:, None, None]) / 3)
        frames = np.repeat(textures[None, ..., None].astype(np.float32), len(batch.mels), 0)
        frames = frames.repeat(3, axis=-1)
        loud = batch.mels.mean(axis=(2, 3, 4)) / 8 + 0.5
        frames[:, :, 65:80, 40:56] *= (1 - loud)[:, :, None, None, None]
        return frames

    monkeypatch.setattr(generator, "generate", nods)
    figures = generator.reference_leakage(None, corpus, windows=8)
    assert figures["silent_motion_ratio"] > 0.5 > 0.4 > figures["silent_lip_motion_ratio"]


def test_the_motion_of_the_ground_truth_in_silence(results):
    """Mouths that stand still in silence and move in speech."""
    corpus = ClipDataset.load(results, "train")
    mel = np.full((129, 80), -4.0, np.float32)
    mel[64:] = 2.0  # from frame 20 on
    corpus.mel = lambda clip: mel
    corpus.frames = lambda clip, start: (
        np.full((5, 96, 96, 3), start >= 20, np.uint8)
        * (np.arange(5, dtype=np.uint8)[:, None, None, None] * 10)
    )
    figures = generator.gt_motion(corpus)
    assert figures["motion_gt_silence"] == 0
    assert figures["motion_gt_speech"] == pytest.approx(10 / 255)
    assert figures["silent_motion_ratio_gt"] == 0
    mel[:] = 2.0
    figures = generator.gt_motion(corpus)
    assert np.isnan(figures["silent_motion_ratio_gt"])
