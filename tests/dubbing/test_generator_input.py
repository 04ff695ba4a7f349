"""What the generator is given at inference."""

import numpy as np

from lipsync_core.dubbing.generator_input import inference_input


def test_generator_input():
    crop = np.zeros((96, 96, 3), np.uint8)
    crop[..., 0], crop[:40, :, 2] = 255, 51
    faces = inference_input([crop, crop], 96)
    assert faces.shape == (2, 6, 96, 96) and faces.dtype == np.float32
    masked, reference = faces[1, :3], faces[1, 3:]
    np.testing.assert_allclose(reference[:, 20, 7], [1, 0, 0.2])  # BGR order, divided by 255
    np.testing.assert_array_equal(masked[:, :48], reference[:, :48])
    assert not masked[:, 48:].any() and reference[0, 48:].all()
