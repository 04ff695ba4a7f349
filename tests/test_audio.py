from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lipsync_core import audio
from lipsync_core.errors import ClipError
from lipsync_core.media import audio as media_audio
from lipsync_core.media import audio_alignment
from lipsync_core.media.ffmpeg import ffmpeg_exe
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media

GOLDEN = Path(__file__).parent / "golden" / "mel.npz"


def test_mel_equals_the_public_features():
    golden = np.load(GOLDEN)
    mel = audio.melspectrogram(golden["wav"])
    assert mel.dtype == np.float32
    assert mel.shape == golden["mel"].shape
    # Both ends included: zero padding instead of reflection fails here.
    np.testing.assert_allclose(mel, golden["mel"], atol=1e-3)


def test_mel_of_any_file_is_that_of_its_sound(tmp_path):
    path = write_video(tmp_path / "a.mp4", 1.3)
    mel, pcm = audio.file_features(path)
    wav = media_audio.load_wav(path)
    np.testing.assert_array_equal(media_audio.to_float(pcm), wav)
    np.testing.assert_array_equal(mel, audio.melspectrogram(wav).T)
    with pytest.raises(ClipError, match=r"too_short: .* too short; give"):
        audio.file_features(write_wav(tmp_path / "blip.wav", 0.03))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_an_unloaded_map_takes_no_memory(tmp_path):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    np.ones(10_000_000, np.float32).tofile(tmp_path / "mel")
    mapped = np.memmap(tmp_path / "mel", "<f4", "r", shape=(125_000, 80))
    total = mapped.sum()
    before = resident()
    audio.unload(mapped)
    assert before - resident() > 30e6
    assert mapped.sum() == total
    audio.unload(np.zeros(3))  # not a map: nothing happens


def test_mel_of_too_little_sound():
    with pytest.raises(ValueError, match="wanted"):
        audio.melspectrogram(np.zeros(400, np.float32))
    assert audio.melspectrogram(np.zeros(401, np.float32)).min() == -4


def test_blocks_give_the_whole_mel(tmp_path, monkeypatch):
    for length in (801, 8000, 16000, 16001, 20123):
        wav = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
        soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="PCM_16")
        wav = np.concatenate(list(media_audio.wav_blocks(tmp_path / "a.wav", 1000)))
        whole = audio.melspectrogram(wav)
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", 8000)
        np.testing.assert_allclose(audio.melspectrogram(wav), whole, atol=1e-3)
        assert audio.write_mel(tmp_path / "a.wav", tmp_path / "a.npy") == whole.shape[1]
        stored = np.load(tmp_path / "a.npy")
        assert (stored.dtype, stored.flags.c_contiguous) == (np.float32, True)
        np.testing.assert_allclose(stored, whole.T, atol=1e-3)
        monkeypatch.undo()


def test_mel_of_an_unusable_wav(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16000, subtype="PCM_16")
    with pytest.raises(ClipError) as caught:
        audio.write_mel(tmp_path / "a.wav", tmp_path / "a.npy")
    assert caught.value.reason == "too_short"
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ClipError) as caught:
        audio.write_mel(tmp_path / "a.wav", tmp_path / "a.npy")
    assert caught.value.reason == "unreadable"
    assert not (tmp_path / "a.npy").exists()


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
    wav = media_audio.load_wav(tmp_path / "a.wav")
    assert wav.dtype == np.float32
    assert len(wav) == pytest.approx(16000, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wav)) / 16000)
    np.testing.assert_allclose(wav[200:-200], expected[200:-200], atol=0.01)


def test_extract_audio_of_a_video(tmp_path):
    video = write_video(tmp_path / "-a 'b'.mp4", seconds=1.2)
    seconds = media_audio.extract_audio(video, tmp_path / "out.wav")
    assert seconds == pytest.approx(1.2, abs=0.07)
    samples, rate = soundfile.read(tmp_path / "out.wav")
    assert (rate, samples.ndim, len(samples)) == (16000, 1, round(seconds * 16000))


def test_what_cannot_be_heard(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", sound=False)
    with pytest.raises(ClipError) as caught:
        media_audio.extract_audio(silent, tmp_path / "out.wav")
    assert caught.value.reason == "no_audio"
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ClipError) as caught:
        media_audio.load_wav(tmp_path / "text.mp4")
    assert caught.value.reason == "unreadable"
    with pytest.raises(ClipError, match="no such file"):
        media_audio.load_wav(tmp_path / "missing.wav")
    assert not (tmp_path / "out.wav").exists()


def test_wav_round_trip_is_exact(tmp_path):
    path = write_wav(tmp_path / "a.wav", 0.5)
    media_audio.extract_audio(path, tmp_path / "b.wav")
    assert np.array_equal(media_audio.load_wav(path), media_audio.load_wav(tmp_path / "b.wav"))


def ffmpeg(*arguments) -> None:
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def picture_and_tone(path: Path, seconds: float, start: float, *options: str) -> Path:
    """A test picture from 0 s, and a tone from `start` to `seconds`."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=64x64:r=25:d={seconds}"]
    tone = ["-itsoffset", start, "-f", "lavfi", "-i", f"sine=f=440:d={seconds - start}"]
    ffmpeg(*picture, *tone, *options, path)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mpg", ".mkv"])
def test_late_sound_is_late_in_every_container(tmp_path, suffix):
    path = picture_and_tone(tmp_path / f"a{suffix}", 2, 0.5)
    wav = media_audio.load_wav(path)
    begins = np.flatnonzero(np.abs(wav) > 0.02)[0] / 16000
    assert begins == pytest.approx(0.5, abs=0.04)  # lossy sound, and a clock that may begin early
    assert len(wav) / 16000 == pytest.approx(2, abs=0.06)


def test_sound_that_changes_its_layout_keeps_time(tmp_path):
    one = picture_and_tone(tmp_path / "1.ts", 1, 0, "-c:a", "mp2", "-ar", "44100")
    options = ("-output_ts_offset", "1", "-c:a", "mp2", "-ar", "48000", "-ac", "2")
    two = picture_and_tone(tmp_path / "2.ts", 1, 0, *options)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    assert len(media_audio.load_wav(both)) / 16000 == pytest.approx(2, abs=0.05)


def test_sound_of_a_day_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_alignment, "MAX_SECONDS", 0.1)
    with pytest.raises(ClipError) as caught:
        media_audio.load_wav(write_wav(tmp_path / "a.wav", 0.5))
    assert caught.value.reason == "too_long"


def test_audio_with_jumping_time_stamps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_alignment, "MAX_SILENCE_SECONDS", 0.3)
    with pytest.raises(ClipError, match="without audio") as caught:
        media_audio.load_wav(picture_and_tone(tmp_path / "a.mp4", 1, 0.5))
    assert caught.value.reason == "unreadable"


def test_waves_are_read_by_the_name_that_scripts_know():
    assert audio.load_wav is media_audio.load_wav
