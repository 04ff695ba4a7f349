"""Files of visits are removed: when the page is closed, at the end, and after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.serve.jobs import Job
from lipsync_core.serve.visits import Visits, server_folder


@pytest.fixture
def visits(tmp_path):
    return Visits(tmp_path)


def upload(visits: Visits, name: str = "clip.mp4") -> Path:
    path = visits.new_upload(name)
    path.write_bytes(b"content")
    return path


def test_a_closed_visit_leaves_nothing_and_cancels_its_job(visits, tmp_path):
    visits.arrive("anna")
    visit = visits.get("anna")
    visit.face, visit.sound, visit.job = upload(visits), upload(visits, "voice.wav"), Job()
    (visit.folder / "dubbed.mp4").touch()
    other = visits.get("bob").folder
    visits.close("anna")
    assert list(tmp_path.iterdir()) == [other]
    assert visit.job.cancelled and not visits.is_open(visit)


def test_a_page_that_is_gone_is_closed_after_a_grace(visits):
    for _ in range(2):
        visits.arrive("anna")
    visits.leave("anna")
    visits.sweep(grace=0)
    assert len(visits) == 1  # it still holds a stream open
    visits.leave("anna")
    visits.sweep(grace=60)
    assert len(visits) == 1  # it may come back
    visits.arrive("anna")
    visits.sweep(grace=0)
    assert len(visits) == 1
    visits.leave("anna")
    visits.sweep(grace=0)
    assert len(visits) == 0 and not list(visits.folder.iterdir())


def test_only_uploads_are_taken_and_only_once(visits, tmp_path):
    path = upload(visits)
    for wrong in ("/etc/passwd", tmp_path / "clip.mp4", str(path.parent)):
        with pytest.raises(LipsyncError, match="drop it again"):
            visits.take(wrong)
    assert visits.take(str(path)) == path
    with pytest.raises(LipsyncError):
        visits.take(path)


def test_the_same_file_of_two_visits_is_kept_twice(visits):
    first, second = visits.take(upload(visits)), visits.take(upload(visits))
    visits.remove(first)
    assert second.is_file()


def test_uploads_that_no_visit_takes_are_removed(visits):
    path = upload(visits)
    visits.sweep(unused=60)
    assert path.is_file()
    visits.sweep(unused=-1)
    assert not path.parent.exists()
    with pytest.raises(LipsyncError):
        visits.take(path)


def test_the_folder_is_private_and_removed(tmp_path):
    with server_folder(tmp_path / "all") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        (folder / "visit").mkdir()
        with server_folder(tmp_path / "all") as second:  # another server at the same time
            assert folder.is_dir() and second != folder
    assert os.listdir(tmp_path / "all") == ["lock"]


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from lipsync_core.serve.visits import server_folder\n"
        "with server_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'face.mp4').touch()\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        left = Path(server.stdout.readline().strip())
        with server_folder(tmp_path):
            assert (left / "face.mp4").is_file()  # it still runs
        server.send_signal(signal.SIGKILL)
    assert (left / "face.mp4").is_file()
    with server_folder(tmp_path):
        assert not left.exists()


def test_a_folder_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(LipsyncError, match="TMPDIR"), server_folder(tmp_path / "link"):
        pass
