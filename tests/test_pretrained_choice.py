import subprocess
import sys

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.pretrained import active_speaker_weights, resolve_detector, sync_model_weights


def test_auto_follows_the_weights(tmp_path):
    assert resolve_detector("auto", tmp_path) == "centerface"
    (tmp_path / "s3fd.pth").write_bytes(b"weights")
    assert resolve_detector("auto", tmp_path) == "s3fd"


def test_explicit_names_are_taken_as_they_are(tmp_path):
    assert resolve_detector("s3fd", tmp_path) == "s3fd"
    assert resolve_detector("centerface", tmp_path) == "centerface"


def test_unknown_name_lists_the_allowed(tmp_path):
    with pytest.raises(LipsyncError, match="auto, s3fd, centerface"):
        resolve_detector("S3FD", tmp_path)


def test_imports_without_heavy_packages():
    code = (
        "import sys, lipsync_core.pretrained; "
        "print(sorted({'torch', 'cv2', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_the_network_that_selects_the_active_speaker(tmp_path):
    with pytest.raises(LipsyncError, match="active_speaker needs a network that measures sync"):
        active_speaker_weights("", tmp_path)
    with pytest.raises(LipsyncError, match=r"sync\.model: .*gone\.pth: no such file"):
        active_speaker_weights(tmp_path / "gone.pth", tmp_path)
    (tmp_path / "syncnet_v2.model").write_bytes(b"weights")
    (tmp_path / "own.pth").write_bytes(b"weights")
    assert active_speaker_weights("", tmp_path).name == "syncnet_v2.model"
    assert active_speaker_weights(str(tmp_path / "own.pth"), tmp_path).name == "own.pth"
    assert (
        sync_model_weights("") is None
        and sync_model_weights(tmp_path / "own.pth").name == "own.pth"
    )
