"""Frames come out at their times and with their tags; sounds are copied or encoded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from benchmarks import flash_and_beep
from lipsync_core.errors import LipsyncError
from lipsync_core.media import ffmpeg_binary
from lipsync_core.media.color import ColorTags
from lipsync_core.media.native_frames import SourceFormat, read_format, read_native_frames
from lipsync_core.media.stamped_writer import StampedWriter, track_timescale
from tests.support.media import write_wav
from tests.support.native import packets, pattern, run, seen, spans, tone

pytestmark = pytest.mark.media


def source_of(tick: Fraction, stamps, size=(64, 48), **tags) -> SourceFormat:
    stamps = np.array(stamps, np.int64)
    last = int(stamps[-1] - stamps[-2]) if len(stamps) > 1 else round(Fraction(1, 25) / tick)
    width, height = size
    color = ColorTags(**tags)
    aspect = Fraction(1)
    return SourceFormat(
        width, height, width, height, aspect, tick, stamps, last, color, 8, "yuv420p"
    )


def write(path, source, **options):
    """Gray frames that grow brighter at the source's time stamps; how the sound was written."""
    with StampedWriter(path, source, threads=1, **options) as writer:
        for number, stamp in enumerate(source.stamps.tolist()):
            frame = np.full((source.height * 3 // 2, source.width), 128, np.uint8)
            frame[: source.height] = 40 + number % 150
            writer.write(stamp, frame)
    return writer.sound_mode


@pytest.mark.parametrize("rate", [*flash_and_beep.RATES, "24"])
def test_time_stamps_are_exact(tmp_path, rate):
    shown = flash_and_beep.film(flash_and_beep.RATES.get(rate, Fraction(24)), 2)
    write(tmp_path / "a.mp4", source_of(shown.tick, shown.ticks))
    found = seen(tmp_path / "a.mp4")
    assert found.times == [int(tick) * shown.tick for tick in shown.ticks]
    levels = [frame[:48].mean() for frame in found.frames]
    assert levels == pytest.approx([40 + number % 150 for number in range(len(levels))], abs=1)


@pytest.mark.parametrize(
    "tick", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1001, 24_000), Fraction(1, 1_200_000)]
)
def test_ticks_of_other_containers(tmp_path, tick):
    step = max(1, round(Fraction(1, 24) / tick))
    stamps = step * np.arange(30) + 7  # begins late
    write(tmp_path / "a.mp4", source_of(tick, stamps))
    assert seen(tmp_path / "a.mp4").times == [int(stamp) * tick for stamp in stamps]


def test_timescales():
    assert track_timescale(Fraction(1, 25)) == 10_000
    assert track_timescale(Fraction(1001, 30_000)) == 30_000
    assert track_timescale(Fraction(1, 1 << 40)) == 90_000


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_last_frame_lasts_as_the_others_and_the_rate_stays(tmp_path, count):
    source = source_of(Fraction(1, 12_800), range(0, 512 * count, 512))
    sound = write_wav(tmp_path / "a.wav", (count + 0.4) / 25)
    write(tmp_path / "a.mp4", source, sound=sound, seconds=(count + 0.4) / 25)
    assert len(seen(tmp_path / "a.mp4").times) == count
    if ffmpeg_binary.chosen().bundled:  # ffmpeg 5 gives the last frame the average duration
        assert spans(tmp_path / "a.mp4")["video"] == pytest.approx(count / 25, abs=1e-4)
        with av.open(str(tmp_path / "a.mp4")) as container:
            assert container.streams.video[0].average_rate == 25


