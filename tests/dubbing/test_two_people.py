"""Two people who pass each other and come back in other shots: no voice changes its face."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lipsync_core.demo.photos import photo_path
from lipsync_core.dubbing.face_choice import FaceChooser, people
from lipsync_core.dubbing.faces import FaceSettings, find_faces
from lipsync_core.evaluation import active_speaker
from lipsync_core.faces.tracking import reidentification
from tests.preparation.test_people import who
from tests.support.media_people import FRAMES, write_people

pytestmark = pytest.mark.media


def test_no_voice_changes_its_face(tmp_path):
    video = write_people(tmp_path / "two.mp4")
    settings = FaceSettings("centerface")
    found = find_faces(video, settings, device="cpu")
    chooser = FaceChooser(video, found, settings)
    seen = set()
    for choice in ("nearest 62,92", "nearest 322,120"):
        path = chooser.face_path(choice)
        places = {frame: path.at(frame / 25) for frame in range(FRAMES)}
        there = np.array([frame for frame, place in places.items() if place])
        boxes = np.array([places[frame].box for frame in there], np.float32)
        # While one covers the other, only the one in front has a box.
        assert len(there) > 60
        (name,) = who(boxes, there)
        seen.add(name)
    assert seen == {"collins", "hopper"}


def test_people_of_several_shots_are_kept_for_the_next_audio(tmp_path, monkeypatch):
    video = write_people(tmp_path / "two.mp4")
    found = find_faces(video, FaceSettings("centerface"), device="cpu")
    kept = tmp_path / "cache" / "people.json"
    first = people(video, found, kept=kept)
    assert kept.is_file() and len(first) == 2
    nothing = replace(found, faces=found.faces[found.faces.frame < 70])

    def decoded(*_):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(reidentification, "merge_tracks", decoded)
        again = people(video, found, kept=kept)
        with pytest.raises(AssertionError):  # of other boxes
            people(video, nothing, kept=kept)
        for before, after in zip(first, again, strict=True):
            assert vars(before).keys() == vars(after).keys()
            for name, value in vars(before).items():
                np.testing.assert_array_equal(value, getattr(after, name))
        kept.write_text('{"tracks": ')
        with pytest.raises(AssertionError):  # damaged
            people(video, found, kept=kept)
    people(video, found, kept=kept)
    assert json.loads(kept.read_text())["people"]
    people(video, found, kept=video / "no" / "folder.json")  # is not kept


def test_the_person_in_a_picture(tmp_path):
    video = write_people(tmp_path / "two.mp4")
    settings = FaceSettings("centerface")
    chooser = FaceChooser(video, find_faces(video, settings, device="cpu"), settings, device="cpu")
    for name in ("collins", "hopper"):
        track = chooser.tracks(f"reference {photo_path(name)}")[0]
        assert who(track.boxes, track.frames) == {name}


@pytest.mark.parametrize("speaker", [0, 1])
def test_the_one_who_speaks(tmp_path, monkeypatch, speaker):
    video = write_people(tmp_path / "two.mp4")
    settings = FaceSettings("centerface", sync_model=__file__)
    chooser = FaceChooser(video, find_faces(video, settings, device="cpu"), settings, device="cpu")
    scores = [SimpleNamespace(confidence=0.1) for _ in chooser.people]
    scores[speaker].confidence = 0.9
    monkeypatch.setattr(active_speaker, "load_scorer", lambda *_: None)
    monkeypatch.setattr(active_speaker, "score_tracks", lambda *_: scores)
    assert chooser.tracks("speaking") == [chooser.people[speaker]]
