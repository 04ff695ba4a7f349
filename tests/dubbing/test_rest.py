"""Rest of the mouth in pauses."""

import numpy as np

from lipsync_core.dubbing import rest

SILENT = np.array([[0, 0.5], [1.0, 1.4], [2.0, 3.0]])  # of 3 s: speech from 0.5 to 1 and 1.4 to 2


def weights(times):
    return np.array([rest.speech_weight(SILENT, time, 3.0) for time in times])


def test_the_mouth_speaks_in_speech_and_rests_in_pauses():
    assert (weights([0.5, 0.7, 0.99, 1.4, 1.9]) == 1).all()
    assert (weights([0, 0.25, 2.5, 2.9]) == 0).all()


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
    found = [rest.speech_weight(SILENT[:2], time, 2.0) for time in (1.96, 2.04, 2.2, 2.6, 9.0)]
    assert found[0] == 1 and 0.9 < found[1] < 1 and 0.3 < found[2] < 0.7 and found[3:] == [0, 0]
    assert rest.speech_weight(np.zeros((0, 2)), 2.04, 2.0) > 0.9


def test_a_window_is_quieter_in_decibels():
    mel = np.full((80, 16), 2, np.float32)
    assert (rest.quieter(mel, 0) == -4).all() and (rest.quieter(mel, 1) == mel).all()
    assert (rest.quieter(mel, 0.25) == -1).all() and rest.quieter(mel, 0.25).dtype == np.float32


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


def seen(*faces, shots=None):
    """A reference that has seen faces 0.04 s apart, and what it gives while the mouth rests."""
    reference = rest.RestReference()
    for number, face in enumerate(faces):
        reference.see(face, number * 0.04, shots[number] if shots else 0)
    return reference, reference.reference(resting=True)


def test_the_reference_is_the_most_closed_mouth():
    reference, chosen = seen(mouth(30), mouth(150), mouth(80))
    assert (chosen == mouth(150)).all()
    assert (reference.reference(resting=False) == mouth(80)).all()  # in speech the frame's own


def test_it_stays_while_the_mouth_rests():
    reference, chosen = seen(mouth(30), mouth(135))
    reference.see(mouth(150), 0.08)  # hardly better
    assert (reference.reference(resting=True) == chosen).all()


def test_it_changes_little_by_little_where_another_is_much_better():
    reference, _ = seen(mouth(30))
    levels = []
    for frame in range(1, 50):
        reference.see(mouth(150), frame * 0.04)
        levels.append(int(reference.reference(resting=True)[74, 48, 0]))
    assert levels[0] < 45 and levels[-1] > 145 and max(np.diff(levels)) < 15


def test_a_pose_like_that_of_the_frame_is_preferred():
    turned = np.roll(mouth(140), 8, axis=1)
    turned[:40, :30] = 40
    frontal = mouth(130)
    frames = [turned] + [mouth(60)] * 8 + [frontal] + [mouth(60)] * 8
    assert (seen(*frames)[1] == frontal).all()


def test_a_mouth_of_another_shot_is_no_reference():
    assert (seen(mouth(150), mouth(30), shots=(0, 1))[1] == mouth(30)).all()


def test_few_faces_are_remembered():
    reference, _ = seen(*[mouth(150)], *[mouth(30)] * 400)
    assert (reference.reference(resting=True) == mouth(30)).sum() > 0.9 * mouth(30).size
    assert len(reference._seen) == rest.BLOCKS
