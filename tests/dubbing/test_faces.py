"""Faces of a file to be dubbed: the search tells how far it is, and can be ended."""

from __future__ import annotations

import pytest

from lipsync_core.dubbing import dub as dubbing
from lipsync_core.dubbing.dub import dub
from lipsync_core.dubbing.faces import FaceSettings, find_faces
from tests.support.media import write_video


def test_the_search_tells_how_far_it_is_and_can_be_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(dubbing, "load_generator", lambda *_: None)
    video, told = write_video(tmp_path / "clip.mp4", 0.8), []
    settings = FaceSettings("centerface")
    found = find_faces(video, settings, on_progress=lambda *each: told.append(each))
    assert found.frames == 20 and told == [(number, 20) for number in range(1, 21)]

    def cancel(done, total):
        if done == 5:
            raise KeyboardInterrupt

    (tmp_path / "checkpoint.pth").touch()
    folders = {"outfile": tmp_path / "out.mp4", "faces_dir": tmp_path / "faces"}
    with pytest.raises(KeyboardInterrupt):
        dub(video, video, tmp_path / "checkpoint.pth", **folders, on_faces=cancel)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pth", "clip.mp4"]
