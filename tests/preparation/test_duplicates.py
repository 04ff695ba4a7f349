from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_core.preparation import duplicates
from tests.support.media import portrait
from tests.support.media_takes import RATE, frames, other_person, prepare, speech, through_mp3


class Corpus:
    """`add` prepares a clip, `find` resolves them all; keywords of `find` are speakers' splits."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = {}

    def add(self, clip, wav, pictures, quality=90):
        self.rows[clip] = prepare(self.folder, clip, wav, pictures, quality)

    def find(self, **split):
        where = {clip: split.get(clip.partition("/")[0], "train") for clip in self.rows}
        return duplicates.find_duplicates(self.rows, where, self.folder)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


WAV = speech(1)
PICTURES = frames(portrait(), 1)


def test_other_sentences_of_one_person_stay(corpus):
    for seed in range(8):
        corpus.add(f"s{seed}/1", speech(seed), PICTURES)
    assert corpus.find(s0="test", s1="val") == {}


def test_alike_prints_without_alike_audio_stay(corpus):
    """A fingerprint suggests only."""
    corpus.add("a/1", WAV, PICTURES)
    corpus.add("b/1", speech(2), PICTURES)
    corpus.rows["b/1"]["audio_fingerprint"] = corpus.rows["a/1"]["audio_fingerprint"]
    assert corpus.find(b="test") == {}


def test_of_exact_copies_one_stays(corpus):
    for speaker in "abc":
        corpus.add(f"{speaker}/1", WAV, PICTURES)
    corpus.add("d/1", speech(2), frames(portrait(), 2))
    assert corpus.find() == {"b/1": "a/1", "c/1": "a/1"}
    assert corpus.find(b="val", c="test") == {"a/1": "c/1", "b/1": "c/1"}


@pytest.mark.parametrize("start, end", [(0, 0), (0.8, 0), (0, 0.8), (0.3, 0.5)])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_trimmed_reencoded_mirrored_copy(corpus, start, end, mirror, tmp_path):
    corpus.add("a/1", WAV, PICTURES)
    first, last = round(start * 25), len(PICTURES) - round(end * 25)
    wav = WAV[first * RATE // 25 : last * RATE // 25]
    pictures = [picture[:, :: -1 if mirror else 1] for picture in PICTURES[first:last]]
    corpus.add("b/1", 0.4 * through_mp3(wav, tmp_path / "coded"), pictures, quality=40)
    assert corpus.find() == {}  # in one split both may stay
    assert corpus.find(b="val") == {"a/1": "b/1"}
    assert corpus.find(a="val") == {"b/1": "a/1"}
    assert corpus.find(a="val", b="test") == {"a/1": "b/1"}


def test_a_copy_of_a_copy_is_in_the_group(corpus):
    corpus.add("a/1", WAV, PICTURES)
    corpus.add("b/1", 0.5 * WAV[: 2 * RATE], PICTURES[:50])
    corpus.add("c/1", 0.25 * WAV[RATE // 5 :], PICTURES[5:])
    assert corpus.find(b="test") == {"a/1": "b/1", "c/1": "b/1"}


def test_another_person_with_the_same_audio_stays(corpus):
    corpus.add("a/1", WAV, PICTURES)
    corpus.add("b/1", WAV, frames(other_person(), 1))
    corpus.add("c/1", 0.5 * WAV, frames(cv2.flip(other_person(), 0), 1))
    assert corpus.find(b="val", c="test") == {}


def test_two_people_of_one_video_stay(corpus):
    """Their crops may be alike, and their audio is one and the same."""
    corpus.add("a/1", WAV, PICTURES)
    corpus.add("a/1+1", WAV, PICTURES)
    assert corpus.find() == {}


def test_a_copied_video_of_two_people(corpus):
    for speaker in "ab":
        corpus.add(f"{speaker}/1", WAV, PICTURES)
        corpus.add(f"{speaker}/1+1", WAV, frames(other_person(), 2))
    assert corpus.find() == {"b/1": "a/1", "b/1+1": "a/1+1"}


def test_missing_and_damaged_files_confirm_nothing(corpus, caplog):
    for speaker in "abc":
        corpus.add(f"{speaker}/1", WAV, PICTURES)
    (corpus.folder / "faces/a/1.zip").unlink()
    (corpus.folder / "faces/b/1.zip").write_bytes(b"cut short")
    assert corpus.find(b="test") == {}
    assert "not compared" in caplog.text


def test_clips_without_prints_pass(tmp_path):
    rows = {"a/1": {"seconds": 2}, "b/1": {"audio_sha1": "", "audio_fingerprint": ""}}
    assert duplicates.find_duplicates(rows, {"a/1": "train", "b/1": "val"}, tmp_path) == {}


def test_silence_is_no_copy(corpus):
    for speaker in "ab":
        noise = np.random.default_rng(ord(speaker)).standard_normal(RATE * 2)
        corpus.add(f"{speaker}/1", (1e-4 * noise).astype(np.float32), PICTURES)
    assert corpus.find(b="test") == {}