def test_tags_and_pixel_aspect_are_kept(tmp_path):
    tags = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084", "range": "tv"}
    source = source_of(Fraction(1, 25), range(3), **tags)
    aspect = Fraction(16, 11)
    write(tmp_path / "a.mp4", replace(source, pixel_aspect=aspect), metadata={"comment": "a=b; c"})
    assert read_format(tmp_path / "a.mp4").color == ColorTags(**tags)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == aspect
        assert container.metadata["comment"] == "a=b; c"
    write(tmp_path / "b.mp4", source_of(Fraction(1, 25), range(3), range="pc", matrix="bt709"))
    assert read_format(tmp_path / "b.mp4").color == ColorTags("bt709", range="pc")
    write(tmp_path / "c.mp4", source_of(Fraction(1, 25), range(3)))
    assert read_format(tmp_path / "c.mp4").color == ColorTags()


@pytest.mark.parametrize("levels", ["tv", "pc", "unknown"])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "unknown"])
def test_samples_reach_the_encoder_unchanged(tmp_path, levels, matrix):
    source = source_of(Fraction(1, 25), range(3), range=levels, matrix=matrix)
    frames = np.random.default_rng(0).integers(0, 256, (3, 72, 64), np.uint8)
    with StampedWriter(tmp_path / "a.mp4", source, crf=0) as writer:  # lossless
        for stamp, frame in enumerate(frames):
            writer.write(stamp, frame)
    assert np.array_equal(seen(tmp_path / "a.mp4").frames, frames)


CODECS = {"m4a": "aac", "mp3": "libmp3lame", "ac3": "ac3", "eac3": "eac3", "mkv": "aac"}
CODECS |= {"mka": "libmp3lame", "mov": "alac", "ts": "aac"}


@pytest.mark.parametrize("suffix", CODECS)
def test_sound_that_mp4_takes_is_copied_bit_for_bit(tmp_path, suffix):
    sound = tmp_path / f"a.{suffix}"
    run(*tone(2), "-c:a", CODECS[suffix], sound)
    source = source_of(Fraction(1, 25), range(50))
    assert write(tmp_path / "o.mp4", source, sound=sound) == "copied"
    headers = 7 if suffix == "ts" else 0  # of ADTS, which MPEG-TS needs and MP4 forbids
    assert packets(tmp_path / "o.mp4") == [packet[headers:] for packet in packets(sound)]
    assert spans(tmp_path / "o.mp4")["audio"] == pytest.approx(2, abs=0.045)


def test_copied_sound_is_heard_at_its_time(tmp_path):
    shown = flash_and_beep.film(flash_and_beep.RATES["25"], 4)
    face = flash_and_beep.write(tmp_path / "a.mp4", shown)
    source = read_format(face)
    with StampedWriter(tmp_path / "o.mp4", source, sound=face) as writer:
        for stamp, frame in read_native_frames(face, source):
            writer.write(stamp, frame)
    assert writer.sound_mode == "copied"
    assert packets(tmp_path / "o.mp4") == packets(face)
    assert np.abs(flash_and_beep.errors(tmp_path / "o.mp4", tmp_path)).max() < 0.1


def test_sound_of_a_cut_copy_is_heard_at_its_time(tmp_path):
    shown = flash_and_beep.film(flash_and_beep.RATES["25"], 5)
    whole = flash_and_beep.write(tmp_path / "whole.mp4", shown)
    cut = tmp_path / "cut.mp4"  # with an edit list for the frames and packets before the cut
    run("-ss", "1.31", "-i", whole, "-c", "copy", cut)
    source = read_format(cut)
    with StampedWriter(tmp_path / "o.mp4", source, sound=cut) as writer:
        for stamp, frame in read_native_frames(cut, source):
            writer.write(stamp, frame)
    assert writer.sound_mode == "copied"
    before, after = (flash_and_beep.errors(file, tmp_path) for file in (cut, tmp_path / "o.mp4"))
    assert np.abs(before - after).max() < 0.1


