from __future__ import annotations

import wave
from fractions import Fraction

import numpy as np
import pytest

from lipsync_core.corpus import clips
from lipsync_core.errors import ClipError
from lipsync_core.media.audio import load_wav
from lipsync_core.media.video import VideoWriter, read_frames
from lipsync_core.preparation import segments

pytestmark = pytest.mark.media

EVENT = 1.6  # seconds: picture and sound begin


@pytest.fixture
def corpus(tmp_path):
    """A three-second video, dark and still at first; a list that names a part of it."""
    data = tmp_path / "data"
    data.mkdir()
    samples = np.zeros(3 * 16000)
    samples[int(EVENT * 16000) :] = 0.5 * np.sin(np.arange(int(1.4 * 16000)) * 0.4)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    writer = VideoWriter(data / "AAAA_BBB-CC.mp4", (64, 64), audio=tmp_path / "sound.wav")
    with writer:
        for frame in range(75):
            writer.write(np.full((64, 64, 3), 230 if frame >= EVENT * 25 else 20, np.uint8))
    (data / "avspeech_train.csv").write_text("AAAA_BBB-CC,1.2,2.4,0.5,0.5\n")
    return tmp_path


def found(folder) -> clips.Clip:
    (clip,) = clips.discover(
        folder / "data", 1, layout="avspeech", segments=folder / "results/cuts"
    )
    return clip


def test_audio_and_video_start_at_the_listed_time(corpus):
    clip = found(corpus)
    segments.ensure_segment(clip, corpus / "data")
    part = clip.source(corpus / "data")
    assert part.resolve().is_relative_to(corpus / "results/cuts/AAAA_BBB-CC")
    bright = [frame.mean() > 128 for frame in read_frames(part)]
    assert (len(bright), bright.index(True)) == (30, 10)
    wav = load_wav(part)
    assert len(wav) == pytest.approx(1.2 * 16000, abs=700)
    assert np.argmax(np.abs(wav) > 0.1) / 16000 == pytest.approx(EVENT - 1.2, abs=0.02)


def test_cut_once_and_again_when_the_video_changed(corpus):
    first = found(corpus)
    segments.ensure_segment(first, corpus / "data")
    part = first.source(corpus / "data")
    before = part.stat().st_mtime_ns
    segments.ensure_segment(first, corpus / "data")
    assert part.stat().st_mtime_ns == before
    video = first.origin_source(corpus / "data")
    video.write_bytes(video.read_bytes() + b"\0")
    second = found(corpus)
    segments.ensure_segment(second, corpus / "data")
    assert not part.exists()
    assert second.source(corpus / "data").is_file()


def test_what_cannot_be_cut_is_dropped(corpus):
    (corpus / "data/AAAA_BBB-CC.mp4").write_bytes(b"no video")
    with pytest.raises(ClipError, match="unreadable"):
        segments.ensure_segment(found(corpus), corpus / "data")
    assert not list((corpus / "results").rglob("*.mkv"))


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 60])
def test_a_manifest_s_segment_has_exactly_its_frames(tmp_path, fps):
    """From the frame at `start` (included) to that at `end` (excluded), whatever the rate."""
    data = tmp_path / "data"
    data.mkdir()
    with VideoWriter(data / "v.mp4", (64, 64), fps=fps) as writer:
        for frame in range(80):
            picture = np.full((64, 64, 3), 40, np.uint8)
            for bit in range(7):  # the frame's number in seven blocks
                picture[:, 9 * bit : 9 * bit + 9] = 230 if frame >> bit & 1 else 20
            writer.write(picture)
    first, last = 10, 47  # 333.67 ms at 29.97: rounded to milliseconds it would begin late
    start, end = (float(frame / Fraction(fps)) for frame in (first, last))
    (data / "manifest.csv").write_text(f"video,start,end\nv.mp4,{start},{end}\n")
    (clip,) = clips.discover(data, 1, layout="manifest", segments=tmp_path / "cuts")
    segments.ensure_segment(clip, data)
    shown = [
        sum((frame[32, 9 * bit + 4].mean() > 128) << bit for bit in range(7))
        for frame in read_frames(clip.source(data), fps=fps)
    ]
    assert shown == list(range(first, last))
