from __future__ import annotations

import itertools
from collections import Counter

import pytest

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.data.generator_samples import generator_sample
from lipsync_core.data.syncnet_batches import syncnet_group
from lipsync_core.data.weights import CorpusSampler, position, write_weights
from tests.support.training import write_corpus

IDS = [f"big.s{i}/1" for i in range(90)] + [f"small.s{i}/1" for i in range(7)] + ["one.me/1"]
WEIGHTS = {"big": 1.0, "small": 2.0, "one": 0.5}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("samples", [400, 5000])
def test_the_shares_are_the_weights_within_a_percent(seed, samples):
    sampler = CorpusSampler(IDS, WEIGHTS)
    drawn = [sampler.clips(position(seed / 7, index)) for index in range(samples)]
    counts = Counter(IDS[places[0]].partition(".")[0] for places in drawn)
    for name, weight in WEIGHTS.items():
        assert counts[name] / samples == pytest.approx(weight / 3.5, abs=0.01)


def test_positions_stay_even_after_many_rollbacks():
    first = 4 * (1 << 42)
    places = sorted(position(0.3, first + index) for index in range(1000))
    assert max(b - a for a, b in itertools.pairwise(places)) < 0.003
    assert places[0] >= 0 and places[-1] < 1


def test_an_empty_corpus_leaves_its_share_to_the_others(caplog):
    sampler = CorpusSampler(IDS[:90], WEIGHTS)
    assert len(sampler.clips(0.999)) == 90
    assert "no clip of corpus one" in caplog.text


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    train = ["a.x/1", "a.x/2", "a.y/1", "a.y/2", "b.z/1"]
    folder = tmp_path_factory.mktemp("weights")
    return write_corpus(folder, {"train": train, "val": ["a.v/1", "b.v/1"]})


def drawn(dataset, sample, count=200) -> Counter:
    seen = Counter()
    dataset.read_windows = lambda clip, starts: seen.update([clip.id]) or original(clip, starts)
    original = ClipDataset.read_windows.__get__(dataset)
    for index in range(count):
        sample(dataset, 5, index)
    return seen


def test_samples_follow_the_weights_in_training_only(results):
    write_weights(results, {"a": 1, "b": 3})
    dataset = ClipDataset.load(results, "train")
    groups = drawn(dataset, lambda *a: syncnet_group(*a, windows=2))
    assert groups["b.z/1"] == pytest.approx(150, abs=2)
    assert all(count > 0 for count in groups.values()) and len(groups) == 5
    assert ClipDataset.load(results, "val").sampler is None
    write_weights(results, {})
    assert ClipDataset.load(results, "train").sampler is None


def test_samples_are_a_pure_function_of_their_index(results):
    weighted = ClipDataset(
        "train", ClipDataset.load(results, "train").clips, weights={"a": 1, "b": 1}
    )
    one = generator_sample(weighted, 1, 17)
    generator_sample(weighted, 1, 3)
    again = generator_sample(weighted, 1, 17)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
