"""Several sounds mixed into one."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.errors import ClipError
from lipsync_core.media.audio import load_wav
from lipsync_core.media.mixing import mixed_sound
from tests.support.media import write_wav

pytestmark = pytest.mark.media


def test_the_sum_as_long_as_the_longest_without_a_name(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    paths = [write_wav(tmp_path / f"{seed}.wav", 1 + seed, seed, level=0.1) for seed in (0, 1)]
    with mixed_sound(paths) as mix:
        assert not list(work.iterdir())  # nothing is left behind by a killed process
        heard = load_wav(mix)
    short, long = map(load_wav, paths)
    assert len(heard) == len(long)
    np.testing.assert_allclose(heard[: len(short)], long[: len(short)] + short, atol=1e-3)
    np.testing.assert_allclose(heard[len(short) :], long[len(short) :], atol=1e-3)
    assert not mix.exists()


def test_a_file_without_sound(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(ClipError), mixed_sound([tmp_path / "a.wav"] * 2):
        pass
