import hashlib
import http.server
import re
import threading

import pytest

from lipsync_core import pretrained
from lipsync_core.checkpoints import load_weights
from lipsync_core.errors import LipsyncError
from lipsync_core.models import SyncNet
from lipsync_core.pretrained import KNOWN_WEIGHTS, Weights, fetch_weights

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def offer(monkeypatch):
    """Registers my.pth at the given addresses."""

    def register(*urls: str, sha256: str = SHA256) -> None:
        monkeypatch.setitem(KNOWN_WEIGHTS, "my.pth", Weights(sha256, urls))

    return register


@pytest.fixture
def served(tmp_path):
    """Address of a loopback server of CONTENT; /gone is 404, /cut breaks off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/gone" or self.headers["User-Agent"].startswith("Python"):
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100] if self.path == "/cut" else CONTENT)

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_registry_is_complete():
    assert set(KNOWN_WEIGHTS) == {
        "s3fd.pth",
        "wav2lip.pth",
        "wav2lip_gan.pth",
        "lipsync_expert.pth",
        "visual_quality_disc.pth",
        "syncnet_v2.model",
        "speaker_encoder.pt",
    }
    for known in KNOWN_WEIGHTS.values():
        assert re.fullmatch("[0-9a-f]{64}", known.sha256)
        assert known.urls and all(url.startswith("https://") for url in known.urls)
    # The one file whose publisher put the hash into its name.
    assert KNOWN_WEIGHTS["s3fd.pth"].sha256.startswith("619a316812")


def test_a_local_file_wins(tmp_path, offer):
    offer("http://127.0.0.1:9/never/my-0123.pth")
    (tmp_path / "my-0123.pth").write_text("as downloaded")
    assert fetch_weights("my.pth", tmp_path) == tmp_path / "my-0123.pth"
    (tmp_path / "my.pth").write_text("my own")
    assert fetch_weights("my.pth", tmp_path) == tmp_path / "my.pth"
    (tmp_path / "unknown.pth").touch()
    assert fetch_weights("unknown.pth", tmp_path) == tmp_path / "unknown.pth"


def test_download(tmp_path, offer, served):
    offer(f"{served}/my.pth")
    path = fetch_weights("my.pth", tmp_path / "models")
    assert path == tmp_path / "models" / "my.pth"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["my.pth"]


def test_the_next_address_is_tried(tmp_path, offer, served):
    offer(f"{served}/gone", f"{served}/cut", f"{served}/good")
    assert fetch_weights("my.pth", tmp_path).read_bytes() == CONTENT


def test_file_addresses(tmp_path, offer):
    (tmp_path / "mirror.pth").write_bytes(CONTENT)
    offer((tmp_path / "mirror.pth").as_uri())
    assert fetch_weights("my.pth", tmp_path / "models").read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(tmp_path, offer, served):
    offer(f"{served}/my.pth", sha256="0" * 64)
    with pytest.raises(LipsyncError, match=f"7000 bytes with SHA-256 {SHA256}, expected 0000"):
        fetch_weights("my.pth", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_says_where_to_put_the_file(tmp_path, offer, monkeypatch):
    offer("http://127.0.0.1:9/my.pth", "https://nowhere.invalid/my.pth")

    def offline(request, timeout):
        raise pretrained.urllib.request.URLError(f"no route to {request.host}")

    monkeypatch.setattr(pretrained.urllib.request, "urlopen", offline)
    with pytest.raises(LipsyncError) as caught:
        fetch_weights("my.pth", tmp_path)
    message = str(caught.value)
    assert "no route to 127.0.0.1" in message and "no route to nowhere.invalid" in message
    assert message.endswith(f"(SHA-256 {SHA256}) and put it at {tmp_path / 'my.pth'}")
    assert "\n" not in message


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(LipsyncError, match=r"no public weights of that name.*s3fd\.pth"):
        fetch_weights("other.pth", tmp_path)


def test_the_bundled_syncnet_is_whole_and_fits_its_width():
    path = pretrained.syncnet_start("demo")
    model = SyncNet(width=0.25)
    assert load_weights(model, path) == []
    assert all(weight.isfinite().all() for weight in model.state_dict().values())
    # 96 pixels and more: only the additional downscaling starts at random.
    misfits = load_weights(SyncNet(width=0.25, image_size=192), path, strict=False)
    assert misfits and all(name.startswith("face_downscale_blocks") for name in misfits)
    with pytest.raises(LipsyncError, match=r"width"):
        load_weights(SyncNet(width=0.5), path, strict=False)
    assert pretrained.syncnet_start("mine.pth") == "mine.pth"
