"""The sound of a file as people hear it: own rate, own channels, on the file's clock."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from scipy.io import wavfile

from benchmarks import flash_and_beep
from lipsync_core.errors import ClipError, LipsyncError
from lipsync_core.media import soundtrack as module
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.soundtrack import soundtrack
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media


def heard(path) -> tuple[np.ndarray, int]:
    """Samples (n, channels) and their rate."""
    with soundtrack(path) as found:
        samples = np.frombuffer(found.pcm.read(), "<i2").reshape(-1, found.channels)
        return samples, found.rate


def run(*arguments) -> None:
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 6)])
def test_samples_come_out_as_they_went_in(tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).integers(-9000, 9000, (rate, channels), np.int16)
    wavfile.write(path, rate, noise)
    samples, found = heard(path)
    assert found == rate
    assert np.array_equal(samples, noise)


def test_other_layouts_are_mixed_to_what_every_player_knows(tmp_path):
    path = tmp_path / "a.wav"
    wavfile.write(path, 16_000, np.ones((800, 5), np.int16))
    assert heard(path)[0].shape[1] in (2, 6)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_it_keeps_the_clock_of_its_file(tmp_path, suffix):
    shown = flash_and_beep.film(flash_and_beep.RATES["30"], 4)
    path = flash_and_beep.write(tmp_path / f"a{suffix}", shown, sound_offset=0.217)
    samples, rate = heard(path)
    wave = samples[:, 0].astype(float)
    for event in shown.times[shown.events]:
        first = round((event - 0.1) * rate)
        likeness = np.correlate(wave[first : first + rate // 5], flash_and_beep.beep(rate), "same")
        assert (first + likeness.argmax()) / rate == pytest.approx(event, abs=0.0015)


def test_a_gap_in_the_sound_is_silence(tmp_path):
    whole = write_wav(tmp_path / "a.wav", 2)
    gap = tmp_path / "gap.mkv"
    late = "asetnsamples=1600,asetpts=PTS+gte(T\\,1)*0.5/TB"
    run("-i", whole, "-af", late, "-c:a", "pcm_s16le", gap)
    samples, rate = heard(gap)
    assert len(samples) == pytest.approx(2.5 * rate, abs=rate // 100)
    assert not samples[round(1.06 * rate) : round(1.44 * rate)].any()


def test_nothing_to_hear(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", 0.2, sound=False)
    (tmp_path / "text.wav").write_text("no sound")
    for path, reason in ((silent, "no_audio"), (tmp_path / "text.wav", "unreadable")):
        with pytest.raises(ClipError) as caught, soundtrack(path):
            pass
        assert caught.value.reason == reason


def test_a_full_folder_for_temporary_files_is_named(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", 1)

    class Full:
        """A file that kept half of what was written to it."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def seek(self, place, whence=0):
            return self.file.seek(place, whence) // 2

    real = module.decode_pcm
    monkeypatch.setattr(module, "decode_pcm", lambda path, pcm, how: real(path, Full(pcm), how))
    with pytest.raises(LipsyncError, match=r"no room .* TMPDIR"), soundtrack(path):
        pass
