"""data/generator_samples.py: references in the target's pose, and samples of silence."""

import cv2
import numpy as np
import pytest

from lipsync_core.audio import MAX_ABS
from lipsync_core.data import generator_samples
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.generator_samples import generator_batch, generator_sample, silent_frames
from lipsync_core.faces.mouth_region import MOUTH, region
from tests.support.training import small_corpus


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture
def corpus(results):
    return ClipDataset.load(results, "train")


def make_silent(corpus, results, first, last):
    """Make frames first .. last of each clip silent, with a closed (skin-colored) mouth."""
    source = ClipDataset.load(results, "train")  # the cache of `corpus` keeps what it has
    for clip in source.clips:
        mel = source.mel(clip).copy()
        mel[:] = 2
        mel[int(first * 3.2) : int((last + 1) * 3.2) + 1] = -MAX_ABS
        corpus.cache.add(clip.id, mel)
        for frame in range(first, last + 1):
            image = source.frame(clip, frame).copy()
            image[55:92, 20:76] = image[50, 48]
            corpus.cache.add((clip.id, frame), image)


def test_the_share_of_silence_is_as_asked_and_leaves_the_other_samples(corpus):
    plain = [generator_sample(corpus, 0, index) for index in range(60)]
    mixed = [generator_sample(corpus, 0, index, silence_share=0.3) for index in range(60)]
    spoken = [bool(sample.spoken) for sample in mixed]
    assert 8 <= spoken.count(False) <= 28
    for one, other, same in zip(plain, mixed, spoken, strict=True):
        assert np.array_equal(one.target, other.target) or not same
    assert generator_batch(corpus, 0, 0, 4, silence_share=1.0).spoken.tolist() == [0, 0, 0, 0]


def test_samples_of_silence_show_closed_mouths_and_hear_silence(corpus, results):
    make_silent(corpus, results, 10, 30)
    for clip in corpus.clips:
        frames = silent_frames(corpus, clip)
        # Five frames of audio and two on each side are silent.
        assert {12, 18, 23} <= set(frames.tolist()) and not {9, 28, 35} & set(frames.tolist())
    quiet = []
    for index in range(12):
        sample = generator_sample(corpus, 0, index, silence_share=1.0)
        inner = sample.target[:, 60:88, 36:60]
        assert (inner.std(axis=(1, 2)) < 2).all()  # one color: closed
        assert sample.mels.max() == -MAX_ABS
        quiet.append(sample.reference[:, 72, 48].mean() < sample.target[:, 72, 48].mean())
    assert np.mean(quiet) > 0.9  # the references are the open ones


def test_the_silence_of_a_clip_is_looked_for_once(corpus, monkeypatch):
    clip = corpus.clips[0]
    first = silent_frames(corpus, clip)
    monkeypatch.setattr(generator_samples, "loudness", None)
    assert np.array_equal(silent_frames(corpus, clip), first)


def test_a_corpus_without_silence_gives_the_mouths_that_are_most_closed(corpus, monkeypatch):
    monkeypatch.setattr(generator_samples, "silent_frames", lambda *_: np.empty(0, np.int64))
    target, reference = (
        np.stack([generator_sample(corpus, 1, i, silence_share=1.0)[part] for i in range(8)])
        for part in (0, 1)
    )
    assert target[:, :, 60:88, 36:60].mean() > reference[:, :, 60:88, 36:60].mean() + 5


def test_a_pose_matched_reference_has_the_pose_and_another_mouth(corpus, results):
    clip = corpus.clips[0]
    source = ClipDataset.load(results, "train")
    turned = range(len(clip.starts) // 2, len(clip.starts) + 4)
    for frame in turned:  # the head is elsewhere in half of the clip
        moved = np.roll(source.frame(clip, frame), 6, axis=1)
        corpus.cache.add((clip.id, frame), moved)
    rng = np.random.default_rng(0)
    for start, elsewhere in (
        (2, np.r_[7:14, 20:27]),
        (turned.start + 8, np.r_[0:7, 18:21, 31:35]),
    ):
        target = corpus.frames(clip, start)
        chosen = [
            generator_samples.pose_matched(corpus, clip, target, elsewhere, rng) for _ in range(8)
        ]
        assert all((one >= turned.start) == (start >= turned.start) for one in chosen)
        mouths = region(np.stack([corpus.frame(clip, start + 2)] * 2), MOUTH)
        others = np.stack([corpus.frame(clip, one + 2) for one in chosen])
        assert generator_samples._distances(region(others, MOUTH), mouths[:1]).min() > 2


def test_more_candidates_cost_no_determinism(corpus):
    first = generator_sample(corpus, 3, 17, reference="pose_matched", silence_share=0.2)
    generator_sample(corpus, 3, 4, reference="pose_matched")
    again = generator_sample(corpus, 3, 17, reference="pose_matched", silence_share=0.2)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_thumbnails_do_not_depend_on_the_size():
    small = np.random.default_rng(0).integers(0, 256, (1, 48, 96, 3), np.uint8)
    large = cv2.resize(small[0], (384, 192), interpolation=cv2.INTER_NEAREST)[None]
    assert generator_samples._distances(large, small).max() < 2
