"""Measures of the mouth on drawn faces with a known opening."""

import math

import cv2
import numpy as np
import pytest

from lipsync_core.data.loudness import loudness, speech_frames
from lipsync_core.evaluation import articulation, mouth
from lipsync_core.faces.mouth_region import opening
from tests.support.training import moving_face

OPENING = np.tile([0, 0.2, 0.5, 0.9, 0.6, 0.1], 8)


@pytest.fixture(scope="module")
def frames():
    return moving_face(3, OPENING)


def test_opening_follows_the_mouth(frames):
    assert np.corrcoef(opening(frames), OPENING)[0, 1] > 0.9


def test_equal_frames_have_perfect_figures(frames):
    assert mouth.l1(frames, frames) == 0
    assert mouth.psnr(frames, frames) == math.inf
    assert mouth.ssim(frames, frames) == pytest.approx(1)


def test_quality_looks_at_the_mouth_only(frames):
    changed = frames.copy()
    changed[:, : frames.shape[1] // 2] = 0
    assert mouth.l1(changed, frames) == 0
    changed[:, 60:80] += 10
    assert 0 < mouth.l1(changed, frames) < 10 / 255
    assert mouth.psnr(changed, frames) < 40 and mouth.ssim(changed, frames) < 1


def test_ssim_is_that_of_wang_et_al():
    """The value of scikit-image 0.25 with gaussian_weights, sigma 1.5, population moments."""
    rng = np.random.default_rng(0)
    one = cv2.GaussianBlur(rng.integers(0, 256, (96, 96), np.uint8), (9, 9), 2)
    other = np.clip(one * 0.8 + rng.normal(0, 6, one.shape), 0, 255).astype(np.uint8)
    pair = [np.repeat(image[None, ..., None], 3, axis=3) for image in (one, other)]
    assert mouth.ssim(*pair) == pytest.approx(0.7429, abs=1e-4)


def test_blur_lowers_sharpness_and_flicker_raises_jitter(frames):
    blurred = np.stack([cv2.GaussianBlur(frame, (7, 7), 2) for frame in frames])
    assert mouth.sharpness(blurred) < 0.5 * mouth.sharpness(frames)
    still = np.repeat(frames[:1], 20, axis=0)
    assert mouth.jitter(still) == mouth.motion(still) == 0
    flicker = still.copy()
    flicker[::2, 60:] -= 20
    assert mouth.jitter(flicker) > mouth.motion(flicker) > 0


def mel_of(levels):
    """A mel spectrogram (T, 80) with a loudness for each frame, in mel units."""
    columns = np.repeat(np.asarray(levels, np.float32), 16)[::5]  # 3.2 columns a frame
    return np.repeat(columns[:, None], 80, axis=1)


def test_loudness_is_by_frame():
    found = loudness(mel_of([2.0] * 25 + [-2.0] * 25))
    assert len(found) == 50
    assert found[5] == pytest.approx(10 ** (-25 / 20), rel=1e-3)  # 2 is -25 dB, -2 is -75 dB
    assert found[40] == pytest.approx(10 ** (-75 / 20), rel=1e-3)


def test_silence_is_found_by_runs():
    speech = speech_frames(np.r_[np.full(20, 1.0), np.full(10, 1e-3), np.full(5, 0.5)])
    assert speech.sum() == 25
    assert articulation.silent_runs(speech) == [slice(20, 30)]
    assert articulation.silent_runs(np.r_[speech[:25], True]) == []


def test_articulation_tells_a_mouth_that_follows_from_one_that_does_not():
    rng = np.random.default_rng(0)
    levels = rng.random(60)
    speech = np.ones(60, bool)
    assert articulation.loudness_correlation(levels * 3, levels, speech) == pytest.approx(1)
    assert articulation.loudness_difference(levels * 3, levels, speech) == pytest.approx(0)
    assert abs(articulation.loudness_correlation(rng.random(60), levels, speech)) < 0.5
    assert articulation.loudness_correlation(np.ones(60), levels, speech) == 0
    assert math.isnan(articulation.loudness_correlation(levels, levels, ~speech))
    assert articulation.lip_dynamics(np.ones(60)) == 0 < articulation.lip_dynamics(levels)


def test_a_mouth_that_moves_in_silence_is_seen():
    opening = np.r_[np.zeros(20), np.tile([0.0, 0.4], 10)]
    assert articulation.silent_lip_motion(opening, [slice(0, 20)]) == 0
    assert articulation.silent_lip_motion(opening, [slice(20, 40)]) == pytest.approx(0.2)
    assert math.isnan(articulation.silent_lip_motion(opening, []))
