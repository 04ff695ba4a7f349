from __future__ import annotations

import hashlib
import json

import pytest

from lipsync_core import __version__
from lipsync_core.dubbing import provenance
from lipsync_core.errors import LipsyncError


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "wav2lip_gan" / "checkpoint.pth"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def test_the_claim_names_model_and_version(checkpoint):
    claim = provenance.make_claim(checkpoint)
    assert claim["synthetic"] is True and claim["version"] == __version__
    assert claim["model"] == "wav2lip_gan"
    assert claim["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert claim["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    onnx = checkpoint.rename(checkpoint.with_name("mine.onnx"))
    assert provenance.make_claim(onnx)["model"] == "mine"


def test_a_relative_checkpoint_has_a_name(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    assert provenance.make_claim("checkpoint.pth")["model"] == "wav2lip_gan"


def test_people_and_programs_can_read_the_comment(checkpoint):
    claim = provenance.make_claim(checkpoint) | {"model": 'a {b} "é"'}
    comment = provenance.tags(claim)["comment"]
    assert comment.startswith(f"synthetic: lip-synced by lipsync {__version__} {{")
    assert provenance.parse_comment(comment) == claim
    assert provenance.tags(claim) == provenance.tags(dict(reversed(claim.items())))


@pytest.mark.parametrize(
    ("comment", "claim"),
    [
        ("", None),
        ("not synthetic: x", None),
        ("synthetic: lip-synced by lipsync 0.1.0", {"synthetic": True}),
        ('synthetic: x {"model": "cut sh', {"synthetic": True}),
        ("Synthetic demo: speech by a machine.", {"synthetic": True}),
        ("synthetic: x {}", {}),
        ("synthetic: x [1]", {"synthetic": True}),
        ("synthetic: " + "{" * 500_000, {"synthetic": True}),  # at once
        ("synthetic: " + '{"a":' * 100_000, {"synthetic": True}),
    ],
)
def test_other_comments(comment, claim):
    assert provenance.parse_comment(comment) == claim


def test_the_manifest_holds_hashes_and_no_names(checkpoint, tmp_path):
    face, first, second = (tmp_path / f"private-{name}" for name in "fab")
    for path in (face, first, second):
        path.write_text(path.name)
    manifest = provenance.make_manifest(provenance.make_claim(checkpoint), face, [first, second])
    assert "private" not in json.dumps(manifest)
    ingredients = {each["title"]: each for each in manifest["ingredients"]}
    assert list(ingredients) == ["face", "audio 1", "audio 2", "model wav2lip_gan"]
    assert ingredients["face"]["relationship"] == "parentOf"
    digest = hashlib.sha256(b"private-b").hexdigest()
    assert ingredients["audio 2"]["instance_id"] == f"sha256:{digest}"
    actions, own = (each["data"] for each in manifest["assertions"])
    opened, edited = actions["actions"]
    assert opened["action"] == "c2pa.opened"
    assert edited["action"] == "c2pa.edited" and edited["digitalSourceType"] == provenance.COMPOSITE
    assert own["inputs_sha256"]["audio 2"] == digest


def test_only_some_formats_can_be_signed(checkpoint):
    claim = provenance.make_claim(checkpoint)
    manifest = provenance.make_manifest(claim, checkpoint, [checkpoint], "a.MOV")
    assert manifest["format"] == "video/quicktime"
    with pytest.raises(LipsyncError, match=r"a\.mkv: only videos named \.mp4"):
        provenance.make_manifest(claim, checkpoint, [checkpoint], "a.mkv")
