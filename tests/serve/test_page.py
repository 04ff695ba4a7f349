"""The real page, asked as a browser asks it, with a stand-in for the engine.

Gradio takes some seconds to import; `benchmarks/serve_browser.py` tries the page in a browser.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs the extra serve")
from starlette.testclient import TestClient

from lipsync_core.errors import LipsyncError
from lipsync_core.serve import server
from lipsync_core.serve.desk import Desk
from lipsync_core.serve.preview import Preview
from lipsync_core.serve.settings import ServeSettings
from lipsync_core.serve.uploads import Limits
from lipsync_core.serve.visits import Visits
from tests.support.media import write_video

BOXES = np.float32([[0.1, 0.2, 0.5, 0.8], [0.7, 0.1, 0.9, 0.3]])
SESSION = "anna1234"


@pytest.fixture(scope="module")
def engine():
    """Stands in for `dubbing.dub.dub`; `error` is raised, `options` are the last ones."""

    def dub(face, sound, checkpoint, outfile, *, on_progress, on_faces, **options):
        dub.options = options
        if dub.error is not None:
            raise dub.error
        on_progress(15, 15)
        shutil.copy(face, outfile)
        return SimpleNamespace(outfile=outfile, frames=15, seconds=0.6)

    dub.error = None
    return dub


@pytest.fixture(scope="module")
def client(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    settings = ServeSettings(Path("x.pth"), limits=Limits(bytes=1 << 20))
    preview = Preview(np.full((90, 160, 3), 128, np.uint8), BOXES)
    desk = Desk(settings, Visits(folder), lambda _: preview, engine)
    app = server.build_app(desk, local=True)
    with TestClient(app, base_url="http://localhost:7860") as client:
        desk.visits.arrive(SESSION)
        client.desk = desk
        yield client
    desk.queue.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", 0.6)


def send(client, name: str, data: list, event: str = "") -> list:
    """Outputs of the last message about one event of the page."""
    config = client.get("/config").json()
    [number] = [each["id"] for each in config["dependencies"] if each["api_name"].startswith(name)]
    body = {"fn_index": number, "data": data, "session_hash": SESSION, "event_data": event or None}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    told = client.get(f"/gradio_api/queue/data?session_hash={SESSION}").text
    events = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    [done] = [each for each in events if each["msg"] == "process_completed"]
    assert done["success"], done
    return json.dumps(events)


def upload(client, path: Path) -> dict:
    answer = client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


OPTIONS = ["soft", "loop", "rest", "source", 18, ""]


def test_nothing_is_loaded_from_elsewhere(client):
    text = client.get("/").text + client.get("/theme.css").text
    loaded = re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+|url\(["']?https?:[^)]+""", text)
    assert loaded == []
    config = client.get("/config").json()
    assert not [each for each in config["stylesheets"] if "//" in each]  # fonts
    assert config["connect_heartbeat"]  # by it the end of a visit is seen
    assert not config["analytics_enabled"] and not config["api_prefix"].startswith("http")


def test_a_dubbing_from_upload_to_download(client, engine, video):
    told = send(client, "_take_face", [upload(client, video)])
    assert "Click on the face" in told and "face 2" in told
    assert "The sound is here" in send(client, "_take_sound", [upload(client, video)])
    told = send(client, "_click", [], {"index": [128, 18], "value": None})
    assert "preview2.jpg" in told
    told = send(client, "_dub", [1, "hard", *OPTIONS[1:]])
    address = re.search(r"gradio_api/file=[^\"?\\]+dubbed.mp4", told)[0]
    assert engine.options["face_select"] == "nearest 0.8000,0.2000"
    assert engine.options["blend"] == "hard" and engine.options["length"] == "loop"
    answer = client.get(f"/{address}")
    assert answer.content == video.read_bytes() and answer.headers["content-type"] == "video/mp4"
    part = client.get(f"/{address}", headers={"range": "bytes=0-9"})
    assert part.status_code == 206 and len(part.content) == 10  # players seek


def test_errors_are_told_in_a_line(client, engine, video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video " * 99)
    told = send(client, "_take_face", [upload(client, tmp_path / "text.mp4")])
    assert "text.mp4: not a media file" in told and "Traceback" not in told
    told = send(client, "_take_sound", [upload(client, tmp_path / "text.mp4")])
    assert "text.mp4: not a media file" in told and "Traceback" not in told
    for error, line in (
        (LipsyncError("clip.mp4: no face; choose another"), "clip.mp4: no face; choose another"),
        (ZeroDivisionError("secret"), "the server&#x27;s log tells why"),
    ):
        engine.error = error
        send(client, "_take_face", [upload(client, video)])
        send(client, "_take_sound", [upload(client, video)])
        told = send(client, "_dub", [-1, *OPTIONS])
        assert line in told and "secret" not in told
    engine.error = None


def test_values_that_the_page_does_not_offer_are_refused(client):
    with pytest.raises(AssertionError, match="success"):
        send(client, "_dub", [-1, "evil", *OPTIONS[1:]])


def test_a_taken_port_is_an_error_and_loopback_is_known():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with (
            pytest.raises(LipsyncError, match="choose another --port"),
            server._listening("127.0.0.1", number),
        ):
            pass
    with server._listening("localhost", 0) as listener:
        assert server._is_loopback(listener.getsockname()[0])
    assert not server._is_loopback("0.0.0.0") and not server._is_loopback("192.168.1.5")
