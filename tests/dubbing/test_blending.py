"""Pasting mouths: what the network sees, and which pixels of a frame may change."""

import numpy as np
import pytest

from lipsync_core.dubbing.blending import inference_input, paste, soft_mask


def test_generator_input():
    crop = np.zeros((96, 96, 3), np.uint8)
    crop[..., 0], crop[:40, :, 2] = 255, 51
    faces = inference_input([crop, crop], 96)
    assert faces.shape == (2, 6, 96, 96) and faces.dtype == np.float32
    masked, reference = faces[1, :3], faces[1, 3:]
    np.testing.assert_allclose(reference[:, 20, 7], [1, 0, 0.2])  # BGR order, divided by 255
    np.testing.assert_array_equal(masked[:, :48], reference[:, :48])
    assert not masked[:, 48:].any() and reference[0, 48:].all()


def test_soft_mask_covers_the_mouth_and_no_edge():
    mask = soft_mask(200, 100)
    assert mask.shape == (200, 100) and mask.min() >= 0 and mask.max() <= 1
    assert not mask[:104].any()
    assert (mask[129:178, 12:88] == 1).all()
    border = np.concatenate([mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() < 0.1
    # Without visible steps: about ten pixels from nothing to all.
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.2


@pytest.mark.parametrize("blend", ["soft", "hard"])
def test_paste_stays_in_the_box(blend):
    frame = np.full((120, 160, 3), 100, np.uint8)
    paste(frame, (40, 20, 100, 90), np.ones((96, 96, 3), np.float32), blend)
    outside = frame.copy()
    outside[20:90, 40:100] = 100
    assert (outside == 100).all()
    assert (frame[66:80, 50:90] == 255).all()  # the mouth is the generator's
    upper = frame[20:55, 40:100]
    assert (upper == (255 if blend == "hard" else 100)).all()


def test_pasting_the_picture_itself_changes_nothing():
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    for blend in ("soft", "hard"):
        copy = frame.copy()
        paste(copy, (30, 10, 126, 106), frame[10:106, 30:126].astype(np.float32) / 255, blend)
        np.testing.assert_array_equal(copy, frame)


def test_unknown_blend():
    with pytest.raises(ValueError, match="soft, hard"):
        paste(np.zeros((9, 9, 3), np.uint8), (0, 0, 9, 9), np.zeros((9, 9, 3), np.float32), "glue")
