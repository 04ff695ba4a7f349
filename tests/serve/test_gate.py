"""What the page's server answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import namedtuple

import pytest

pytest.importorskip("gradio", reason="needs the extra serve")
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from lipsync_core.serve import receiving
from lipsync_core.serve.gate import Gate
from lipsync_core.serve.receiving import Receiver
from lipsync_core.serve.uploads import Limits
from lipsync_core.serve.visits import Visits

UPLOAD, JOIN = "/gradio_api/upload", "/gradio_api/queue/join"


async def page(scope, receive, send):
    """Stands in for Gradio: answers with what reached it."""
    body = await Request(scope, receive).body()
    await JSONResponse({"path": scope["path"], "body": body.decode()})(scope, receive, send)


@pytest.fixture
def visits(tmp_path):
    return Visits(tmp_path / "server")


@pytest.fixture
def client(visits):
    visits.folder.mkdir()
    gate = Gate(page, visits, Receiver(visits, Limits(bytes=1 << 20)), {"localhost", "127.0.0.1"})
    return TestClient(gate, base_url="http://localhost:7860")


@pytest.mark.parametrize("path", ["/", "/config", "/assets/a.js", "/gradio_api/queue/data"])
def test_what_the_page_needs_is_open(path, client):
    answer = client.get(path)
    assert answer.status_code == 200 and answer.json()["path"] == path
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=https://example.org/"),
        ("GET", "/gradio_api/file=https://example.org/a.png"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/monitoring"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/component_server"),
        ("PUT", "/"),
    ],
)
def test_all_else_is_closed(method, path, client):
    assert client.request(method, path).status_code == 404


def test_only_files_of_the_server_folder_are_read(client, visits):
    good = f"/gradio_api/file={visits.folder}/a/preview.jpg"
    assert client.get(good).status_code == 200
    for bad in (
        f"{visits.folder}/../x",
        f"{visits.folder}/%2e%2e/x",
        f"{visits.folder}2/x",
        str(visits.folder.parent),
    ):
        assert client.get(f"/gradio_api/file={bad}").status_code == 404, bad


def test_other_names_and_other_sites_are_refused(client):
    assert client.get("/", headers={"host": "evil.example:7860"}).status_code == 421
    assert client.get("/", headers={"host": "127.0.0.1:7860"}).status_code == 200
    theirs = {"origin": "https://evil.example"}
    assert client.post(JOIN, json={}, headers=theirs).status_code == 403
    assert client.post(JOIN, json={}, headers={"origin": "null"}).status_code == 403
    ours = {"origin": "http://localhost:7860"}
    assert client.post(JOIN, json={}, headers=ours).status_code == 200


def test_an_upload_lies_in_a_folder_of_its_own(client, visits):
    paths = [
        client.post(UPLOAD, files={"files": ("my clip.mp4", b"content")}).json()[0] for _ in "ab"
    ]
    assert paths[0] != paths[1]
    for path in map(visits.take, paths):
        assert path.name == "my clip.mp4" and path.read_bytes() == b"content"
        assert path.parent.parent == visits.folder


def test_uploads_that_are_refused_leave_nothing(client, visits):
    def send(name: str, content: bytes, **headers: str):
        return client.post(UPLOAD, files={"files": (name, content)}, headers=headers)

    large = send("a.mp4", bytes((1 << 20) + (1 << 16)))
    assert large.status_code == 413 and "at most 1 MB" in large.text
    claimed = client.post(UPLOAD, content=b"", headers={"content-length": str(2 << 30)})
    assert claimed.status_code == 413
    assert client.post(UPLOAD, content=iter([b"no", b"size"])).status_code == 411
    for name in ("../x.mp4", "..\\x.mp4", "/etc/cron.d/x"):
        refused = send(name, b"content")
        assert refused.status_code == 400 and "rename it" in refused.text
    many = [("files", ("a.mp4", b"1")), ("files", ("b.mp4", b"2"))]
    assert client.post(UPLOAD, files=many).status_code == 400
    assert client.post(UPLOAD, data={"files": "no file"}).status_code == 400
    assert list(visits.folder.iterdir()) == []


def test_a_full_disk_is_told(client, monkeypatch):
    usage = namedtuple("usage", "total used free")(1 << 40, 1 << 40, 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert client.post(UPLOAD, files={"files": ("a.mp4", b"1")}).status_code == 507


def test_events_name_no_files_but_uploads(client, visits):
    def send(path):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        return client.post(JOIN, json={"data": [{"value": [file]}], "session_hash": "a"})

    good = send(f"{visits.folder}/a/clip.mp4")
    assert (
        good.status_code == 200
        and "clip.mp4" in json.loads(good.json()["body"])["data"][0]["value"][0]["path"]
    )
    for bad in ("/etc/passwd", "https://example.org/a.mp4", f"{visits.folder}/../a", 7, ""):
        assert send(bad).status_code == 400, bad
    assert client.post(JOIN, content=b"{" + b" " * (1 << 20)).status_code == 413
    assert client.post(JOIN, content=b"no json").status_code == 400
    assert client.post(JOIN, content=b"[" * 100_000).status_code == 400


def test_a_stream_of_the_page_is_its_visit(visits):
    seen = []

    async def stream(scope, receive, send):
        seen.append(visits.get("anna").connections)
        raise ConnectionResetError  # the browser goes away

    visits.folder.mkdir()
    gate = Gate(stream, visits, Receiver(visits, Limits()), None)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/gradio_api/heartbeat/anna",
        "headers": [],
    }
    with pytest.raises(ConnectionResetError):
        asyncio.run(gate(scope, None, None))
    assert seen == [1] and visits.get("anna").connections == 0


def test_the_progress_of_an_upload_is_told(client, visits, monkeypatch):
    monkeypatch.setattr(receiving, "WAIT_SECONDS", 0.1)
    answer = client.get("/gradio_api/upload_progress?upload_id=unknown")
    assert answer.text == 'data: {"msg": "done"}\n\n'
    receiver = Receiver(visits, Limits())

    async def tell() -> str:
        progress = receiver._running["a"] = receiving._Progress()
        body = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n1234'

        async def receive():
            return {"type": "http.request", "body": body}

        await receiving._counted(receive, progress)()
        events = receiver._events("a")
        first = await anext(events)
        del receiver._running["a"]
        assert json.loads((await anext(events))[6:]) == {"msg": "done"}
        return first

    told = json.loads(asyncio.run(tell())[6:])
    assert told["orig_name"] == "a.mp4" and told["chunk_size"] > 60
