from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lipsync_core import audio
from lipsync_core.errors import ClipError
from tests.media import write_video, write_wav

GOLDEN = Path(__file__).parent / "golden" / "mel.npz"


def test_mel_equals_the_public_features():
    golden = np.load(GOLDEN)
    mel = audio.melspectrogram(golden["wav"])
    assert mel.dtype == np.float32
    assert mel.shape == golden["mel"].shape
    # Both ends included: zero padding instead of reflection fails here.
    np.testing.assert_allclose(mel, golden["mel"], atol=1e-3)


def test_mel_of_too_little_sound():
    with pytest.raises(ValueError, match="wanted"):
        audio.melspectrogram(np.zeros(400, np.float32))
    assert audio.melspectrogram(np.zeros(401, np.float32)).min() == -4


def test_mel_window_columns():
    mel = np.arange(80 * 3, dtype=np.float32)[:, None].repeat(80, 1)
    assert audio.mel_window(mel, 0).shape == (80, 16)
    # int(80 * 7 / 25) = 22
    assert audio.mel_window(mel, 7)[0].tolist() == list(range(22, 38))
    assert audio.mel_window(mel, 74)[0].tolist() == [*range(236, 240), *[239] * 12]
    assert audio.mel_window(mel, -1)[0, 0] == 0


def test_load_wav_is_16k_mono_float(tmp_path):
    time = np.arange(48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], 1), 48000)
    wav = audio.load_wav(tmp_path / "a.wav")
    assert wav.dtype == np.float32
    assert len(wav) == pytest.approx(16000, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wav)) / 16000)
    np.testing.assert_allclose(wav[200:-200], expected[200:-200], atol=0.01)


def test_extract_audio_of_a_video(tmp_path):
    video = write_video(tmp_path / "-a 'b'.mp4", seconds=1.2)
    seconds = audio.extract_audio(video, tmp_path / "out.wav")
    assert seconds == pytest.approx(1.2, abs=0.07)
    samples, rate = soundfile.read(tmp_path / "out.wav")
    assert (rate, samples.ndim, len(samples)) == (16000, 1, round(seconds * 16000))


def test_what_cannot_be_heard(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", sound=False)
    with pytest.raises(ClipError) as caught:
        audio.extract_audio(silent, tmp_path / "out.wav")
    assert caught.value.reason == "no_audio"
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ClipError) as caught:
        audio.load_wav(tmp_path / "text.mp4")
    assert caught.value.reason == "unreadable"
    with pytest.raises(ClipError, match="no such file"):
        audio.load_wav(tmp_path / "missing.wav")
    assert not (tmp_path / "out.wav").exists()


def test_wav_round_trip_is_exact(tmp_path):
    path = write_wav(tmp_path / "a.wav", 0.5)
    audio.extract_audio(path, tmp_path / "b.wav")
    assert np.array_equal(audio.load_wav(path), audio.load_wav(tmp_path / "b.wav"))
