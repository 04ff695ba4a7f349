"""Fixtures of the dubbing tests."""

import pytest
import torch

from lipsync_core.checkpoints import save_public
from lipsync_core.models import Wav2Lip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A generator of an eighth of the width, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "wav2lip.pth"
    save_public(path, Wav2Lip(width=0.125))
    return path
