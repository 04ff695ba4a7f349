"""Rest of the mouth in pauses."""

import numpy as np

from lipsync_core.dubbing import rest

SILENT = np.array([[0, 0.5], [1.0, 1.4], [2.0, 3.0]])  # of 3 s: speech from 0.5 to 1 and 1.4 to 2


def weights(times):
    return np.array([rest.speech_weight(SILENT, time, 3.0) for time in times])


def test_the_mouth_speaks_in_speech_and_rests_in_pauses():
    assert (weights([0.5, 0.7, 0.99, 1.4, 1.9]) == 1).all()
    assert (weights([0, 0.25, 2.4, 2.9]) == 0).all()


def test_it_eases():
    steps = np.abs(np.diff(weights(np.arange(0, 4, 0.04))))
    assert 0.15 < steps.max() < 0.3  # a step a frame, of 1 in all
    assert abs(weights([1.05]) - weights([1.35])) < 1e-9


def test_long_pauses_are_eased_for_longer():
    silent = np.array([[1.0, 1.4], [2.0, 4.0]])
    short, long = (rest.speech_weight(silent, start + 0.15, 9.0) for start in (1.0, 2.0))
    assert short < 0.2 and long > 0.6
    assert rest.speech_weight(silent, 1.2, 9.0) == 0  # it comes to rest all the same


def test_it_comes_to_rest_after_audio_that_ends_with_speech():
    found = [rest.speech_weight(SILENT[:2], time, 2.0) for time in (1.96, 2.04, 2.2, 2.4, 9.0)]
    assert found[0] == 1 and 0.9 < found[1] < 1 and 0.3 < found[2] < 0.7 and found[3:] == [0, 0]
    assert rest.speech_weight(np.zeros((0, 2)), 2.04, 2.0) > 0.9


def test_a_window_is_quieter_in_decibels():
    mel = np.full((80, 16), 2, np.float32)
    assert (rest.quieter(mel, 0) == -4).all() and (rest.quieter(mel, 1) == mel).all()
    assert (rest.quieter(mel, 0.5) == -1).all() and rest.quieter(mel, 0.5).dtype == np.float32


def test_pauses_are_what_is_not_speech(monkeypatch):
    class Speech:
        def segments(self, blocks):
            return np.array([[0.2, 1.0], [1.2, 2.0], [2.5, 9.0]])

    monkeypatch.setattr(rest, "SpeechDetector", Speech)
    assert rest.pauses([], 3.0).tolist() == [[2.0, 2.5]]


def mouth(level):
    face = np.full((96, 96, 3), 150, np.uint8)
    face[66:82, 40:56] = level
    return face


def test_the_most_closed_mouth_is_kept_while_it_rests():
    reference = rest.RestReference()
    reference.see(mouth(30))
    assert (reference.reference(resting=False) == mouth(30)).all()
    reference.see(mouth(130))
    assert (reference.reference(resting=True) == mouth(130)).all()
    reference.see(mouth(150))
    assert (reference.reference(resting=True) == mouth(130)).all()
    assert (reference.reference(resting=False) == mouth(150)).all()


def test_a_mouth_of_another_shot_is_no_reference():
    reference = rest.RestReference()
    reference.see(mouth(150), shot=0)
    assert (reference.reference(resting=True) == mouth(150)).all()
    reference.see(mouth(30), shot=1)
    assert (reference.reference(resting=True) == mouth(30)).all()
