from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from lipsync_core.errors import ClipError, LipsyncError
from lipsync_core.media import content_credentials as credentials
from lipsync_core.media.ffmpeg import ffmpeg_exe
from tests.support.media import write_video

pytest.importorskip("c2pa")
pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import Authority

pytestmark = pytest.mark.media
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MANIFEST = {
    "claim_generator_info": [{"name": "lipsync", "version": "1"}],
    "format": "video/mp4",
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": SOURCE,
                        "when": "2026-11-30T00:00:00Z",
                    }
                ]
            },
        },
        {"label": "lipsync.test", "data": {"a": 1}},
    ],
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("plain") / "clip.mp4", 0.4)


@pytest.fixture
def signed(tmp_path, authority, plain):
    path = tmp_path / "signed.mp4"
    path.write_bytes(plain.read_bytes())
    credentials.sign(path, MANIFEST, credentials.load_signing_key(*authority.issue()))
    return path


def test_signed_and_read(signed, authority, plain):
    found = credentials.read(signed)
    assert (found.state, found.signer, found.failures) == ("valid", "Test signer", ())
    assert found.sources == (SOURCE,) and found.dates == ("2026-11-30T00:00:00Z",)
    assert found.assertions["lipsync.test"] == {"a": 1}
    assert credentials.read(signed, authority.anchors).state == "trusted"
    assert credentials.read(plain).state == "none"


def test_another_authority_is_not_trusted(signed, tmp_path):
    other = Authority(tmp_path / "other", "Other CA")
    assert credentials.read(signed, other.anchors).state == "valid"


def test_the_picture_is_as_before(signed, plain):
    def frames(path):
        command = [ffmpeg_exe(), "-v", "error", "-i", path, "-f", "framemd5", "-"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    assert frames(signed) == frames(plain)


@pytest.mark.parametrize("place", [0.6, 0.999])
def test_one_bit_changed(signed, place):
    data = bytearray(signed.read_bytes())
    data[int(place * len(data))] ^= 1
    signed.write_bytes(data)
    found = credentials.read(signed)
    assert found.state == "invalid" and found.failures == ("assertion.bmffHash.mismatch",)


def test_a_claim_changed(signed):
    signed.write_bytes(signed.read_bytes().replace(b"trainedAlgorithmicMedia", b"x" * 23))
    assert credentials.read(signed).state == "invalid"


def test_files_without_a_place_for_a_manifest(tmp_path):
    text = tmp_path / "text.bin"
    text.write_text("nothing")
    assert credentials.read(text).state == "none"
    with pytest.raises(ClipError, match="no such file"):
        credentials.read(tmp_path / "none.mp4")


def test_a_reader_that_crashes_or_hangs_is_an_error(plain, monkeypatch):
    def crash(*_, **__):
        return subprocess.CompletedProcess((), -6, b"", b"a\nthread panicked")

    monkeypatch.setattr(subprocess, "run", crash)
    with pytest.raises(ClipError, match=r"unreadable: .*thread panicked"):
        credentials.read(plain)

    def hang(*_, **__):
        raise subprocess.TimeoutExpired((), 1)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ClipError, match="timed_out"):
        credentials.read(plain)


def test_without_the_extra(plain, monkeypatch, tmp_path):
    monkeypatch.setattr(credentials, "is_installed", lambda: False)
    assert credentials.read(plain).state == "unchecked"
    with pytest.raises(LipsyncError, match=r"pip install 'lipsync-pipeline\[c2pa\]'"):
        credentials.load_signing_key(tmp_path / "cert.pem", tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "es512"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
    ],
)
def test_kinds_of_keys(authority, make, algorithm):
    assert credentials.load_signing_key(*authority.issue(algorithm, make())).algorithm == algorithm


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_the_documented_certificate_signs(root, plain, tmp_path):
    document = (root / "docs/provenance.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(openssl .*?)^```", document, re.M | re.S)
    *commands, last = block.splitlines()
    for command in commands:
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    assert last == "cat sign.crt ca.pem > sign.pem"
    parts = (tmp_path / name for name in ("sign.crt", "ca.pem"))
    (tmp_path / "sign.pem").write_bytes(b"".join(part.read_bytes() for part in parts))
    path = tmp_path / "signed.mp4"
    path.write_bytes(plain.read_bytes())
    key = credentials.load_signing_key(tmp_path / "sign.pem", tmp_path / "sign.key")
    credentials.sign(path, MANIFEST, key)
    assert credentials.read(path, tmp_path / "ca.pem").state == "trusted"


def unusable(authority, folder):
    """What is wrong -> certificate, key and message."""
    chain, key = authority.issue("good")
    text = folder / "text.pem"
    text.write_text("hello")
    server = authority.issue("server", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    koblitz = ec.generate_private_key(ec.SECP256K1())
    return {
        "missing": ((folder / "none.pem", key), "no such certificate"),
        "no key": ((chain, folder / "none.key"), "no such private key"),
        "no certificate": ((text, key), "no PEM file of certificates"),
        "text as key": ((chain, text), "no PEM private key"),
        "another's key": ((chain, authority.issue("other")[1]), "not the key of the first"),
        "password": (authority.issue("locked", password=b"x"), "has a password"),
        "expired": (authority.issue("old", days=-1), "not valid today"),
        "curve": (authority.issue("koblitz", koblitz), "P-256"),
        "other kind": (authority.issue("dsa", dsa.generate_private_key(2048)), "P-256"),
        "for servers": (server, "does not accept this certificate"),
    }


def test_unusable_keys(authority, tmp_path):
    for (chain, key), message in unusable(authority, tmp_path).values():
        with pytest.raises(LipsyncError, match=message):
            credentials.load_signing_key(chain, key)


def test_unusable_anchors(plain, tmp_path):
    (tmp_path / "a.pem").write_text("x")
    with pytest.raises(LipsyncError, match="no PEM file of certificates"):
        credentials.read(plain, tmp_path / "a.pem")


def test_no_video_is_signed(authority, tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("x")
    with pytest.raises(LipsyncError, match=r"text\.mp4: it could not be signed"):
        credentials.sign(path, MANIFEST, credentials.load_signing_key(*authority.issue()))
