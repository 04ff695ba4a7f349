"""Audio-visual offset of embeddings."""

import numpy as np
import pytest
import torch

from lipsync_core.evaluation.av_offset import MAX_SHIFT, SHIFTS, av_offset, cosine_distance


def embeddings(count, seed=0):
    """Random unit vectors, float32 (count, 16)."""
    vectors = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


@pytest.mark.parametrize("offset", [-15, 0, 6])
@pytest.mark.parametrize("distance", [torch.nn.functional.pairwise_distance, cosine_distance])
def test_a_late_video_has_a_positive_offset(offset, distance):
    audio = embeddings(20 + 2 * MAX_SHIFT)
    first = MAX_SHIFT - offset  # face window i shows the audio of frame i - offset
    found = av_offset(audio[first : first + 20], audio, distance=distance)
    assert found.offset == offset
    assert found.distance == pytest.approx(0, abs=1e-4)
    assert found.confidence == pytest.approx(np.median(found.distances) - found.distance)
    assert found.distances.argmin() == MAX_SHIFT - offset


def test_shifts_with_little_audio_do_not_count():
    audio = embeddings(20)
    rows = np.arange(20)[:, None] + SHIFTS
    rows[(rows < 0) | (rows >= 20)] = -1
    found = av_offset(audio, audio, rows, cosine_distance)
    assert found.offset == 0
    present = (rows >= 0).sum(axis=0)
    assert np.array_equal(np.isnan(found.distances), 2 * present < 20)
    assert np.isfinite(found.confidence)


def test_of_equal_distances_the_smaller_offset_wins():
    same = embeddings(1).expand(40, -1)
    assert av_offset(same[:10], same, distance=cosine_distance).offset == 0
