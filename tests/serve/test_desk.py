"""A visit from upload to result, with a stand-in for the engine."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.serve.desk import Desk
from lipsync_core.serve.jobs import Cancelled
from lipsync_core.serve.preview import Preview, write_picture
from lipsync_core.serve.settings import ServeSettings
from lipsync_core.serve.visits import Visits
from tests.support.media import write_video

BOXES = np.float32([[0.1, 0.2, 0.5, 0.8], [0.7, 0.1, 0.9, 0.3]])
PREVIEW = Preview(np.full((90, 160, 3), 128, np.uint8), BOXES)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("desk") / "clip.mp4", 0.6)


class Engine:
    """Stands in for `dubbing.dub.dub`."""

    def __init__(self):
        self.calls, self.begun, self.go = [], threading.Event(), threading.Event()

    def __call__(self, face, sound, checkpoint, outfile, *, on_progress, on_faces, **options):
        self.calls.append((Path(face), Path(sound), options))
        self.begun.set()
        assert self.go.wait(10)
        outfile.parent.mkdir(exist_ok=True)
        (outfile.parent / "left").touch()
        on_progress(1, 1)
        return SimpleNamespace(outfile=outfile, frames=1, seconds=0.04)


@pytest.fixture
def desk(tmp_path):
    engine = Engine()
    desk = Desk(ServeSettings(Path("x.pth")), Visits(tmp_path), lambda _: PREVIEW, engine)
    desk.engine = engine
    yield desk
    engine.go.set()
    desk.queue.close()


def upload(desk: Desk, source: Path) -> str:
    path = desk.visits.new_upload(source.name)
    shutil.copy(source, path)
    return str(path)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def wait(job) -> BaseException | None:
    job._future.exception(timeout=10) if not job.cancelled else None
    while not job.finished:
        pass
    return job.error


def test_a_dubbing_gets_face_sound_and_options(desk, video):
    desk.take_face("anna", upload(desk, video))
    desk.take_sound("anna", upload(desk, video))
    visit = desk.visits.get("anna")
    desk.engine.go.set()
    job = desk.start("anna", {"blend": "hard", "face_select": PREVIEW.face_select(1)})
    assert wait(job) is None and job.value.outfile == visit.folder / "dubbed.mp4"
    [(face, sound, options)] = desk.engine.calls
    assert (face, sound) == (visit.face, visit.sound) and face.parent != sound.parent
    assert options["blend"] == "hard" and options["face_select"] == "nearest 0.8000,0.2000"
    assert options["faces_dir"].is_relative_to(visit.folder)  # not kept after the visit


def test_a_label_of_the_server_replaces_the_visitors(desk, video, tmp_path):
    settings = ServeSettings(Path("x.pth"), label="AI-generated")
    labelled = Desk(settings, desk.visits, lambda _: PREVIEW, desk.engine)
    labelled.take_face("anna", upload(desk, video))
    labelled.take_sound("anna", upload(desk, video))
    desk.engine.go.set()
    wait(labelled.start("anna", {"label": ""}))
    labelled.queue.close()
    assert desk.engine.calls[0][2]["label"] == "AI-generated"


def test_what_is_missing_is_named(desk, video):
    with pytest.raises(LipsyncError, match="no face and no sound yet"):
        desk.start("anna", {})
    desk.take_face("anna", upload(desk, video))
    with pytest.raises(LipsyncError, match="no sound yet"):
        desk.start("anna", {})


def test_one_dubbing_a_visit(desk, video):
    desk.take_face("anna", upload(desk, video))
    desk.take_sound("anna", upload(desk, video))
    desk.start("anna", {})
    with pytest.raises(LipsyncError, match="stop it first"):
        desk.start("anna", {})


def test_a_refused_or_replaced_upload_is_removed(desk, video, tmp_path):
    (tmp_path.parent / "text.mp4").write_text("no video " * 99)
    with pytest.raises(LipsyncError):
        desk.take_face("anna", upload(desk, tmp_path.parent / "text.mp4"))
    assert files(tmp_path) == [] and desk.visits.get("anna").face is None
    desk.take_face("anna", upload(desk, video))
    desk.take_face("anna", upload(desk, video))
    assert files(tmp_path) == ["clip.mp4"]
    desk.drop_face("anna")
    assert files(tmp_path) == []


def test_a_visit_that_ends_during_its_dubbing_leaves_nothing(desk, video, tmp_path):
    desk.take_face("anna", upload(desk, video))
    desk.take_sound("anna", upload(desk, video))
    job = desk.start("anna", {})
    assert desk.engine.begun.wait(10)
    desk.visits.close("anna")
    desk.engine.go.set()
    assert isinstance(wait(job), Cancelled) and not list(tmp_path.iterdir())


def test_another_face_stops_the_dubbing(desk, video):
    desk.take_face("anna", upload(desk, video))
    desk.take_sound("anna", upload(desk, video))
    job = desk.start("anna", {})
    assert desk.engine.begun.wait(10)
    desk.take_face("anna", upload(desk, video))
    desk.engine.go.set()
    assert isinstance(wait(job), Cancelled)


def test_a_click_chooses_the_nearest_face():
    assert PREVIEW.nearest(0.3, 0.5) == 0 and PREVIEW.nearest(0.99, 0.01) == 1
    assert PREVIEW.nearest(0.62, 0.2) == 1 and PREVIEW.nearest(0.58, 0.2) == 0
    assert Preview(PREVIEW.picture, np.zeros((0, 4), np.float32)).nearest(0.5, 0.5) is None


def test_the_chosen_face_is_drawn_otherwise(tmp_path):
    plain, chosen = PREVIEW.drawn(None), PREVIEW.drawn(1)
    edge = chosen[9, 120:140]  # the upper side of the second box
    assert np.abs(edge.astype(int) - (0, 220, 255)).max() <= 1
    assert (chosen[30:70, 40] == plain[30:70, 40]).all()
    write_picture(chosen, tmp_path / "preview.jpg")
    assert cv2.imread(str(tmp_path / "preview.jpg")).shape == (90, 160, 3)
    assert (PREVIEW.picture == 128).all()
