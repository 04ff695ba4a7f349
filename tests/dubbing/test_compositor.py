"""Compositing: pixels outside of the mask keep their bits, colors meet at its edge."""

import cv2
import numpy as np
import pytest

from lipsync_core.dubbing.color_match import GRID, ColorMatch
from lipsync_core.dubbing.compositor import BLENDS, Compositor, seen_from
from lipsync_core.dubbing.mask import lower_face_mask
from lipsync_core.dubbing.torch_engine import MARGIN
from lipsync_core.media.color import ColorTags

SHAPE = 240, 320
BOX = (61, 31, 240, 220)  # odd corners: chroma samples lie half outside


def to_i420(bgr: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)


def to_bgr(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420)


def smooth_image(seed: int = 0) -> np.ndarray:
    """uint8 (*SHAPE, 3) BGR: skin-like colors that change slowly."""
    noise = np.random.default_rng(seed).normal(0, 1, (6, 8, 3))
    field = cv2.resize(noise, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(np.array([120, 150, 190]) + 12 * field, 0, 255).astype(np.uint8)


def crop(image: np.ndarray, size: int = 96) -> np.ndarray:
    x1, y1, x2, y2 = BOX
    part = cv2.resize(image[y1:y2, x1:x2], (size, size), interpolation=cv2.INTER_AREA)
    return part.astype(np.float32) / 255


def outside_of(box: tuple[int, int, int, int], frame: np.ndarray) -> np.ndarray:
    """Values of an I420 frame that no pixel of `box` with an opacity above 0 belongs to."""
    full = np.zeros(SHAPE, np.float32)
    x1, y1, x2, y2 = box
    full[y1:y2, x1:x2] = lower_face_mask(box)
    half = full.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).max(axis=(1, 3))
    chroma = np.concatenate([half, half]).reshape(-1, SHAPE[1])
    return frame[np.concatenate([full, chroma]) == 0]


