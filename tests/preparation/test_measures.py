from __future__ import annotations

import zipfile

import cv2
import numpy as np
import pytest

from lipsync_core.audio import melspectrogram
from lipsync_core.faces import head_pose
from lipsync_core.preparation import measures
from lipsync_core.preparation.audio_fingerprint import audio_fingerprint
from tests.support.media import portrait
from tests.support.media_takes import speech


def sound(wav: np.ndarray, block: int = 16000) -> dict:
    blocks = [wav[start : start + block] for start in range(0, len(wav), block)]
    return measures.audio_measures(blocks, melspectrogram(wav).T)


def test_loudness_of_known_waves():
    full = np.sin(np.arange(16000) * 2 * np.pi * 100 / 16000).astype(np.float32)
    assert sound(full)["loudness"] == pytest.approx(-3.01, abs=0.02)
    assert sound(full / 10)["loudness"] == pytest.approx(-23.01, abs=0.02)
    assert sound(np.zeros(1000, np.float32))["loudness"] == -120


def test_silence_and_clipping():
    wav = np.zeros(16000, np.float32)
    assert sound(wav)["silence_ratio"] == 1
    wav[:4000] = 0.5
    assert sound(wav)["silence_ratio"] == 0.75
    wav[:1600] = 1
    assert sound(wav)["clipping_ratio"] == 0.1


def test_blocks_do_not_change_the_measures():
    wav = np.random.default_rng(0).uniform(-1, 1, 9999).astype(np.float32)
    wav[3000:7000] = 0
    assert sound(wav, 777) == sound(wav, 10_000)


def test_audio_fingerprints():
    wav = speech(1)
    same = sound(wav.copy())
    assert sound(wav) == same
    softer = sound(wav / 2)
    assert softer["audio_sha1"] != same["audio_sha1"]
    assert softer["audio_fingerprint"] == audio_fingerprint(melspectrogram(wav / 2).T) != ""


def crops(path, picture, count=20):
    with zipfile.ZipFile(path, "w") as archive:
        for frame in range(count):
            archive.writestr(f"{frame}.jpg", cv2.imencode(".jpg", picture)[1].tobytes())
    return measures.crop_measures(path)


def test_crop_measures(tmp_path):
    picture = portrait()
    sharp = crops(tmp_path / "a.zip", picture)
    soft = crops(tmp_path / "b.zip", cv2.GaussianBlur(picture, (0, 0), 6))
    assert soft["sharpness"] < sharp["sharpness"] / 10
    dark = crops(tmp_path / "c.zip", picture // 16)
    assert dark["brightness"] == pytest.approx(sharp["brightness"] / 16, abs=1)
    few = crops(tmp_path / "d.zip", picture, count=3)
    assert few == sharp


def test_head_speed():
    frames = np.arange(50)
    boxes = np.zeros((50, 4), np.float32)
    boxes[:, 0] = 4 * frames  # 4 pixels a frame, 100 a second, one width
    boxes[:, 2], boxes[:, 3] = boxes[:, 0] + 100, 80
    assert measures.head_speed(frames, boxes) == pytest.approx(1, abs=1e-3)
    assert measures.head_speed(frames * 2, boxes) == 0
    assert measures.head_speed(frames[:1], boxes[:1]) == 0
    boxes[25:] += 300  # a jump cut
    assert measures.head_speed(frames[20:32], boxes[20:32]) > 5
    assert measures.head_speed(frames[20:32], boxes[20:32], (25,)) == pytest.approx(1, abs=1e-3)


def test_size_change():
    boxes = np.zeros((100, 4), np.float32)
    boxes[:, 2:] = (60, 80)
    assert measures.size_change(boxes) == 0
    boxes[:, 3] = np.linspace(80, 120, 100)
    assert measures.size_change(boxes) == pytest.approx(0.9 * 40 / 100, abs=0.01)
    assert measures.size_change(boxes[:1]) == 0


def test_pose_measures():
    turned = [head_pose.MEAN_FACE @ head_pose.rotation(yaw, -10).T for yaw in range(-40, 41)]
    landmarks = 50 * np.stack(turned)[..., :2].reshape(-1, 10)
    found = measures.pose_measures(landmarks.astype(np.float32))
    assert found["yaw_median"] == pytest.approx(20, abs=1)
    assert found["yaw_p95"] == pytest.approx(38, abs=1)
    assert 5 < found["pitch_median"] <= found["pitch_p95"]
    assert found["roll_p95"] < 1
    assert measures.pose_measures(None) == {}
