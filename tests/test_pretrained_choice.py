import subprocess
import sys

import pytest

from lipsync_core.config import check_crop_mode
from lipsync_core.errors import LipsyncError
from lipsync_core.pretrained import active_speaker_weights, resolve


def test_auto_follows_the_weights(tmp_path):
    assert resolve("auto", tmp_path) == "centerface"
    (tmp_path / "s3fd.pth").write_bytes(b"weights")
    assert resolve("auto", tmp_path) == "s3fd"


def test_explicit_names_are_taken_as_they_are(tmp_path):
    assert resolve("s3fd", tmp_path) == "s3fd"
    assert resolve("centerface", tmp_path) == "centerface"


def test_unknown_name_lists_the_allowed(tmp_path):
    with pytest.raises(LipsyncError, match="auto, s3fd, centerface"):
        resolve("S3FD", tmp_path)


def test_imports_without_heavy_packages():
    code = (
        "import sys, lipsync_core.pretrained; "
        "print(sorted({'torch', 'cv2', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_the_judge_of_speakers(tmp_path):
    with pytest.raises(LipsyncError, match="speaking needs a judge"):
        active_speaker_weights("", tmp_path)
    with pytest.raises(LipsyncError, match=r"track\.expert: .*gone\.pth: no such file"):
        active_speaker_weights(tmp_path / "gone.pth", tmp_path)
    (tmp_path / "syncnet_v2.model").write_bytes(b"weights")
    (tmp_path / "own.pth").write_bytes(b"weights")
    assert active_speaker_weights("", tmp_path).name == "syncnet_v2.model"
    assert active_speaker_weights(str(tmp_path / "own.pth"), tmp_path).name == "own.pth"


def test_aligning_needs_landmarks():
    check_crop_mode("aligned", "centerface")
    check_crop_mode("square", "s3fd")
    with pytest.raises(LipsyncError, match="s3fd finds none"):
        check_crop_mode("aligned", "s3fd")