@pytest.mark.parametrize("blend", ["soft", "poisson"])
def test_pixels_outside_of_the_mask_keep_their_bits(blend):
    rng = np.random.default_rng(0)
    compositor = Compositor(blend=blend)
    for _ in range(3):
        source = rng.integers(0, 256, (SHAPE[0] * 3 // 2, SHAPE[1]), np.uint8)
        frame = source.copy()
        compositor.paste(frame, BOX, None, rng.random((96, 96, 3), np.float32))
        np.testing.assert_array_equal(outside_of(BOX, frame), outside_of(BOX, source))
        assert (frame != source).mean() > 0.05


@pytest.mark.parametrize("size", [96, 192])
@pytest.mark.parametrize("side", [21, 60, 189])
@pytest.mark.parametrize("blend", ["soft", "poisson"])
def test_rows_of_the_face_that_are_not_seen_do_not_matter(blend, side, size):
    rng = np.random.default_rng(0)
    first = int(seen_from(blend, False) * size) - MARGIN
    assert first > 0.45 * size
    frames = [to_i420(smooth_image()) for _ in range(2)]
    one, other = Compositor(blend=blend), Compositor(blend=blend)
    for _ in range(2):
        face = rng.random((size, size, 3), np.float32)
        one.paste(frames[0], (61, 31, 61 + side, 31 + side), None, face)
        face[:first] = rng.random((first, size, 3))
        other.paste(frames[1], (61, 31, 61 + side, 31 + side), None, face)
    np.testing.assert_array_equal(*frames)
    assert (frames[0] != to_i420(smooth_image())).any()


def test_whole_faces_are_seen_by_hard_blending_and_by_an_enhancer():
    assert seen_from("hard", False) == seen_from("soft", True) == 0


@pytest.mark.parametrize("blend", ["soft", "poisson"])
def test_a_tinted_face_meets_the_colors_around(blend):
    image = smooth_image()
    tinted = np.clip(crop(image) + np.array([-0.12, 0.05, 0.1], np.float32), 0, 1)
    frame = to_i420(image)
    before = to_bgr(frame).astype(np.float32)
    Compositor(blend=blend).paste(frame, BOX, None, tinted)
    difference = np.abs(to_bgr(frame) - before)
    assert difference.mean(axis=2).max() < 4  # without a match: 30


def test_the_color_match_follows_light_across_the_face():
    image = smooth_image()
    shade = np.linspace(-0.06, 0.06, 96, dtype=np.float32)[None, :, None]
    frame = to_i420(image)
    before = to_bgr(frame).astype(np.float32)
    Compositor().paste(frame, BOX, None, np.clip(crop(image) + shade, 0, 1))
    mask = np.zeros(SHAPE)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = lower_face_mask(BOX)
    band = (mask > 0.5) & (mask < 0.95)
    assert np.abs(to_bgr(frame) - before)[band].mean() < 2  # without a match: 8


def test_the_membrane_is_harmonic_between_the_differences_along_the_outline():
    x, y = np.meshgrid(np.linspace(-1, 1, GRID), np.linspace(-1, 1, GRID))
    mask = np.clip(4 - 5 * np.hypot(x, y), 0, 1).astype(np.float32)
    slope = np.repeat(20 * x[:, :, None], 3, axis=2).astype(np.float32)  # its own harmonic
    frame = np.full((GRID, GRID, 3), 128, np.uint8)
    errors = []
    for harmonic in (True, False):
        field = ColorMatch(harmonic=harmonic).correction(frame, frame - slope, mask)
        errors.append(np.abs(field - slope)[mask > 0.3].max())
    assert errors[0] < 1 < 2 < errors[1]


def test_hard_is_the_whole_rectangle():
    source = to_i420(smooth_image())
    frame = source.copy()
    box = (60, 30, 240, 220)
    face = np.zeros((96, 96, 3), np.float32)
    face[:] = (0.2, 0.4, 0.6)
    Compositor(blend="hard").paste(frame, box, None, face)
    inside = to_bgr(frame)[30:220, 60:240].astype(int)
    assert np.abs(inside - np.rint(255 * face[0, 0]).astype(int)).max() <= 2
    frame[:240][30:220, 60:240] = source[:240][30:220, 60:240]
    np.testing.assert_array_equal(frame[:240], source[:240])


def test_color_tags_choose_the_matrix():
    red = np.zeros((96, 96, 3), np.float32)
    red[..., 2] = 0.8
    lumas = []
    for tags in (None, ColorTags("bt709"), ColorTags(range="pc")):
        frame = np.full((360, 320), 128, np.uint8)
        Compositor(tags, "hard").paste(frame, BOX, None, red)
        lumas.append(int(frame[120, 150]))
    assert lumas == [68, 53, 61]  # 16 + 219 * 0.8 * Kr; 255 * 0.8 * Kr


@pytest.mark.parametrize("blend", BLENDS)
def test_strength(blend):
    source = to_i420(smooth_image())
    face = crop(smooth_image(1))
    changes = []
    for strength in (0.0, 0.5, 1.0):
        frame = source.copy()
        Compositor(blend=blend).paste(frame, BOX, None, face, strength)
        changes.append(np.abs(frame.astype(int) - source).sum())
    assert changes[0] == 0 and changes[1] == pytest.approx(changes[2] / 2, rel=0.1)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(
    "box", [(-30, -20, 90, 110), (220, 130, 370, 271), (-50, -50, -10, -10), (5, 5, 6, 90)]
)
def test_boxes_that_reach_beyond_the_frame(blend, box):
    source = to_i420(smooth_image())
    frame = source.copy()
    Compositor(blend=blend).paste(
        frame, box, None, crop(np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8))
    )
    reaches = box[2] > 0 and (blend == "hard" or box[2] - box[0] > 1)
    assert (frame != source).any() == reaches


def test_equal_calls_give_equal_pixels_and_reset_forgets():
    first, second = (to_i420(smooth_image(seed)) for seed in (0, 1))
    face = crop(smooth_image(2))

    def pasted(compositor: Compositor, source: np.ndarray) -> np.ndarray:
        frame = source.copy()
        compositor.paste(frame, BOX, None, face)
        return frame

    one, other, fresh = Compositor(), Compositor(), Compositor()
    pasted(one, first), pasted(other, first)
    after = pasted(one, second)
    np.testing.assert_array_equal(after, pasted(other, second))
    assert (after != pasted(fresh, second)).any()
    one.reset()
    np.testing.assert_array_equal(pasted(one, second), pasted(Compositor(), second))


def test_an_unknown_blend():
    with pytest.raises(ValueError, match="soft, hard, poisson"):
        Compositor(blend="glue")
