"""windows.py: splits are checked before training; samples depend on seed and index alone."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lipsync_core.audio import mel_window, melspectrogram
from lipsync_core.config import SyncNetAugment
from lipsync_core.corpus.filelists import ListedClip, parse_line, read_line
from lipsync_core.data import dataset
from lipsync_core.data.array_cache import OVERHEAD
from lipsync_core.data.augmentation import HFLIP, NO_AUGMENT
from lipsync_core.data.dataset import ClipDataset, load_splits, read_filelist, window_starts
from lipsync_core.data.generator_samples import generator_batch, generator_sample
from lipsync_core.data.prefetch import prefetch
from lipsync_core.data.syncnet_batches import sample_starts, syncnet_batch, syncnet_group
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.archive import CropArchive
from lipsync_core.media.audio import write_wav
from tests.support.training import write_clip, write_corpus


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_corpus(
        tmp_path_factory.mktemp("corpus"),
        {"train": ["anna/1", "anna/a clip 2", "-bo/1"], "val": ["cy/1"]},
    )


@pytest.fixture(scope="module")
def corpus(results):
    return ClipDataset.load(results, "train")


def test_load_opens_every_clip_of_the_list(corpus):
    assert [clip.id for clip in corpus.clips] == ["anna/1", "anna/a clip 2", "-bo/1"]
    assert [len(clip.starts) for clip in corpus.clips] == [40 - 4] * 3
    assert corpus.clips[0].starts.tolist() == list(range(36))


def test_load_takes_clip_ids(results):
    chosen = ClipDataset.load(results, ["cy/1", "cy/1", "anna/1"], image_size=192)
    assert [clip.id for clip in chosen.clips] == ["cy/1", "anna/1"]
    assert chosen.frames(chosen.clips[0], 0).shape == (5, 192, 192, 3)


def test_people_of_one_video_share_its_audio(tmp_path):
    write_clip(tmp_path, "anna/1.5", seed=1)
    write_clip(tmp_path, "anna/1.5+2", seed=2)
    (tmp_path / "mels/anna/1.5+2.npy").unlink()
    first, second = ClipDataset.load(tmp_path, ["anna/1.5", "anna/1.5+2"]).clips
    assert second.mel == first.mel
    assert second.faces.name == "1.5+2.zip"


def test_filelist_with_trailing_tokens_and_spaces(results, tmp_path):
    listed = tmp_path / "train.txt"
    listed.write_text("anna/1 NF\n\n  anna/a clip 2\nanna/a clip 2 MV\r\nno/such thing\nanna/1\n")
    assert read_filelist(listed, results / "faces") == [
        "anna/1",
        "anna/a clip 2",
        "no/such thing",
    ]


def test_filelist_with_names_that_begin_or_end_with_a_space(tmp_path):
    ids = [" anna/1", "bo/2 "]
    for clip in ids:
        write_clip(tmp_path, clip)
    (tmp_path / "train.txt").write_text("".join(f"{clip}\n" for clip in ids))
    assert read_filelist(tmp_path / "train.txt", tmp_path / "faces") == ids


def test_missing_list_names_the_file(tmp_path):
    with pytest.raises(LipsyncError, match=r"train\.txt: no such file; prepare"):
        ClipDataset.load(tmp_path, "train")


def test_empty_split_is_refused(results):
    with pytest.raises(LipsyncError, match=r"test\.txt: no clip in it"):
        ClipDataset.load(results, "test")


def test_unusable_clips_are_counted_with_reasons_and_examples(tmp_path):
    ids = [f"a/{number}" for number in range(9)]
    results = write_corpus(tmp_path, {"train": ids, "val": ["v/1"]})
    for number in range(6):
        (results / f"mels/a/{number}.npy").unlink()
    write_clip(results, "a/6", frames=15)
    began = time.monotonic()
    with pytest.raises(LipsyncError) as raised:
        ClipDataset.load(results, "train")
    message = str(raised.value)
    assert "7 of 9 clips cannot be used (unreadable 6, too_short 1)" in message
    assert message.count("no such file") == 5  # the first five examples
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda r: (r / "faces/a/1.zip").unlink(), r"faces/a/1\.zip: no such file"),
        (lambda r: (r / "faces/a/1.zip").write_bytes(b"PK"), r"1\.zip: not a whole archive"),
        (lambda r: (r / "mels/a/1.npy").write_bytes(b""), r"mels/a/1\.npy: "),
        (
            lambda r: np.save(r / "mels/a/1.npy", np.zeros((80, 99))),
            r"shape \(80, 99\) of float64, wanted",
        ),
        (lambda r: np.save(r / "mels/a/1.npy", np.zeros((50, 80))), r"0\.62 s of audio end too"),
        (lambda r: write_clip(r, "a/1", frames=40, missing=range(1, 40)), "1 consecutive frames"),
        (lambda r: write_clip(r, "a/1", frames=40, missing=range(0, 40)), "0 consecutive frames"),
        (lambda r: write_clip(r, "a/1", frames=30, missing=[15]), "15 consecutive frames"),
    ],
)
def test_a_damaged_clip_raises_before_training(tmp_path, spoil, complaint):
    results = write_corpus(tmp_path, {"train": ["a/1", "a/2"], "val": ["v/1"]})
    spoil(results)
    with pytest.raises(LipsyncError, match=complaint):
        ClipDataset.load(results, "train")


def test_sixteen_frames_are_enough(tmp_path):
    results = write_corpus(tmp_path, {"train": ["a/1"]}, frames=16)
    corpus = ClipDataset.load(results, "train")
    batch = generator_batch(corpus, 0, 0, 32)
    assert batch.target.shape == (32, 5, 96, 96, 3)


def test_windows_need_five_consecutive_frames_and_their_audio():
    frames = np.array([0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 20])
    assert window_starts(frames, columns=1000).tolist() == [0, 1, 8]
    assert window_starts(frames, columns=25 + 16).tolist() == [0, 1, 8]  # 8 starts at column 25
    assert window_starts(frames, columns=25 + 15).tolist() == [0, 1]
    assert window_starts(np.array([3]), columns=1000).tolist() == []


def cut_corpus(folder) -> ClipDataset:
    write_clip(folder, "anna/1", frames=60, cuts=(18, 40))
    return ClipDataset.load(folder, ["anna/1"])


def straddles(first: int, last: int) -> bool:
    return any(first < cut <= last for cut in (18, 40))


def test_no_window_reaches_across_a_cut(tmp_path):
    corpus = cut_corpus(tmp_path)
    (clip,) = corpus.clips
    assert clip.cuts == (18, 40)
    assert {0, 18, 40, 51} <= set(clip.starts.tolist())
    # Five frames, and the sounds of the last of them, which last five frames more.
    assert not [start for start in clip.starts.tolist() if straddles(start, start + 8)]
    for index in range(20):
        assert set(syncnet_group(corpus, 0, index).starts.tolist()) <= set(clip.starts.tolist())


@pytest.mark.parametrize("mel_offset", [-1, 0, 2])
def test_no_generator_sample_reaches_across_a_cut(tmp_path, monkeypatch, mel_offset):
    corpus = cut_corpus(tmp_path)
    shown, heard = [], []
    frames, mels = corpus.frames, corpus.mels
    monkeypatch.setattr(corpus, "frames", lambda c, start: shown.append(start) or frames(c, start))
    monkeypatch.setattr(
        corpus, "mels", lambda c, which: heard.append(list(which)) or mels(c, heard[-1])
    )
    for index in range(60):
        generator_sample(corpus, 0, index, mel_offset)
    assert not [start for start in shown if straddles(start, start + 4)]
    assert not [which for which in heard if straddles(which[0], which[-1] + 4)]
    targets, references = shown[::2], shown[1::2]
    assert any(straddles(*sorted(pair)) for pair in zip(targets, references, strict=True))


def test_a_clip_needs_sixteen_frames_in_one_shot(tmp_path):
    write_clip(tmp_path, "anna/1", frames=40, cuts=(15, 30))
    with pytest.raises(LipsyncError, match=r"too_short 1.*15 consecutive frames"):
        ClipDataset.load(tmp_path, ["anna/1"])
    write_clip(tmp_path, "anna/1", frames=40, cuts=(16, 30))
    (clip,) = ClipDataset.load(tmp_path, ["anna/1"]).clips
    assert clip.starts[-1] >= 30


def test_syncnet_group_pairs_lower_halves_with_their_own_audio(corpus):
    group = syncnet_group(corpus, seed=1, index=5, windows=7, bounds=NO_AUGMENT)
    assert group.frames.shape == (7, 5, 48, 96, 3) and group.frames.dtype == np.uint8
    assert group.mels.shape == (7, 1, 80, 16) and group.mels.dtype == np.float32
    assert len(set(group.starts.tolist())) == 7
    owners = [
        clip
        for clip in corpus.clips
        if np.array_equal(corpus.lower_half(clip, group.starts[0]), group.frames[0])
    ]
    clip = owners[0]
    archive, mel = CropArchive(clip.faces), np.load(clip.mel)
    for start, frames, window in zip(group.starts, group.frames, group.mels, strict=True):
        for step in range(5):
            assert np.array_equal(frames[step], archive.decode(start + step, 96)[48:])
        assert np.array_equal(window[0], mel_window(mel, start))


def test_audio_negatives_are_other_audio_of_the_clip(corpus):
    plain = syncnet_group(corpus, 4, 2, windows=6, bounds=NO_AUGMENT)
    more = syncnet_group(corpus, 4, 2, windows=6, bounds=NO_AUGMENT, audio_negatives=5)
    assert np.array_equal(more.frames, plain.frames)  # they change nothing else
    assert np.array_equal(more.starts[:6], plain.starts)
    assert np.array_equal(more.mels[:6], plain.mels)
    assert len(more.mels) == len(set(more.starts.tolist())) == 11
    clip = corpus.sample_clip(np.random.default_rng((1, 4, 2)), 4, 2)
    assert np.array_equal(more.mels, corpus.mels(clip, more.starts))
    many = syncnet_group(corpus, 4, 2, windows=20, audio_negatives=40)  # more than the clip has
    assert len(many.starts) == len(many.mels) == 60


def test_a_flip_turns_all_windows_of_a_group(corpus):
    turned = []
    for index in range(12):
        straight, flipped = (
            syncnet_group(corpus, 1, index, 4, bounds) for bounds in (NO_AUGMENT, HFLIP)
        )
        turned.append(not np.array_equal(flipped.frames, straight.frames))
        step = -1 if turned[-1] else 1
        assert np.array_equal(flipped.frames, straight.frames[:, :, :, ::step])
    assert any(turned) and not all(turned)


def test_a_short_clip_repeats_windows(tmp_path):
    corpus = ClipDataset.load(write_corpus(tmp_path, {"train": ["a/1"]}, frames=16), "train")
    group = syncnet_group(corpus, 0, 0, windows=20)
    assert len(group.starts) == 20 and set(group.starts) <= set(range(12))


def test_windows_keep_the_minimum_gap():
    starts = np.concatenate([np.arange(40), np.arange(50, 90)])
    for seed in range(20):
        chosen = sample_starts(starts, np.random.default_rng(seed), 8, min_gap=9)
        assert set(chosen) <= set(starts)
        assert np.diff(np.sort(chosen)).min() >= 9
    assert np.any(np.diff(chosen) < 0)  # in any order


def test_the_minimum_gap_is_reduced_for_short_clips():
    chosen = sample_starts(np.arange(20), np.random.default_rng(0), 7, min_gap=100)
    assert np.diff(np.sort(chosen)).min() >= 3
    assert sorted(sample_starts(np.arange(7), np.random.default_rng(0), 7, min_gap=100)) == list(
        range(7)
    )


def test_every_sample_of_starts_is_equally_likely():
    rng = np.random.default_rng(0)
    drawn = [tuple(sorted(sample_starts(np.arange(6), rng, 2, min_gap=3))) for _ in range(3000)]
    pairs = {pair: drawn.count(pair) for pair in set(drawn)}
    assert set(pairs) == {(a, b) for a in range(6) for b in range(6) if b - a >= 3}
    assert min(pairs.values()) > 400


def test_augmentation_does_not_change_the_sampled_windows(corpus):
    plain = syncnet_group(corpus, 2, 4, bounds=NO_AUGMENT)
    changed = syncnet_group(corpus, 2, 4, bounds=SyncNetAugment(translate=0.1, mel_gain=1.0))
    assert np.array_equal(plain.starts, changed.starts)
    assert not np.array_equal(plain.frames, changed.frames)
    assert not np.array_equal(plain.mels, changed.mels)


def test_samples_depend_on_seed_and_index_alone(results, corpus):
    again = ClipDataset.load(results, "train", cache_bytes=0)
    for make in (syncnet_group, generator_sample):
        for index in (0, 3):
            for left, right in zip(make(corpus, 7, index), make(again, 7, index), strict=True):
                assert np.array_equal(left, right)
        assert not np.array_equal(make(corpus, 7, 0)[0], make(corpus, 8, 0)[0])


def test_batches_are_consecutive_samples(corpus):
    batch = syncnet_batch(corpus, 3, step=2, clips=4, windows=5)
    assert batch.frames.shape == (4, 5, 5, 48, 96, 3) and batch.starts.shape == (4, 5)
    assert np.array_equal(batch.frames[1], syncnet_group(corpus, 3, 9, 5).frames)
    batch = generator_batch(corpus, 3, step=2, size=4)
    assert np.array_equal(batch.reference[1], generator_sample(corpus, 3, 9).reference)


def test_generator_sample_takes_its_reference_from_another_time(corpus):
    for index in range(40):
        sample = generator_sample(corpus, 0, index)
        assert sample.target.shape == sample.reference.shape == (5, 96, 96, 3)
        owners = [
            (clip, start)
            for clip in corpus.clips
            for start in clip.starts
            if np.array_equal(corpus.frames(clip, start), sample.reference)
        ]
        targets = [
            (clip, start)
            for clip in corpus.clips
            for start in clip.starts
            if np.array_equal(corpus.frames(clip, start), sample.target)
        ]
        assert any(
            a is b and abs(one - other) >= 5
            for (a, one), (b, other) in itertools.product(owners, targets)
        )


def test_mel_offset_moves_the_windows_of_the_frames_only(corpus):
    plain, shifted = (generator_sample(corpus, 0, 4, mel_offset=shift) for shift in (0, -1))
    assert np.array_equal(plain.mels[0], plain.sync_mel)
    assert np.array_equal(shifted.mels[1:], plain.mels[:-1])
    assert np.array_equal(shifted.sync_mel, plain.sync_mel)
    assert np.array_equal(shifted.target, plain.target)


def test_generator_flip_turns_target_and_reference_together(corpus):
    for index in range(12):
        straight, flipped = (generator_sample(corpus, 0, index, hflip=flip) for flip in (0, 1))
        kept = np.array_equal(flipped.target, straight.target)
        step = 1 if kept else -1
        assert np.array_equal(flipped.target, straight.target[:, :, ::step])
        assert np.array_equal(flipped.reference, straight.reference[:, :, ::step])


def test_frames_are_decoded_once_where_the_cache_has_room(results, monkeypatch):
    decoded = []
    real = CropArchive.decode
    monkeypatch.setattr(
        CropArchive, "decode", lambda self, *key: decoded.append(key) or real(self, *key)
    )
    full, none = ClipDataset.load(results, "val"), ClipDataset.load(results, "val", cache_bytes=0)
    for _ in range(3):
        full.frames(full.clips[0], 0)
    assert len(decoded) == 5
    for _ in range(3):
        none.frames(none.clips[0], 0)
    assert len(decoded) == 5 + 15
    some = ClipDataset.load(results, "val", cache_bytes=3 * (96 * 96 * 3 + OVERHEAD))
    for _ in range(3):
        some.frames(some.clips[0], 0)
    assert len(decoded) == 20 + 5 + 2 + 2


# Fills a cache from windows that lie apart, in two threads; prints the memory that this took.
FILL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from lipsync_core.data.dataset import ClipDataset

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

corpus = ClipDataset.load(sys.argv[1], "train", int(sys.argv[2]), int(sys.argv[3]))
corpus.frames(corpus.clips[0], 300)  # what the decoder itself takes
before = resident()
tasks = [(clip, start) for clip in corpus.clips for start in range(0, 640, 80)]
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda task: corpus.frames(*task).sum(), tasks))
print(resident() - before)
"""


