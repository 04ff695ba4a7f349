"""Augmentation: what changes, what must not, and that nothing changes without being asked."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.config import SyncNetAugment
from lipsync_core.data.augmentation import (
    HFLIP,
    NO_AUGMENT,
    sample_transform,
    scaled,
    transform_frames,
    transform_mels,
)

FULL = SyncNetAugment(
    hflip=True,
    translate=0.05,
    scale=0.05,
    color_jitter=0.1,
    mel_gain=0.5,
    vtlp=0.1,
    spec_augment=1.0,
)


def only(**bounds):
    return NO_AUGMENT.model_copy(update=bounds)


@pytest.fixture
def frames():
    """Five frames of a gray slope with a bright dot where the mouth is."""
    slope = np.linspace(60, 160, 96).astype(np.uint8)
    faces = np.repeat(np.broadcast_to(slope[:, None, None], (96, 96, 3))[None], 5, axis=0).copy()
    faces[:, 70:74, 40:44] = 250
    return faces


@pytest.fixture
def mel():
    return np.random.default_rng(0).uniform(-4, 2, (1, 80, 16)).astype(np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def lower_half(frames, rng, bounds):
    return transform_frames(frames, sample_transform(rng, bounds))


def sound(mel, rng, bounds):
    return transform_mels(mel[None], sample_transform(rng, bounds))[0]


def dot(frame):
    """Where the bright dot is: (row, column)."""
    return np.argwhere(frame[..., 0] > 220).mean(axis=0)


def test_no_augmentation_changes_nothing(frames, mel):
    assert np.array_equal(lower_half(frames, rng(), NO_AUGMENT), frames[:, 48:])
    assert np.array_equal(sound(mel, rng(), NO_AUGMENT), mel)


@pytest.mark.parametrize("name", SyncNetAugment.model_fields)
def test_each_augmentation_changes_values_and_keeps_shapes(frames, mel, name):
    change = only(**{name: {"hflip": True, "spec_augment": 1.0}.get(name, 0.1)})
    seen = [lower_half(frames, rng(seed), change) for seed in range(8)]
    heard = [sound(mel, rng(seed), change) for seed in range(8)]
    same = [np.array_equal(face, frames[:, 48:]) for face in seen]
    of_audio = name in ("mel_gain", "vtlp", "spec_augment")
    assert all(same) if of_audio else not all(same)
    assert all(np.array_equal(one, mel) for one in heard) != of_audio
    assert all(face.shape == (5, 48, 96, 3) and face.dtype == np.uint8 for face in seen)
    assert all(one.shape == (1, 80, 16) and one.dtype == np.float32 for one in heard)
    assert all(one.min() >= -4 and one.max() <= 4 for one in heard)


def test_all_windows_of_a_group_get_the_same_transform(frames, mel):
    for seed in range(5):
        changed = lower_half(frames, rng(seed), FULL)
        assert all(np.array_equal(frame, changed[0]) for frame in changed)
        heard = transform_mels(np.stack([mel, mel]), sample_transform(rng(seed), FULL))
        assert np.array_equal(heard[0], heard[1])


def test_augmentation_does_not_modify_its_inputs(frames, mel):
    faces, heard = frames.copy(), mel.copy()
    lower_half(frames, rng(), FULL)
    sound(mel, rng(), FULL)
    assert np.array_equal(frames, faces) and np.array_equal(mel, heard)


def test_translation_stays_within_its_bound(frames):
    ways = [
        dot(lower_half(frames, rng(seed), only(translate=0.05))[0]) - dot(frames[0, 48:])
        for seed in range(40)
    ]
    assert 3.5 < np.abs(ways).max() <= 0.05 * 96 + 0.6


def test_scaling_keeps_the_center_of_the_lower_half():
    face = np.zeros((5, 96, 96, 3), np.uint8)
    face[:, 71:74, 47:50] = 250
    changed = lower_half(face, rng(3), only(scale=0.3))
    assert np.abs(dot(changed[0]) - dot(face[0, 48:])).max() < 1


def test_a_mask_hides_some_bands_and_some_columns():
    changed = sound(np.zeros((1, 80, 16), np.float32), rng(), only(spec_augment=1.0))[0]
    bands, columns = (changed == -4).all(axis=1).sum(), (changed == -4).all(axis=0).sum()
    assert 4 <= bands <= 16 and 1 <= columns <= 2


def test_vtlp_moves_bands_but_not_time(mel):
    tone = np.full((1, 80, 16), -4, np.float32)
    tone[0, 40, 5] = 2
    found = [sound(tone, rng(seed), only(vtlp=0.1))[0] for seed in range(20)]
    places = {tuple(np.argwhere(mel == mel.max())[0]) for mel in found}
    assert {column for _, column in places} == {5}
    assert all(35 <= band <= 45 for band, _ in places) and len(places) > 3


def test_scaled_bounds_limit_the_transform():
    half = scaled(FULL, 0.5)
    assert half.hflip is True and half.scale == FULL.scale / 2 and half.spec_augment == 0.5
    assert scaled(FULL, 0) == HFLIP
