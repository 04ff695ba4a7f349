from __future__ import annotations

import re
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from benchmarks import flash_and_beep
from lipsync_core.errors import ClipError
from lipsync_core.media import ffmpeg_binary, timestamps
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.timestamps import read_timeline, resample_timeline
from lipsync_core.media.video import read_frames
from tests.support.media import write_video, write_wav

pytestmark = pytest.mark.media


def run(*arguments) -> None:
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.mark.parametrize("rate", flash_and_beep.RATES)
@pytest.mark.parametrize("offset", flash_and_beep.OFFSETS)
def test_sound_and_picture_stay_within_half_a_frame(tmp_path, rate, offset):
    picture, sound = flash_and_beep.OFFSETS[offset]
    shown = flash_and_beep.film(flash_and_beep.RATES[rate], 5, picture)
    path = flash_and_beep.write(tmp_path / "a.mp4", shown, sound)
    errors = flash_and_beep.errors(path, tmp_path)
    assert len(errors) == len(shown.events)
    # Sound is placed to a sample: 0.06 ms.
    assert np.abs(errors).max() <= 20.07
    if rate == "25" and not picture:
        assert np.abs(errors).max() < 0.1


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mov"])
def test_other_containers_keep_time(tmp_path, suffix):
    shown = flash_and_beep.film(Fraction(30000, 1001), 4, 0.333)
    path = flash_and_beep.write(tmp_path / f"a{suffix}", shown)
    errors = flash_and_beep.errors(path, tmp_path)
    assert len(errors) == len(shown.events)
    assert np.abs(errors).max() <= 20.6  # Matroska rounds to milliseconds


