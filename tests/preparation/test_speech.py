"""What counts as speech: one voice does; noise, music and many voices at once do not."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmarks import sounds
from lipsync_core.demo.plan import Voice
from lipsync_core.demo.sentences import ENGLISH
from lipsync_core.demo.speech import say
from lipsync_core.media.audio import write_wav
from lipsync_core.preparation.babble import frame_statistics
from lipsync_core.preparation.speech import SpeechMeter, is_sampled

NAMES = ("en-us+f2", "en-gb-x-rp+f4", "en-us+m3", "en-us+m7", "en+m1", "en-us+Annie", "de", "es")


@functools.cache
def voices() -> list[np.ndarray]:
    return [say(text, Voice(name)).wav for name, text in zip(NAMES, ENGLISH, strict=False)]


@pytest.fixture(scope="module")
def meter() -> SpeechMeter:
    return SpeechMeter("off")


def measure(meter: SpeechMeter, folder, wave: np.ndarray, name: str = "clip") -> dict:
    path = folder / "sound.wav"
    write_wav(path, [(np.clip(wave, -1, 1) * 32767).astype("<i2")])
    return meter.measure(path, name)


def test_speech_is_measured(meter, tmp_path):
    wave = np.concatenate([voices()[0], np.zeros(48000, np.float32), voices()[0]])
    found = measure(meter, tmp_path, wave)
    seconds = len(wave) / sounds.RATE
    assert found["audio_kind"] == "speech"
    assert found["longest_pause"] == pytest.approx(3.6, abs=0.3)
    assert found["speech_seconds"] == pytest.approx(seconds - 4.2, abs=0.8)
    assert found["speech_ratio"] == pytest.approx(found["speech_seconds"] / seconds, abs=0.01)
    assert "overall_mos" not in found


@pytest.mark.parametrize("sound", [*sounds.TONES_AND_NOISE.values(), *sounds.MUSIC.values()])
def test_no_speech_in_tones_noise_and_music(meter, tmp_path, sound):
    found = measure(meter, tmp_path, sound(3.0, 2))
    assert found["speech_seconds"] == 0
    assert found["longest_pause"] == 3.0
    expected = "music" if sound is sounds.formant_melody else "no_speech"
    assert found["audio_kind"] == expected


def test_babble_is_no_speech_and_one_voice_over_it_is(meter, tmp_path):
    babble = sounds.babble(voices(), 5.0, 0, 8)
    found = measure(meter, tmp_path, babble)
    assert (found["audio_kind"], found["speech_seconds"]) == ("babble", 0)
    assert found["background_mos"] < 1.7
    over = sounds.mix(voices()[1][: 4 * sounds.RATE], babble, 8)
    assert measure(meter, tmp_path, over)["audio_kind"] == "speech"


def test_degraded_speech_is_speech(meter, tmp_path):
    for wave in (
        sounds.telephone(voices()[2]),
        sounds.mix(voices()[3], sounds.traffic(5.0), 5),
        sounds.mix(voices()[0], sounds.band(5.0), 5),
    ):
        assert measure(meter, tmp_path, wave)["audio_kind"] == "speech"


def test_dnsmos_rates_all_or_a_sample(tmp_path):
    found = measure(SpeechMeter("all"), tmp_path, voices()[0])
    assert 2 < found["overall_mos"] < 5
    noisy = sounds.mix(voices()[0], sounds.white_noise(4.0), 5)
    assert measure(SpeechMeter("all"), tmp_path, noisy)["background_mos"] < (
        found["background_mos"] - 1
    )
    names = [f"speaker/{number}" for number in range(1000)]
    assert sum(is_sampled(name, 3.0) for name in names) == pytest.approx(100, abs=30)
    assert all(is_sampled(name, 30.0) for name in names)


def test_empty_audio(meter, tmp_path):
    found = measure(meter, tmp_path, np.zeros(0, np.float32))
    assert (found["speech_ratio"], found["audio_kind"]) == (0, "no_speech")


def test_periodicity():
    time = np.arange(16000) / 16000
    tone, noise = np.sin(2 * np.pi * 200 * time), np.random.default_rng(0).normal(0, 1, 16000)
    assert np.median(frame_statistics(tone.astype(np.float32)).periodicity) > 0.98
    assert np.median(frame_statistics(noise.astype(np.float32)).periodicity) < 0.3
    assert frame_statistics(np.zeros(1000, np.float32)).periodicity.tolist() == [0, 0]
