from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

from lipsync_core.demo import plan as plans
from lipsync_core.demo.plan import plan, sample, signature


def test_default_corpus_has_twenty_speakers_of_three_clips_in_three_splits():
    clips = plan()
    assert len({clip.id for clip in clips}) == 60
    assert clips[0].id == "00001/00001" and clips[-1].id == "00020/00003"
    speakers = {clip.speaker.id: clip.split for clip in clips}
    counts = {name: list(speakers.values()).count(name) for name in ("train", "val", "test")}
    assert counts == {"train": 16, "val": 2, "test": 2}


def test_held_out_speakers_say_nothing_that_is_said_in_training():
    said = {split: set() for split in ("train", "val", "test")}
    for clip in plan():
        said[clip.split] |= set(re.split(r"(?<=[.?!]) ", clip.text))
    assert not said["train"] & (said["val"] | said["test"])
    assert sum(map(len, said.values())) > 110


def test_every_clip_says_something_of_its_own():
    for clips in (plan(), plan(20, 3), plan(12, 4)):
        assert len({clip.text for clip in clips}) == len(clips)
    assert sample()[2] not in {clip.text for clip in plan()}


def test_a_clip_does_not_depend_on_the_size_of_the_corpus():
    large = {clip.id: signature(clip) for clip in plan(20, 5)}
    for clip in plan(3, 1) + plan(12, 3):
        assert large[clip.id] == signature(clip)


def test_held_out_speakers_have_voices_and_lights_never_trained_on():
    train = [clip for clip in plan() if clip.split == "train"]
    held = [clip for clip in plan() if clip.split != "train"]
    variants = {clip.voice.name.partition("+")[2] for clip in train}
    for clip in held:
        assert clip.voice.name.partition("+")[2] not in variants
        assert clip.portrait.light not in {other.portrait.light for other in train}


def test_signature_follows_everything_that_is_seen_or_heard():
    clip = plan(1, 1)[0]
    changed = [
        replace(clip, text="Something else."),
        replace(clip, voice=replace(clip.voice, pitch=51)),
        replace(clip, seconds=3.0),
        replace(clip, speaker=replace(clip.speaker, portrait=replace(clip.portrait, warmth=0.123))),
    ]
    assert len({signature(clip), *map(signature, changed)}) == 5


def test_signature_follows_the_version(monkeypatch):
    clip = plan(1, 1)[0]
    before = signature(clip)
    monkeypatch.setattr(plans, "VERSION", plans.VERSION + 1)
    assert signature(clip) != before


def test_all_speakers_are_different():
    portraits = {clip.portrait for clip in plan(clips=1)}
    voices = {clip.voice for clip in plan(clips=1)}
    assert len(portraits) == len(voices) == plans.MAX_SPEAKERS == 20


def test_the_plan_is_light_enough_for_the_snakefile():
    code = (
        "import sys, lipsync_core.demo.plan as p; p.plan();"
        "heavy = {'numpy', 'cv2', 'torch', 'scipy', 'pandas'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
