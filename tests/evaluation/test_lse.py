import numpy as np
import pytest
import torch

from lipsync_core.errors import ClipError, Reason
from lipsync_core.evaluation import lse
from lipsync_core.models import LseSyncNet
from tests.support.golden_recipe import draw_weights, lse_frames, numbers


@pytest.fixture(scope="module")
def golden():
    return numbers("lse")


@pytest.fixture(scope="module")
def model():
    return draw_weights(LseSyncNet())


@pytest.fixture(scope="module")
def frames():
    return lse_frames()


def test_mfcc_is_that_of_the_public_model(golden):
    features = lse.mfcc(golden["pcm"])
    assert features.shape == golden["mfcc"].shape == (13, 119)
    np.testing.assert_allclose(features, golden["mfcc"], atol=1e-4)


@pytest.mark.parametrize("samples, columns", [(0, 1), (1, 1), (400, 1), (401, 2), (16000, 99)])
def test_mfcc_pads_the_last_column_and_survives_silence(samples, columns):
    features = lse.mfcc(np.zeros(samples, np.int16))
    assert features.shape == (13, columns)
    assert np.isfinite(features).all()


def test_mfcc_refuses_floats():
    with pytest.raises(TypeError, match="expected int16, got float32"):
        lse.mfcc(np.zeros(1600, np.float32))


def test_features_and_scores_are_those_of_the_public_model(golden, model, frames):
    cepstrum = lse.mfcc(golden["pcm"])
    # Uneven batches: their borders must not show.
    faces, audio = lse.features(model, frames, cepstrum, count=25, batch_size=11)
    assert faces.shape == audio.shape == (25, 1024)
    np.testing.assert_allclose(faces[:, ::16], golden["lip"], atol=1e-4, rtol=1e-6)
    np.testing.assert_allclose(audio[:, ::16], golden["aud"], atol=1e-4, rtol=1e-6)
    result = lse.scores(faces, audio)
    np.testing.assert_allclose(result.distances, golden["mean_dist"], rtol=1e-4)
    np.testing.assert_allclose(result.distance, golden["lse_d"], rtol=1e-4)
    np.testing.assert_allclose(result.confidence, golden["lse_c"], rtol=1e-3)
    assert result.offset == golden["offset"]


def test_lse_scores_a_track(model, frames, golden):
    model.train()  # scores must not depend on the mode it comes in
    short = lse.lse(model, frames[:8], golden["pcm"])
    assert not model.training
    cepstrum = lse.mfcc(golden["pcm"])
    again = lse.scores(*lse.features(model, frames[:8], cepstrum, 3, 2))
    np.testing.assert_allclose(short.distances, again.distances, rtol=1e-5)
    assert short.distances.shape == (31,) and short.distances.dtype == np.float32


@pytest.mark.parametrize("shift", [-15, -4, 0, 7, 15])
def test_offset_finds_the_shift(shift):
    """Frame i shows what is heard at i - offset: a late video has a positive offset."""
    random = torch.Generator().manual_seed(0)
    heard = torch.randn(80, 1024, generator=random)
    seen = torch.roll(heard, shift, dims=0)
    result = lse.scores(seen[20:60], heard[20:60])
    assert result.offset == shift
    assert result.distance == result.distances.min() and result.confidence > 0


@pytest.mark.parametrize(
    "frames, samples, windows",
    [(30, 19200, 25), (30, 19199, 24), (100, 640 * 6, 1), (5, 64000, 0), (100, 0, 0)],
)
def test_usable_windows(frames, samples, windows):
    assert lse.usable_windows(frames, samples) == windows


def test_short_tracks_are_refused(model, frames):
    with pytest.raises(ClipError, match=r"5 frames and 4\.00 s of audio; LSE needs 6") as caught:
        lse.lse(model, frames[:5], np.zeros(64000, np.int16))
    assert caught.value.reason is Reason.TOO_SHORT


def test_wrong_frames_are_refused(model):
    with pytest.raises(ValueError, match=r"expected uint8 \(N, 224, 224, 3\), got float32"):
        lse.lse(model, np.zeros((9, 224, 224, 3), np.float32), np.zeros(9999, np.int16))


@torch.inference_mode()
def test_a_long_track_equals_its_windows(model, frames):
    track = torch.from_numpy(frames[:7]).float().permute(3, 0, 1, 2)[None]
    windows = torch.cat([track[:, :, i : i + 5] for i in range(3)])
    sound = torch.zeros(3, 1, 13, 20)
    audio, faces = model(sound, windows)
    torch.testing.assert_close(model.encode_faces(track), faces, rtol=1e-5, atol=1e-3)
    assert audio.shape == (3, 1024)
