from __future__ import annotations

import subprocess

import numpy as np
import pytest

from lipsync_core.dubbing import provenance
from lipsync_core.dubbing.verify import verify
from lipsync_core.errors import ClipError
from lipsync_core.media import content_credentials
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.video import VideoWriter

pytestmark = pytest.mark.media


@pytest.fixture
def claim(tmp_path):
    checkpoint = tmp_path / "mine.pth"
    checkpoint.write_bytes(b"weights")
    return provenance.make_claim(checkpoint)


def write(path, tags=None):
    with VideoWriter(path, (64, 48), metadata=tags or {}) as writer:
        for level in range(8):
            writer.write(np.full((48, 64, 3), 30 * level, np.uint8))
    return path


def test_what_the_metadata_says(tmp_path, claim):
    found = verify(write(tmp_path / "dub.mp4", provenance.tags(claim)))
    assert found.passed and found.claim == claim
    assert found.credentials.state in ("none", "unchecked")
    text = "\n".join(found.lines())
    assert "dub.mp4: marked as synthetic" in text and claim["model_sha256"] in text
    assert found.as_dict()["metadata"] == claim


def test_a_file_that_says_nothing(tmp_path):
    found = verify(write(tmp_path / "plain.mp4"))
    assert not found.passed and found.claim is None
    assert "says nothing about its origin" in "\n".join(found.lines())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_metadata_survives_a_copy(tmp_path, claim, suffix):
    source, copy = write(tmp_path / "dub.mp4", provenance.tags(claim)), tmp_path / f"copy{suffix}"
    command = [ffmpeg_exe(), "-v", "error", "-i", source, "-c", "copy", copy]
    subprocess.run(command, check=True)
    assert verify(copy).claim == claim


def test_no_media(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ClipError, match="unreadable"):
        verify(tmp_path / "text.mp4")


def test_without_the_extra(tmp_path, claim, monkeypatch):
    path = write(tmp_path / "dub.mp4", provenance.tags(claim))
    monkeypatch.setattr(content_credentials, "is_installed", lambda: False)
    found = verify(path)
    assert found.passed and "not checked" in found.lines()[2]


@pytest.fixture
def signed(tmp_path, claim):
    """A signed dubbing, and the certificate of the authority."""
    pytest.importorskip("c2pa")
    from tests.support.certificates import Authority

    authority = Authority(tmp_path / "authority")
    path = write(tmp_path / "dub.mp4", provenance.tags(claim))
    manifest = provenance.make_manifest(claim, path, [path])
    key = content_credentials.load_signing_key(*authority.issue("Studio"))
    content_credentials.sign(path, manifest, key)
    return path, authority.anchors


def test_a_signed_dubbing(signed, claim):
    path, anchors = signed
    found = verify(path)
    assert found.passed and found.credentials.state == "valid"
    assert found.credentials.sources == (provenance.COMPOSITE,) and found.credentials.dates
    assert found.credentials.assertions[provenance.ASSERTION].items() >= claim.items()
    assert "valid, signed by Studio" in found.lines()[2]
    trusted = verify(path, anchors)
    assert trusted.passed and "trusted" in trusted.lines()[2]


def test_a_changed_file_fails_whatever_its_metadata_says(signed):
    path, _ = signed
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    found = verify(path)
    assert found.claim is not None and not found.passed
    assert "INVALID: assertion.bmffHash.mismatch" in found.lines()[2]


def test_anchors_ask_for_a_signer_whom_they_vouch_for(signed, tmp_path, claim):
    from tests.support.certificates import Authority

    other = Authority(tmp_path / "other", "Other CA")
    assert not verify(signed[0], other.anchors).passed
    assert not verify(write(tmp_path / "b.mp4", provenance.tags(claim)), signed[1]).passed


def test_a_copy_loses_the_manifest(signed, tmp_path):
    copy = tmp_path / "copy.mp4"
    command = [ffmpeg_exe(), "-v", "error", "-i", signed[0], "-c", "copy", copy]
    subprocess.run(command, check=True)
    found = verify(copy)
    assert found.credentials.state == "none" and found.passed and found.claim is not None
