from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_core.evaluation import active_speaker
from lipsync_core.evaluation.av_offset import summarize
from lipsync_core.faces.crops import CropSpec
from lipsync_core.faces.track import Track
from tests.support.media_people import crops_from

FRAMES = 60
SIDE = 96


def brightness(seed: int) -> np.ndarray:
    """A level for each frame, float (60,) in [0, 1], that changes every few frames."""
    return np.random.default_rng(seed).random(FRAMES // 3).repeat(3)


def sound(level: np.ndarray) -> np.ndarray:
    """Noise as loud as the level, int16, 640 samples a frame."""
    noise = np.random.default_rng(9).normal(0, 1, 640 * len(level))
    return (noise * level.repeat(640) * 6000).astype(np.int16)


class Loudness:
    """A SyncNet whose embeddings are the brightness of a face and the loudness of audio."""

    image_size = SIDE

    def parameters(self):
        return iter([torch.zeros(1)])

    def encode_faces(self, faces: torch.Tensor) -> torch.Tensor:
        assert faces.shape[1:] == (15, SIDE // 2, SIDE)
        return self._embed(faces.mean(dim=(1, 2, 3)))

    def encode_audio(self, mel: torch.Tensor) -> torch.Tensor:
        assert mel.shape[1:] == (1, 80, 16)
        return self._embed(10 ** ((mel.mean(dim=(1, 2, 3)) - 1) / 1.6))

    def _embed(self, level: torch.Tensor) -> torch.Tensor:
        angle = level.clip(0, 1) * np.pi / 2
        return torch.stack((angle.cos(), angle.sin()), dim=1)


@pytest.fixture
def scorer() -> active_speaker.SyncNetScorer:
    scorer = object.__new__(active_speaker.SyncNetScorer)
    scorer.model, scorer.side = Loudness(), SIDE
    return scorer


@pytest.fixture
def video(tmp_path, monkeypatch) -> tuple[Path, np.ndarray, list[Track]]:
    """Three gray faces side by side; the second follows the audio."""
    levels = [brightness(seed) for seed in (1, 2, 3)]
    frames = np.zeros((FRAMES, 120, 300, 3), np.uint8)
    for number, level in enumerate(levels):
        shade = (255 * level).astype(np.uint8)[:, None, None, None]
        frames[:, 10:110, 100 * number + 10 : 100 * number + 90] = shade
    monkeypatch.setattr(active_speaker, "iter_crops", crops_from(frames))
    boxes = np.float32([[15, 20, 85, 100]]).repeat(FRAMES, axis=0)
    tracks = [
        Track(np.arange(FRAMES, dtype=np.int32), boxes + np.float32([100 * n, 0, 100 * n, 0]))
        for n in range(3)
    ]
    return tmp_path / "a.mp4", sound(levels[1]), tracks


def score(scorer, frames, pcm, start):
    return summarize(scorer.distances(frames, pcm, start))


def test_the_face_that_matches_the_audio_is_selected(video, scorer):
    path, pcm, tracks = video
    scores = active_speaker.score_tracks(path, pcm, tracks, scorer, CropSpec())
    assert active_speaker.select_speaker(scores)[0] == 1
    best, confidence = active_speaker.select_speaker(scores[::-1][:2])
    assert (best, confidence > 0) == (1, True)


def test_confidence_falls_with_the_fit(scorer):
    level = brightness(2)
    frames = np.uint8(255 * level)[:, None, None, None] * np.ones((1, SIDE, SIDE, 3), np.uint8)
    whole = score(scorer, frames, sound(level), 0).confidence
    assert whole > 2 * score(scorer, frames, sound(brightness(5)), 0).confidence
    # A sample from the middle uses its own part of the audio.
    assert score(scorer, frames[21:], sound(level), 21).confidence == pytest.approx(whole, rel=0.35)


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_the_offset_of_audio_and_video(scorer, late):
    level = brightness(2)
    frames = np.uint8(255 * level)[:, None, None, None] * np.ones((1, SIDE, SIDE, 3), np.uint8)
    heard = sound(np.roll(level, -late))  # the picture comes `late` frames after its sound
    assert score(scorer, frames, heard, 0).offset == late


def test_sync_of_one_face(video, scorer):
    path, pcm, tracks = video
    short = Track(tracks[1].frames[:9], tracks[1].boxes[:9])
    found, nothing = active_speaker.score_tracks(path, pcm, [tracks[1], short], scorer, CropSpec())
    assert found is not None and found.offset == 0 and found.confidence > 0
    assert nothing is None


def test_the_lse_scorer_gets_the_input_of_its_own_pipeline(monkeypatch):
    asked = types.SimpleNamespace()

    def lse_distances(model, frames, pcm):
        asked.frames, asked.pcm = frames, pcm
        return np.full((12, 31), 7, np.float32)

    monkeypatch.setattr(active_speaker, "lse_distances", lse_distances)
    scorer = object.__new__(active_speaker.LseScorer)
    scorer.model = None
    pcm = np.arange(32000, dtype=np.int16)
    frames = np.zeros((20, 224, 224, 3), np.uint8)
    assert (scorer.distances(frames, pcm, 5) == 7).all()
    np.testing.assert_array_equal(asked.pcm, pcm[3200:16000])
    track = Track(np.zeros(1, np.int32), np.float32([[100, 100, 180, 200]]))
    np.testing.assert_allclose(scorer.view(track).boxes, [[70, 100, 210, 240]])


def test_the_loudest_part_of_the_longest_run_is_scored():
    frames = np.array([*range(40), *range(60, 360)], np.int32)
    track = Track(frames, np.zeros((len(frames), 4), np.float32))
    level = np.full(400, 0.1)
    level[200:260] = 1
    chosen = active_speaker._sample(track, sound(level)).frames
    assert len(chosen) == active_speaker.MAX_FRAMES
    assert set(range(200, 260)) <= set(chosen.tolist())
    # Without audio, nothing can be scored.
    assert active_speaker._sample(track, sound(level[:100])).frames.tolist() == list(range(60, 100))
    assert len(active_speaker._sample(track, sound(level[:50]))) == 0


def test_scored_frames_are_in_one_shot():
    track = Track(np.arange(300, dtype=np.int32), np.zeros((300, 4), np.float32), cuts=(100, 180))
    level = np.full(300, 0.1)
    level[90:110] = 1  # loudest across a cut
    assert active_speaker._sample(track, sound(level)).frames.tolist() == list(range(180, 300))


@pytest.mark.parametrize(("shown", "heard"), [((0, 30), (0, 30)), ((30, 60), (30, 60))])
def test_no_shift_of_the_audio_reaches_into_another_shot(video, scorer, monkeypatch, shown, heard):
    path, pcm, (track, *_) = video
    seen = slice(*shown)
    own = Track(track.frames[seen], track.boxes[seen], cuts=(30,))
    given = []

    def distances(frames, pcm, start):
        given.append(pcm)
        return np.ones((20, 31), np.float32)

    monkeypatch.setattr(scorer, "distances", distances, raising=False)
    active_speaker.score_tracks(path, pcm, [own], scorer, CropSpec())
    samples = pcm
    audible = np.zeros(len(samples), bool)
    audible[heard[0] * 640 : heard[1] * 640] = True
    (pcm,) = given
    np.testing.assert_array_equal(pcm, np.where(audible, samples, 0))


def test_faces_too_short_to_score_lose(video, scorer):
    path, pcm, tracks = video
    short = [Track(track.frames[:10], track.boxes[:10]) for track in tracks]
    scores = active_speaker.score_tracks(path, pcm, [short[1], tracks[0]], scorer, CropSpec())
    assert active_speaker.select_speaker(scores)[0] == 1
    scores = active_speaker.score_tracks(path, pcm, short, scorer, CropSpec())
    assert active_speaker.select_speaker(scores) == (0, 0.0)


def test_crops_have_the_input_size_of_the_scorer(video, scorer, monkeypatch):
    shapes = set()

    def distances(frames, *_):
        shapes.add(frames.shape)
        return np.ones((20, 31), np.float32)

    monkeypatch.setattr(scorer, "distances", distances, raising=False)
    active_speaker.score_tracks(*video, scorer, CropSpec("square"))
    assert shapes == {(FRAMES, SIDE, SIDE, 3)}
