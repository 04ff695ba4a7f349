"""Every frame once, at its own time, with the bytes that the decoder made."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction

import cv2
import numpy as np
import pytest

from lipsync_core.errors import ClipError
from lipsync_core.media.color import ColorTags, planes
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.native_frames import read_format, read_native_frames
from tests.support.media import write_wav
from tests.support.native import pattern, run, seen, tone

pytestmark = pytest.mark.media
RATES = ("24000/1001", "24", "25", "30000/1001", "30", "50", "60")
X264 = ("-c:v", "libx264", "-threads", "1", "-preset", "ultrafast", "-bf", "2")


def read(path, **options):
    """(times in seconds, frames, format)."""
    source = read_format(path)
    found = list(read_native_frames(path, source, **options))
    return [stamp * source.tick for stamp, _ in found], [frame for _, frame in found], source


@pytest.mark.parametrize("rate", RATES)
def test_frames_and_times_are_those_of_the_decoder(tmp_path, rate):
    path = tmp_path / "a.mp4"
    run(*pattern(rate=rate), *X264, "-pix_fmt", "yuv420p", path)
    times, frames, source = read(path)
    expected = seen(path)
    assert times == expected.times
    assert times[1] - times[0] == 1 / Fraction(rate)
    assert all(map(np.array_equal, frames, expected.frames))
    assert source.seconds == pytest.approx(float(len(times) / Fraction(rate)))
    assert len(source.stamps) == len(times)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".flv"])
def test_a_variable_rate(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    gaps = "setpts='(N+floor(N/3)+5*gt(N,20))/30/TB'"
    run(*pattern(rate=30), "-vf", gaps, "-fps_mode", "passthrough", *X264, path)
    times, frames, _ = read(path)
    expected = seen(path)
    assert len(set(np.diff(times))) > 2
    assert times == [time - expected.times[0] for time in expected.times]
    assert all(map(np.array_equal, frames, expected.frames))


def test_the_clock_begins_with_the_earlier_of_sound_and_picture(tmp_path):
    late = "setpts=PTS+0.48/TB"
    for suffix in (".mp4", ".ts"):
        path = tmp_path / f"a{suffix}"
        run(*pattern(), *tone(1.5), "-vf", late, *X264, "-bf", "0", path)
        times, _, _ = read(path)
        # AAC begins with 21 ms of encoder delay, which MPEG-TS does not mark as such.
        assert float(times[0]) == pytest.approx(0.48, abs=0.001 if suffix == ".mp4" else 0.03)


@pytest.mark.parametrize("suffix", [".avi", ".h264", ".mpg"])
def test_containers_without_presentation_times(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    codec = X264 if suffix == ".h264" else ("-c:v", "mpeg2video", "-bf", "2")
    run(*pattern(), *codec, "-pix_fmt", "yuv420p", path)
    times, _, _ = read(path)
    assert len(times) == 25
    assert np.allclose(np.diff(np.array(times, float)), 0.04, atol=1e-4)


def test_a_gif_keeps_its_delays(tmp_path):
    run(*pattern(rate=10), "-vf", "setpts='(N+3*gt(N,4))/10/TB'", tmp_path / "a.gif")
    times, frames, source = read(tmp_path / "a.gif")
    assert [float(time) for time in times[:7]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    assert source.color == ColorTags("smpte170m", range="tv")
    colors = seen(tmp_path / "a.gif", "rgb24").frames[0].reshape(-1, 3).astype(float)
    luma = colors @ [0.299, 0.587, 0.114] * 219 / 255 + 16
    assert planes(frames[0])[0].mean() == pytest.approx(luma.mean(), abs=0.5)


def test_one_frame(tmp_path):
    run(*pattern(), "-frames:v", "1", *X264, tmp_path / "one.mp4")
    times, frames, source = read(tmp_path / "one.mp4")
    assert times == [0]
    assert len(frames) == 1
    assert source.duration > 0


def test_odd_sides_repeat_the_last_column_and_row(tmp_path):
    path = tmp_path / "odd.mkv"
    odd = ["-f", "lavfi", "-i", "testsrc=s=95x63:d=0.2"]
    run(*odd, "-pix_fmt", "yuv420p", "-c:v", "ffv1", path)
    _, frames, source = read(path)
    assert (source.width, source.height) == (96, 64)
    assert (source.shown_width, source.shown_height) == (95, 63)
    reference = np.frombuffer(
        subprocess.run(
            [ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-"],
            capture_output=True,
            check=True,
        ).stdout,
        np.uint8,
    ).reshape(len(frames), -1)
    for frame, raw in zip(frames, reference, strict=True):
        luma, *chroma = planes(frame)
        stored = raw[: 95 * 63].reshape(63, 95)
        assert np.array_equal(luma, np.pad(stored, ((0, 1), (0, 1)), "edge"))
        assert np.array_equal(np.ravel(chroma), raw[95 * 63 :])


def test_rotation_and_pixel_aspect(tmp_path):
    run(*pattern(), "-vf", "setsar=16/11", *X264, "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    matrix = data.index(b"tkhd") + 44  # the track's header: how its frames are turned
    quarter = struct.pack(">9i", *(0, -1 << 16, 0), *(1 << 16, 0, 0), *(0, 0, 1 << 30))
    turned = data[:matrix] + quarter + data[matrix + len(quarter) :]
    (tmp_path / "r.mp4").write_bytes(turned)
    _, frames, source = read(tmp_path / "r.mp4")
    assert (source.width, source.height, source.pixel_aspect) == (64, 96, Fraction(11, 16))
    stored = seen(tmp_path / "a.mp4").frames[0]
    expected = [np.rot90(plane) for plane in planes(stored)]
    assert all(map(np.array_equal, planes(frames[0]), expected))


def test_interlaced_frames_are_made_whole_at_their_rate(tmp_path):
    def combing(frame: np.ndarray) -> float:
        rows = frame[:64].astype(int)
        return np.abs(rows[2:] - 2 * rows[1:-1] + rows[:-2]).mean()

    moving = "color=gray:s=96x64:r=50:d=1[g];color=white:s=8x64:r=50:d=1[b];[g][b]overlay=x=200*t"
    woven = ["-vf", "interlace=lowpass=off", "-flags", "+ilme+ildct", "-c:v", "mpeg2video"]
    run("-f", "lavfi", "-i", moving, *woven, "-q:v", "1", tmp_path / "i.ts")
    times, frames, _ = read(tmp_path / "i.ts")
    assert np.array_equal(np.diff(times), [Fraction(1, 25)] * 24)
    assert combing(seen(tmp_path / "i.ts").frames[5]) > 5
    assert combing(frames[5]) < 1


def test_ten_bits_keep_their_tags(tmp_path):
    path = tmp_path / "hdr.mp4"
    tags = "setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    ten = ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params", "log-level=none:pools=1"]
    run(*pattern(), "-vf", tags, *ten, "-tag:v", "hvc1", path)
    _, frames, source = read(path)
    assert source.bits == 10
    assert source.color == ColorTags("bt2020nc", "bt2020", "smpte2084", "tv")
    deep = seen(path, "yuv420p10le").frames[3]
    assert np.abs(frames[3] - deep / 4).max() <= 1


@pytest.mark.parametrize("layout", ["yuvj420p", "yuv422p", "yuv444p", "yuvj444p"])
def test_other_layouts_keep_matrix_and_range(tmp_path, layout):
    path = tmp_path / "a.mkv"
    levels = "pc" if "j" in layout else "tv"
    plain = layout.replace("j", "")
    tagged = f"scale=out_range={levels}:out_color_matrix=bt709,format={plain}"
    tags = f"setparams=range={levels}:colorspace=bt709"
    run(*pattern(), "-vf", f"{tagged},{tags}", "-c:v", "ffv1", "-color_range", levels, path)
    _, frames, source = read(path)
    assert source.color.range == levels
    assert source.color.effective_matrix == "bt709"
    stored = seen(path, plain).frames[0]
    luma = stored[0] if plain == "yuv444p" else stored[: 96 * 64].reshape(-1, 96)[:64]
    if plain == "yuv420p":
        assert np.array_equal(frames[0], stored)
    assert np.array_equal(planes(frames[0])[0], luma)


def test_a_change_of_size_loses_no_frame(tmp_path):
    for name, size, start in (("1.ts", "64x64", "0"), ("2.ts", "96x48", "1")):
        codec = ["-output_ts_offset", start, "-c:v", "mpeg2video"]
        run(*pattern(size), *codec, tmp_path / name)
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    times, frames, _ = read(both)
    assert {frame.shape for frame in frames} == {(96, 64)}
    expected = seen(both).times
    assert [time + expected[0] for time in times] == expected


def test_undecodable_frames_shift_no_time_stamp(tmp_path):
    path = tmp_path / "a.mp4"
    run(*pattern(seconds=2), *X264, "-g", "10", path)
    data = bytearray(path.read_bytes())
    place = data.index(b"mdat") + 6000
    data[place : place + 3000] = b"\xa5" * 3000
    path.write_bytes(data)
    times, _, source = read(path)
    assert len(times) < len(source.stamps) == 50
    expected = seen(path).times
    assert len(times) == len(expected)
    # The decoder gives one frame late; it takes the next free tick.
    assert len(set(times) - set(expected)) <= 1
    assert np.all(np.diff(times) > 0)


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_start_and_end(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    run(*pattern(seconds=40, size="32x32"), *tone(40), *X264, "-g", "100", path)
    source = read_format(path)
    everything = dict(read_native_frames(path, source))
    for start, end in ((0.5, 1.0), (31.03, 32.0), (39.9, None)):
        part = list(read_native_frames(path, source, start, end))
        stop = source.seconds if end is None else end
        assert [stamp for stamp, _ in part] == [
            stamp for stamp in everything if start <= stamp * source.tick < stop
        ]
        assert all(np.array_equal(frame, everything[stamp]) for stamp, frame in part)
    for stamp in list(everything)[1:100:7]:  # seconds of a time stamp find its frame
        begin, until = float(stamp * source.tick), float(stamp * source.tick + Fraction(1, 25))
        assert [one for one, _ in read_native_frames(path, source, begin, until)] == [stamp]


def test_small_frames_for_detection(tmp_path):
    run(*pattern("160x90"), *X264, tmp_path / "a.mp4")
    times, frames, _ = read(tmp_path / "a.mp4", long_side=64)
    assert frames[0].shape == (54, 64)
    assert times == seen(tmp_path / "a.mp4").times
    whole = planes(read(tmp_path / "a.mp4")[1][0])[0]
    wanted = cv2.resize(whole, (64, 36), interpolation=cv2.INTER_AREA)
    assert np.abs(planes(frames[0])[0] - wanted.astype(int)).mean() < 1.5


def test_closing_stops_ffmpeg(tmp_path, monkeypatch):
    run(*pattern(seconds=20, size="320x240"), *X264, tmp_path / "a.mp4")
    source = read_format(tmp_path / "a.mp4")
    started = []
    original = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
    )
    frames = read_native_frames(tmp_path / "a.mp4", source)
    next(frames)
    frames.close()
    assert started[0].returncode is not None


def test_unreadable_files(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for path, reason in (
        (tmp_path / "text.mp4", "unreadable"),
        (tmp_path / "missing.mp4", "unreadable"),
        (write_wav(tmp_path / "a.wav", 1), "no_video"),
    ):
        with pytest.raises(ClipError) as caught:
            read_format(path)
        assert caught.value.reason == reason