def test_copied_sound_is_cut_at_the_nearest_packet(tmp_path):
    run(*tone(3), "-c:a", "aac", tmp_path / "a.m4a")
    source = source_of(Fraction(1, 25), range(25))
    assert write(tmp_path / "o.mp4", source, sound=tmp_path / "a.m4a", seconds=1.0) == "copied"
    kept = packets(tmp_path / "o.mp4")
    assert kept == packets(tmp_path / "a.m4a")[: len(kept)]
    assert spans(tmp_path / "o.mp4")["audio"] == pytest.approx(1.0, abs=0.011)


@pytest.mark.parametrize(("seconds", "mode"), [(1.5, "encoded"), (1.53, "copied"), (9, "copied")])
def test_no_packet_ends_within_half_a_frame_of_the_end(tmp_path, seconds, mode):
    run(*tone(3, rate=16_000), "-c:a", "aac", tmp_path / "a.m4a")  # 64 ms a packet
    source = source_of(Fraction(1, 25), range(25))
    out = tmp_path / "o.mp4"
    assert write(out, source, sound=tmp_path / "a.m4a", seconds=seconds) == mode
    assert spans(out)["audio"] == pytest.approx(min(seconds, 3), abs=0.02)


def test_other_sounds_are_encoded(tmp_path):
    source = source_of(Fraction(1, 25), range(25))
    run(*tone(2), "-c:a", "libopus", tmp_path / "a.ogg")
    late = ["-af", "asetpts=PTS+0.2/TB", "-c:a", "aac"]
    run(*pattern(), *tone(2), *late, tmp_path / "late.mkv")
    gap = "asetnsamples=1024,asetpts=PTS+gte(T\\,1)*0.5/TB"
    run(*pattern(), *tone(2), "-af", gap, "-c:a", "aac", tmp_path / "gap.mkv")
    sounds = [tmp_path / name for name in ("a.ogg", "late.mkv", "gap.mkv")]
    for sound in (*sounds, write_wav(tmp_path / "a.wav", 2)):
        assert write(tmp_path / "o.mp4", source, sound=sound, seconds=1.0) == "encoded"
        with av.open(str(tmp_path / "o.mp4")) as container:
            assert container.streams.audio[0].codec_context.name == "aac"
        assert spans(tmp_path / "o.mp4")["audio"] == pytest.approx(1.0, abs=0.001)


def test_failures_leave_nothing(tmp_path):
    source = source_of(Fraction(1, 25), range(3))
    with pytest.raises(ZeroDivisionError), StampedWriter(tmp_path / "o.mp4", source):
        raise ZeroDivisionError
    (tmp_path / "x.txt").write_text("no sound")
    with pytest.raises(LipsyncError, match=r"x\.txt: "):
        write(tmp_path / "o.mp4", source, sound=tmp_path / "x.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


def test_frames_and_stamps_are_checked(tmp_path):
    source = source_of(Fraction(1, 25), range(3))
    frame = np.zeros((72, 64), np.uint8)
    with (
        pytest.raises(ValueError, match="wanted uint8"),
        StampedWriter(tmp_path / "o.mp4", source) as writer,
    ):
        writer.write(0, frame[:, :32])
    with (
        pytest.raises(ValueError, match="increasing"),
        StampedWriter(tmp_path / "o.mp4", source) as writer,
    ):
        writer.write(1, frame)
        writer.write(1, frame)


KILLED = """
import numpy as np, sys, time
from fractions import Fraction
from lipsync_core.media.stamped_writer import StampedWriter
from tests.media.test_stamped_writer import source_of
with StampedWriter(sys.argv[1], source_of(Fraction(1, 25), range(9))) as writer:
    for stamp in range(9):
        writer.write(stamp, np.zeros((72, 64), np.uint8))
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_no_result(tmp_path):
    out = tmp_path / "o.mp4"
    process = subprocess.Popen([sys.executable, "-c", KILLED, out], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.3)
    left = [file.suffix for file in tmp_path.iterdir()]
    assert left in ([], [".mp4"]) if not hasattr(os, "O_TMPFILE") else left == []
