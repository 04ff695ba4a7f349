"""Rest of the mouth in pauses."""

import numpy as np

from lipsync_core.dubbing import rest

SILENT = np.array([[0, 0.5], [1.0, 1.4], [2.0, 3.0]])  # of 3 s: speech from 0.5 to 1 and 1.4 to 2


def weights(times):
    return np.array([rest.speech_weight(SILENT, time, 3.0) for time in times])


def test_the_mouth_speaks_in_speech_and_rests_in_pauses():
    assert (weights([0.5, 0.7, 0.99, 1.4, 1.9]) == 1).all()
    assert (weights([0, 0.25, 2.3, 2.9]) == 0).all()


def test_it_eases():
    steps = np.abs(np.diff(weights(np.arange(0, 3, 0.04))))
    assert 0.15 < steps.max() < 0.3  # a step a frame, of 1 in all
    assert abs(weights([1.05]) - weights([1.35])) < 1e-9


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