@pytest.fixture(scope="module")
def long_clips(tmp_path_factory):
    """40 clips of 25 s: one clip by many names."""
    ids = [f"a/{number}" for number in range(40)]
    results = write_corpus(tmp_path_factory.mktemp("long"), {"train": ids[:1]}, frames=640)
    for clip_id in ids[1:]:
        for kind, suffix in (("faces", "zip"), ("mels", "npy")):
            os.link(results / kind / f"a/0.{suffix}", results / kind / f"{clip_id}.{suffix}")
    (results / "filelists/train.txt").write_text("".join(f"{clip_id}\n" for clip_id in ids))
    return results


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("image_size", [96, 288])
def test_the_cache_uses_the_memory_it_is_given(long_clips, root, image_size):
    budget = 30 << 20  # the windows are 1.4 and 13 times as large
    command = [sys.executable, "-c", FILL, str(long_clips), str(image_size), str(budget)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 0.75 * budget < int(done.stdout) < 1.25 * budget


def test_splits_share_the_cache(results):
    train, val = load_splits(results, ("train", "val"), 96, 1000)
    assert (train.name, val.name) == ("train", "val")
    assert (train.cache.room, val.cache.room) == (750, 250)  # three clips and one, alike long


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_prefetch_keeps_the_order(workers):
    def make(index):
        time.sleep(0.01 if index % 3 == 0 else 0)
        return index * index

    assert list(prefetch(make, range(20), workers)) == [index * index for index in range(20)]


def test_prefetch_raises_in_place_and_stops():
    def make(index):
        if index == 3:
            raise LipsyncError("broken")
        return index

    items = prefetch(make, range(1_000_000), workers=2)
    assert list(itertools.islice(items, 3)) == [0, 1, 2]
    with pytest.raises(LipsyncError, match="broken"):
        next(items)
    assert not [one for one in threading.enumerate() if one.name.startswith("windows")]


def test_a_closed_prefetch_leaves_no_thread():
    items = prefetch(lambda index: index, itertools.count(), workers=2)
    assert next(items) == 0
    items.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("windows")]


