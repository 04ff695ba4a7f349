# ruff: noqa: RUF001 - the International Phonetic Alphabet looks like other letters
from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.demo import espeak, speech
from lipsync_core.demo.plan import Voice
from lipsync_core.demo.speech import Phoneme, Speech, say
from lipsync_core.demo.visemes import CHANNELS, mouth_tracks, shapes_of
from lipsync_core.errors import LipsyncError

VOICE = Voice("en-us+f2", 160, 50)
TEXT = "Bob may move the big map above five foggy pumpkins."
OPEN, WIDE, ROUND, CLOSE, BITE = (
    CHANNELS.index(x) for x in ("open", "wide", "round", "close", "bite")
)


@pytest.fixture(scope="module")
def spoken() -> Speech:
    return say(TEXT, VOICE)


def test_speech_is_heard_and_its_phonemes_fill_it(spoken):
    assert spoken.wav.dtype == np.float32 and 0.3 < np.abs(spoken.wav).max() <= 1
    assert 2.0 < spoken.seconds < 8.0
    assert spoken.phonemes[0].start == 0.0
    for before, after in zip(spoken.phonemes, spoken.phonemes[1:], strict=False):
        assert before.end == pytest.approx(after.start)
    assert spoken.phonemes[-1].end == pytest.approx(spoken.seconds, abs=0.01)
    assert {"b", "m", "v", "f", "p"} <= {phoneme.symbol for phoneme in spoken.phonemes}


def test_the_same_text_sounds_the_same_whatever_was_said_before(spoken):
    say("Ganz etwas anderes, und viel lauter!", Voice("de+m3", 120, 80))
    again = say(TEXT, VOICE)
    assert np.array_equal(again.wav, spoken.wav)
    assert again.phonemes == spoken.phonemes


def test_voices_differ(spoken):
    other = say(TEXT, Voice("en-us+m7", 160, 30))
    count = min(len(other.wav), len(spoken.wav))
    assert np.abs(other.wav[:count] - spoken.wav[:count]).mean() > 0.01


def test_a_cut_keeps_the_beginning(spoken):
    cut = say(TEXT, VOICE, seconds=1.5)
    assert cut.seconds == 1.5
    assert np.allclose(cut.wav, spoken.wav[: len(cut.wav)], atol=4e-3)


def test_an_unknown_voice_is_named_with_a_remedy():
    with pytest.raises(LipsyncError, match=r"no-such-voice.*reinstall"):
        say(TEXT, Voice("no-such-voice"))


def test_a_missing_wheel_is_named_with_a_remedy(monkeypatch, tmp_path):
    program = tmp_path / "espeak.py"
    program.write_text("raise SystemExit(3)")
    monkeypatch.setattr(speech, "__file__", str(tmp_path / "speech.py"))
    with pytest.raises(LipsyncError, match=r"exit code 3.*espeakng-loader"):
        say(TEXT, VOICE)


def test_the_utterance_program_returns_sound_with_phoneme_times():
    request = {"text": "Mamma mia.", "voice": "it", "rate": 150, "pitch": 50, "range": 50}
    rate, phonemes, pcm = espeak.speak(request)
    times = [time for time, _ in phonemes]
    assert rate > 8000 and times == sorted(times)
    assert times[-1] <= 1000 * len(pcm) / 2 / rate + 1
    assert sum(symbol == "m" for _, symbol in phonemes) >= 3


def test_lips_meet_in_a_frame_of_every_p_b_and_m(spoken):
    tracks = mouth_tracks(spoken)
    for phoneme in spoken.phonemes:
        if phoneme.symbol in ("p", "b", "m"):
            span = slice(int((phoneme.start - 0.06) * 25), int(phoneme.end * 25) + 2)
            assert tracks[span, OPEN].min() < 0.03, phoneme
            assert tracks[span, CLOSE].max() > 0.9, phoneme


def test_lip_touches_teeth_for_f_and_v(spoken):
    tracks = mouth_tracks(spoken)
    for phoneme in spoken.phonemes:
        if phoneme.symbol in ("f", "v"):
            span = slice(int((phoneme.start - 0.02) * 25), int(phoneme.end * 25) + 2)
            assert tracks[span, BITE].max() > 0.5, phoneme


def test_the_mouth_rests_in_silence_and_opens_in_speech(spoken):
    tracks = mouth_tracks(spoken)
    assert tracks[:3, OPEN].max() < 0.02 and tracks[-4:, OPEN].max() < 0.05
    assert tracks[:, OPEN].max() > 0.5
    assert len(tracks) == int(np.ceil(spoken.seconds * 25))


def _vowel(symbol: str, start: float = 1.0) -> np.ndarray:
    """The tracks of one vowel from `start` to `start` + 0.4 s in 2 s of otherwise silence."""
    wav = np.zeros(32000, np.float32)
    wav[int(start * 16000) : int((start + 0.4) * 16000)] = 0.5
    phonemes = (
        Phoneme("", 0.0, start),
        Phoneme(symbol, start, start + 0.4),
        Phoneme("", start + 0.4, 2.0),
    )
    return mouth_tracks(Speech(wav, phonemes))


def test_a_sound_shows_in_the_frames_of_its_time():
    for start in (0.4, 1.0):
        opening = _vowel("ɑː", start)[:, OPEN]
        above = np.flatnonzero(opening > opening.max() / 2)
        assert abs(above[0] - start * 25) <= 1
        assert abs(above[-1] - (start + 0.4) * 25) <= 1


def test_vowels_have_their_shapes():
    spread, rounded, wide_open = _vowel("iː")[30], _vowel("uː")[30], _vowel("ɑː")[30]
    assert spread[WIDE] > 0.6 and rounded[WIDE] < -0.6 and rounded[ROUND] > 0.7
    assert wide_open[OPEN] > 2 * max(spread[OPEN], rounded[OPEN])


def test_quiet_speech_moves_the_mouth_less(spoken):
    quiet = Speech(spoken.wav.copy(), spoken.phonemes)
    half = len(quiet.wav) // 2
    quiet.wav[:half] *= 0.1
    frames = half * 25 // 16000
    loud = mouth_tracks(spoken)[:frames, OPEN].sum()
    assert mouth_tracks(quiet)[:frames, OPEN].sum() < 0.93 * loud


def test_diphthongs_move_and_unknown_symbols_are_harmless():
    assert len(shapes_of("aʊ")) == 2 and len(shapes_of("oː")) == 1
    assert shapes_of("?!") == []
    assert np.isfinite(_vowel("?!")).all()