def test_edit_list_of_a_cut_copy(tmp_path):
    shown = flash_and_beep.film(Fraction(30), 6)
    whole = flash_and_beep.write(tmp_path / "a.mp4", shown)
    run("-ss", "2.3", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    errors = flash_and_beep.errors(tmp_path / "cut.mp4", tmp_path)
    assert len(errors) == 3
    assert np.abs(errors).max() <= 20.6
    found = read_timeline(tmp_path / "cut.mp4")
    # The pictures from the key frame to the cut are in the file, and are not shown.
    assert found.seconds == pytest.approx(3.7, abs=0.05)
    assert found.source_frames == pytest.approx(111, abs=1)


@pytest.mark.parametrize("rate", ["23.976", "30", "60", "variable"])
def test_the_counts_are_those_of_the_fps_filter(tmp_path, rate):
    shown = flash_and_beep.film(flash_and_beep.RATES[rate], 4)
    path = flash_and_beep.write(tmp_path / "a.mp4", shown)
    graph = ["-map", "0:V:0", "-vf", "fps=25:start_time=0", "-f", "null", "-"]
    said = subprocess.run(
        [ffmpeg_exe(), "-v", "verbose", "-i", path, *graph], capture_output=True, text=True
    ).stderr
    pattern = r"(\d+) frames in, (\d+) frames out; (\d+) frames dropped, (\d+) frames duplicated"
    wanted = [int(number) for number in re.findall(pattern, said)[-1]]
    found = read_timeline(path)
    assert found.frames + found.dropped - found.duplicated == found.source_frames == wanted[0]
    # Version 5.1 may end where the last picture begins: up to two of these frames earlier.
    early = [found.frames - wanted[1], found.frames - sum(1 for _ in read_frames(path))]
    if ffmpeg_binary.chosen().bundled:
        assert [found.frames, found.dropped, found.duplicated] == wanted[1:]
        assert early == [0, 0]
    assert early[0] == early[1] and early[0] in (0, 1, 2)


def test_constant_rates_are_exact():
    ntsc = resample_timeline(np.arange(107_892) * 1001, Fraction(1, 30_000))  # an hour
    assert ntsc.fps == Fraction(30_000, 1001)
    assert ntsc.frames == 89_999 + (ntsc.seconds * 25 % 1 >= 0.5)
    assert ntsc.source_frames - ntsc.dropped + ntsc.duplicated == ntsc.frames
    film = resample_timeline(np.arange(24) * 1001, Fraction(1, 24_000))
    assert (film.dropped, film.duplicated, film.frames) == (0, 1, 25)


@pytest.mark.parametrize(
    "rate",
    [12, 15, 24, 25, 30, 50, 60, 120, *(Fraction(rate * 1000, 1001) for rate in (15, 24, 30, 60))],
)
@pytest.mark.parametrize("tick", [Fraction(1, 1000), Fraction(1, 90_000)])
def test_the_rate_of_a_steady_video_is_exact(rate, tick):
    stamps = np.array([round(number / rate / tick) for number in range(400)])
    assert timestamps.constant_rate(stamps, tick) == rate
    lossy = np.delete(stamps, [17, 100, 101, 250])
    assert timestamps.constant_rate(lossy, tick) == pytest.approx(rate, rel=0.02)


def test_the_rate_of_an_unsteady_video():
    tick = Fraction(1, 90_000)
    rng = np.random.default_rng(0)
    phone = np.cumsum(3003 + rng.integers(-200, 200, 900))  # 29.97, shaken by 2 ms
    assert timestamps.constant_rate(phone, tick) == Fraction(30000, 1001)
    still = np.concatenate([phone, phone + phone[-1] + 900_000])  # and nothing for 10 s
    assert timestamps.constant_rate(still, tick) == Fraction(30000, 1001)
    telecined = np.cumsum(np.tile([3003, 4504, 3003, 4505], 100))  # film as 2:3 fields
    assert timestamps.constant_rate(telecined, tick) == Fraction(24000, 1001)
    varying = np.cumsum(rng.integers(1500, 6000, 900))
    assert timestamps.constant_rate(varying, tick) in (24, Fraction(24000, 1001), 25)


def test_rates_at_which_no_mouth_can_be_shown():
    tick = Fraction(1, 1000)
    assert timestamps.constant_rate(np.array([0]), tick) == 25
    assert timestamps.constant_rate(np.arange(9) * 1000, tick) == 25  # a slide show
    assert timestamps.constant_rate(np.arange(960) // 0.24, tick) == 120  # slow motion at 240


def test_timeline_of_odd_stamps():
    tick = Fraction(1, 25)
    assert resample_timeline(np.array([0]), tick).frames == 1
    late = resample_timeline(np.array([12, 10, 11]), tick, 1)
    assert (late.frames, late.duplicated, late.dropped, late.seconds) == (13, 10, 0, 0.52)
    doubled = resample_timeline(np.array([0, 0, 1, 2]), tick)
    assert (doubled.frames, doubled.dropped) == (3, 1)
    early = resample_timeline(np.array([-2, -1, 0, 1]), tick)
    assert (early.frames, early.dropped) == (2, 2)
    gap = resample_timeline(np.array([0, 1, 251]), tick)
    assert (gap.longest_gap, gap.duplicated) == (10, 249)


@pytest.mark.parametrize(("suffix", "codec"), [(".mpg", "mpeg1video"), (".avi", "mjpeg")])
def test_containers_without_presentation_times(tmp_path, suffix, codec):
    path = write_video(tmp_path / "a.mp4", 1.2, fps=30, sound=False)
    other = tmp_path / f"a{suffix}"
    run("-i", path, "-c:v", codec, other)
    found = read_timeline(other)
    assert (found.fps, found.source_frames, found.longest_gap) == (30, 36, pytest.approx(1 / 30))
    assert found.frames == sum(1 for _ in read_frames(other)) == 30


def test_jumping_time_stamps_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 0.8)
    shown = tmp_path / "jump.mp4"
    run("-i", path, "-c:v", "copy", "-an", "-bsf:v", "setts=ts=TS+gt(N\\,9)*90/TB", shown)
    with pytest.raises(ClipError, match="jump by 90 s"):
        read_timeline(shown)
    monkeypatch.setattr(timestamps, "MAX_GAP_SECONDS", 100)
    assert read_timeline(shown).duplicated == pytest.approx(90 * 25, abs=2)


def test_nothing_to_survey(tmp_path):
    for path in (write_wav(tmp_path / "a.wav", 0.5), tmp_path / "missing.mp4"):
        with pytest.raises(ClipError) as caught:
            read_timeline(path)
        assert caught.value.reason == "unreadable"