def test_many_clips_do_not_keep_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_OPEN_ARCHIVES", 2)
    results = write_corpus(tmp_path, {"train": [f"a/{n}" for n in range(5)]}, frames=16)
    corpus = ClipDataset.load(results, "train", cache_bytes=0)
    for clip in corpus.clips:
        corpus.frames(clip, 0)
    assert corpus._archive.cache_info().currsize == 2


def test_windows_of_a_clip_are_those_of_its_frames(tmp_path):
    results = write_corpus(tmp_path, {"train": ["a/1"]}, frames=40)
    write_clip(results, "a/1", frames=40, missing=[0, 1, 25])
    corpus = ClipDataset.load(results, "train")
    clip = corpus.clips[0]
    archive = CropArchive(clip.faces)
    for _ in range(2):  # decoded, then kept
        for start in clip.starts:
            expected = [archive.decode(start + step, 96) for step in range(5)]
            assert np.array_equal(corpus.frames(clip, start), expected)
            assert np.array_equal(corpus.lower_half(clip, start), np.array(expected)[:, 48:])
    corpus.frames(clip, clip.starts[0])[:] = 0
    assert np.array_equal(
        corpus.frames(clip, clip.starts[0])[0], archive.decode(clip.starts[0], 96)
    )


def test_a_list_can_shift_the_audio_of_a_clip(tmp_path):
    write_clip(tmp_path, "a/1")
    sound = np.random.default_rng(0).integers(-3000, 3000, 40 * 640).astype("<i2")
    (tmp_path / "audio/a").mkdir(parents=True)
    write_wav(tmp_path / "audio/a/1.wav", [sound])
    late = ClipDataset.load(tmp_path, [str(ListedClip("a/1").shifted(3, 40))])
    clip = late.clips[0]
    assert (int(clip.starts[0]), int(clip.starts[-1])) == (3, 35)
    delayed = np.concatenate([np.zeros(1920, "<i2"), sound]).astype(np.float32) / 32768
    np.testing.assert_array_equal(late.mel(clip), melspectrogram(delayed).T)
    early = ClipDataset.load(tmp_path, [str(ListedClip("a/1").shifted(-4, 40))])
    clip = early.clips[0]
    assert (int(clip.starts[0]), int(clip.starts[-1])) == (0, 31)  # no audio for the last four
    np.testing.assert_array_equal(
        early.mel(clip), melspectrogram(sound[2560:].astype(np.float32) / 32768).T
    )
    assert ListedClip("a/1").shifted(0, 40) == ListedClip("a/1")


@pytest.mark.parametrize("text", ["a/1", "a/1\t3-9", "a/1\t0-74\t+1920", "a/1\t5-60\t-640"])
def test_lines_of_lists_are_read_as_written(text):
    assert str(parse_line(text)) == text
    assert str(read_line(f"{text}\n", lambda name: name == "a/1")) == text
