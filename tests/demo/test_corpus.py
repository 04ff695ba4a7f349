from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipsync_core.demo import corpus
from lipsync_core.demo.corpus import clip_path, write_clip, write_corpus
from lipsync_core.demo.plan import plan, signature
from lipsync_core.demo.speech import say
from lipsync_core.errors import LipsyncError
from lipsync_core.media.audio import load_wav
from lipsync_core.media.video import probe, read_frames

pytestmark = pytest.mark.media

CLIPS = [clip for clip in plan(9, 1, seconds=1.2) if clip.speaker.id in ("00001", "00009")]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_corpus(folder, processes=1, clips=CLIPS)
    return folder


def test_clips_are_videos_with_sound_in_time(root):
    for clip in CLIPS:
        path = clip_path(root, clip)
        found = probe(path)
        assert (found.width, found.height, found.fps, found.has_audio) == (288, 320, 25, True)
        assert len(list(read_frames(path))) == 30
        wav, spoken = load_wav(path), say(clip.text, clip.voice, clip.seed, clip.seconds).wav
        count = min(len(wav), len(spoken))
        lags = np.arange(-400, 401)
        fit = [
            np.dot(wav[400 + lag : count - 400 + lag], spoken[400 : count - 400]) for lag in lags
        ]
        assert abs(lags[int(np.argmax(fit))]) <= 16  # a millisecond


def test_the_file_says_that_it_is_synthetic(root):
    content = clip_path(root, CLIPS[0]).read_bytes()
    assert b"Synthetic demo" in content and b"public domain" in content


def test_lists_and_manifest_name_every_clip(root):
    assert (root / "train.txt").read_text() == "00001/00001\n"
    assert (root / "val.txt").read_text() == "00009/00001\n"
    assert (root / "test.txt").read_text() == ""
    manifest = json.loads((root / "demo.json").read_text())
    assert set(manifest["clips"]) == {clip.id for clip in CLIPS}
    for clip in CLIPS:
        status, entry = clip_path(root, clip).stat(), manifest["clips"][clip.id]
        assert entry == {
            "signature": signature(clip),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }


def test_there_is_something_to_dub(root):
    portrait = root / "demo" / "portrait.png"
    assert portrait.read_bytes().startswith(b"\x89PNG")
    assert 5 < len(load_wav(root / "demo" / "speech.wav")) / 16000 < 12


def test_nothing_is_done_twice_and_damage_is_repaired(root, monkeypatch):
    before = [clip_path(root, clip).stat().st_mtime_ns for clip in CLIPS]
    write_corpus(root, processes=1, clips=CLIPS)
    assert [clip_path(root, clip).stat().st_mtime_ns for clip in CLIPS] == before
    cut = clip_path(root, CLIPS[0])
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    write_corpus(root, processes=1, clips=CLIPS)
    assert cut.read_bytes() == whole
    assert clip_path(root, CLIPS[1]).stat().st_mtime_ns == before[1]


def test_an_interrupted_run_keeps_its_clips_and_has_no_manifest_yet(tmp_path, monkeypatch):
    def fail_on_second(path, clip):
        if clip is CLIPS[1]:
            raise KeyboardInterrupt
        write_clip(path, clip)

    monkeypatch.setattr(corpus, "write_clip", fail_on_second)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path, processes=1, clips=CLIPS)
    kept = clip_path(tmp_path, CLIPS[0])
    modified = kept.stat().st_mtime_ns
    assert not (tmp_path / "demo.json").exists()
    monkeypatch.undo()
    write_corpus(tmp_path, processes=1, clips=CLIPS)
    assert kept.stat().st_mtime_ns == modified


def test_a_foreign_file_in_the_way_is_left_alone(tmp_path):
    path = clip_path(tmp_path, CLIPS[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody's own recording")
    with pytest.raises(LipsyncError, match="not a demo clip"):
        write_corpus(tmp_path, processes=1, clips=CLIPS)
    assert path.read_bytes() == b"somebody's own recording"


def test_processes_and_order_do_not_change_the_bytes(root, tmp_path):
    write_corpus(tmp_path, processes=2, clips=CLIPS[::-1])
    for clip in CLIPS:
        assert clip_path(tmp_path, clip).read_bytes() == clip_path(root, clip).read_bytes()


def test_a_changed_plan_rewrites_the_clip(root, tmp_path):
    clip = CLIPS[0]
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_path(root, clip).read_bytes())
    assert corpus._current(path, clip)
    assert not corpus._current(path, replace(clip, seed=clip.seed + 1))
