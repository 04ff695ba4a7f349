"""Dubbing end to end with small networks: length, loops, faceless frames, names, the paste."""

import os
import subprocess
import tracemalloc
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks import dub_rates
from lipsync_core.audio import mel_window, melspectrogram
from lipsync_core.demo.photos import photo_path
from lipsync_core.dubbing import dub as dubbing
from lipsync_core.dubbing import faces, render, verify, writing
from lipsync_core.dubbing.dub import dub
from lipsync_core.dubbing.generators import Generator
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.detectors.base import Faces
from lipsync_core.media.audio import load_wav
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.native_frames import read_format, read_native_frames
from lipsync_core.media.video import VideoWriter, read_frames

pytestmark = pytest.mark.media

PORTRAIT = photo_path("collins")
BOX = (8, 104, 16, 112)  # top, bottom, left, right: 96 pixels a side, so that nothing is resized
SIZE = (128, 112)


class Stub:
    """An engine that paints `level`, or, without one, the true face; it keeps what it saw."""

    name, image_size, batch_size = "stub", 96, 16

    def __init__(self, level=None):
        self.level, self.mels, self.batches = level, [], []

    def run(self, mels, faces):
        self.mels.append(mels)
        self.batches.append(len(faces))
        true = faces[:, 3:].transpose(0, 2, 3, 1)
        return true if self.level is None else np.full_like(true, self.level)


@pytest.fixture
def stub(monkeypatch):
    """Put a Stub in the place of the checkpoint's network."""

    def install(level=None):
        engine = Stub(level)

        def load(path, device, precision, max_batch, seen_from):
            return Generator(engine, max_batch)

        monkeypatch.setattr(dubbing, "load_generator", load)
        return engine

    return install


@pytest.fixture
def detector(monkeypatch):
    """A detector that finds the box (16, 8, 112, 104) in every frame that is not dark."""

    class Bright:
        name, on_gpu = "bright", False

        def detect_faces(self, frames):
            box = np.array([[16, 8, 112, 104, 1]], np.float32)
            box[:, :4] *= frames.shape[2] / SIZE[0]
            found = [box[: int(frame.mean() > 40)] for frame in frames]
            return [Faces(boxes, np.empty((len(boxes), 0), np.float32)) for boxes in found]

    monkeypatch.setattr(faces.detectors, "build", lambda *args, **kwargs: Bright())


def sound(path, seconds, rate=16000):
    """Write a WAV of noise under a slow envelope."""
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(1).normal(0, 3000, len(times)) * np.sin(2 * np.pi * 3 * times)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(noise.astype("<i2").tobytes())
    return path


def video(path, levels, audio=None, size=SIZE):
    """Write one smooth frame a level: level on the left, a little more on the right."""
    ramp = np.linspace(0, 20, size[0])[None, :, None] * np.ones((size[1], 1, 3))
    with VideoWriter(path, size, audio=audio) as writer:
        for level in levels:
            writer.write((ramp + level).astype(np.uint8))
    return path


def frames_of(path, fps=25):
    return np.stack(list(read_frames(path, fps))).astype(np.float32)


def lengths(path):
    """Seconds of the picture and of the sound."""
    with av.open(str(path)) as container:
        return [
            float(stream.duration * stream.time_base)
            for stream in (container.streams.video[0], container.streams.audio[0])
        ]


def test_the_true_face_gives_the_input_back(tmp_path, stub, checkpoint):
    generator = stub()
    face = video(tmp_path / "face.mp4", range(60, 80))
    copy = tmp_path / "copy.mp4"  # what the codec alone does to the frames
    with VideoWriter(copy, SIZE) as writer:
        for frame in read_frames(face):
            writer.write(frame)
    for blend in ("soft", "hard"):
        out = tmp_path / f"{blend}.mp4"
        dub(
            face,
            sound(tmp_path / "a.wav", 0.8),
            checkpoint,
            out,
            box=BOX,
            blend=blend,
            device="cpu",
        )
        assert np.abs(frames_of(out) - frames_of(copy)).max() < 8  # levels of 255
        assert np.abs(frames_of(out) - frames_of(copy)).mean() < 0.5
    assert generator.batches == 2 * [16, 4]


@pytest.mark.parametrize("seconds", [0.06, 0.99, 1.013, 1.03])
@pytest.mark.parametrize("shown", [3, 40])
def test_as_long_as_the_sound(tmp_path, checkpoint, seconds, shown):
    out = tmp_path / "out.mp4"
    face = video(tmp_path / "face.mp4", [100] * shown)
    stats = dub(face, sound(tmp_path / "a.wav", seconds), checkpoint, out, box=BOX)
    picture, heard = lengths(out)
    assert abs(picture - seconds) <= 0.0201 and abs(heard - seconds) <= 0.0201
    assert stats.frames == len(frames_of(out)) == round(picture * 25)
    assert stats.seconds == pytest.approx(picture)
    assert stats.source_frames == min(shown, stats.frames)


def test_short_video_starts_again(tmp_path, stub, checkpoint):
    stub()
    levels = [60, 100, 140, 180]
    out = tmp_path / "out.mp4"
    stats = dub(
        video(tmp_path / "f.mp4", levels), sound(tmp_path / "a.wav", 0.5), checkpoint, out, box=BOX
    )
    assert (stats.frames, stats.source_frames) == (12, 4)
    np.testing.assert_allclose(frames_of(out).mean((1, 2, 3)) - 10, levels * 3, atol=4)


def test_frames_without_a_face_pass_unchanged(tmp_path, stub, detector, checkpoint):
    stub(level=1.0)
    levels = [100] * 15 + [10] * 15 + [100] * 5
    face = video(tmp_path / "face.mp4", levels)
    out = tmp_path / "out.mp4"
    stats = dub(face, sound(tmp_path / "a.wav", 3.0), checkpoint, out, max_gap=5, blend="hard")
    assert stats.faceless_frames == 15 + 15 and stats.frames == 75
    before, after = frames_of(face), frames_of(out)
    dark = [number for number in range(75) if levels[number % 35] == 10]
    lit = sorted(set(range(75)) - set(dark))
    assert np.abs(after[dark] - before[[n % 35 for n in dark]]).mean() < 3
    mouth = after[lit, 75:90, 40:90]
    assert mouth.mean() > 245


def test_short_gap_is_bridged(tmp_path, stub, detector, checkpoint):
    stub(level=1.0)
    # Too little darker for a cut from one shot to another, over which nothing is bridged.
    face = video(tmp_path / "face.mp4", [50] * 10 + [32] * 3 + [50] * 12)
    stats = dub(face, sound(tmp_path / "a.wav", 1.0), checkpoint, tmp_path / "out.mp4", max_gap=5)
    assert stats.faceless_frames == 0


def test_no_face_at_all(tmp_path, stub, detector, checkpoint):
    stub()
    face = video(tmp_path / "dark.mp4", [10] * 5)
    with pytest.raises(LipsyncError, match=r"dark\.mp4: no face .*--box"):
        dub(face, sound(tmp_path / "a.wav", 0.5), checkpoint, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "dark.mp4"]


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".mkv", ".flac"])
def test_sound_of_any_kind(tmp_path, checkpoint, suffix):
    audio = tmp_path / f"sound{suffix}"
    plain = sound(tmp_path / "a.wav", 1.0, rate=44100)
    if suffix == ".mkv":
        video(audio, [50] * 25, audio=plain)
    else:
        command = [ffmpeg_exe(), "-loglevel", "error", "-i", str(plain), "-ac", "2", str(audio)]
        subprocess.run(command, check=True)
    out = tmp_path / "out.mp4"
    stats = dub(video(tmp_path / "f.mp4", [90] * 9), audio, checkpoint, out, box=BOX)
    wanted = len(load_wav(audio)) / 16000
    assert abs(wanted - 1) < 0.1
    picture, heard = lengths(out)
    packet = 1024 / 44100  # a copied track ends with a whole one
    assert abs(picture - wanted) <= 0.0201 and abs(heard - wanted) <= packet
    assert abs(stats.seconds - wanted) <= 0.0201


@pytest.mark.parametrize(
    "name", ["two  words", 'it\'s "so" $HOME;#&', "лицо 顔 ő", "-dash", "100%d"]
)
def test_names(tmp_path, checkpoint, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face = video(Path(f"{name}.mp4"), [90] * 5)
    audio = sound(Path(f"{name}.wav"), 0.2)
    model = Path(f"{name}.pth")
    model.write_bytes(checkpoint.read_bytes())
    dub(face, audio, model, f"{name} out.mp4", box=BOX)
    assert len(frames_of(Path(f"{name} out.mp4"))) == 5


def test_still_at_its_own_rate(tmp_path, stub, checkpoint):
    generator = stub(level=1.0)
    face = tmp_path / "face.jpg"
    cv2.imwrite(str(face), np.full((112, 129, 3), 90, np.uint8))
    audio, out = sound(tmp_path / "a.wav", 1.0), tmp_path / "out.mp4"
    stats = dub(face, audio, checkpoint, out, box=BOX, fps="30000/1001", batch_size=7)
    assert (stats.frames, stats.width, stats.source_frames) == (30, 130, 1)  # made even
    assert abs(lengths(out)[0] - 1) < 0.018
    assert sum(generator.batches) == 30 and max(generator.batches) == 7
    mel = melspectrogram(load_wav(audio)).T
    for number, window in enumerate(np.concatenate(generator.mels)):
        expected = mel_window(mel, number, 30000 / 1001)
        np.testing.assert_allclose(window, expected, atol=1e-4)


@pytest.mark.parametrize("name", dub_rates.RATES)
def test_a_video_keeps_its_frame_rate_and_its_mouths_their_time(tmp_path, name):
    rate = dub_rates.RATES[name]
    found = dub_rates.dub_film(rate, 3, tmp_path)
    shown, source = (dub_rates.times(tmp_path / name) for name in ("dubbed.mp4", "film.mp4"))
    once = min(len(shown), len(source))  # where the film is shorter, it starts again
    np.testing.assert_array_equal(shown[:once], source[:once])
    assert len(shown) - once <= 1
    gap = np.diff(source).max()
    assert rate is None or found.rate == rate
    assert abs(found.seconds - found.audio) <= 0.5 * gap + 1e-4
    assert len(found.errors) == found.events > 1
    assert np.abs(found.errors).max() <= 2  # ms


@pytest.mark.parametrize("length", ["loop", "ping-pong", "hold", "trim"])
def test_as_long_as_the_sound_where_frames_are_far_apart(tmp_path, stub, checkpoint, length):
    stub()
    frames = video(tmp_path / "frames.mp4", range(60, 100))
    face = tmp_path / "face.mp4"  # ten frames, none for 0.8 s, and ten frames
    command = [ffmpeg_exe(), "-v", "error", "-i", str(frames), "-fps_mode", "passthrough"]
    subprocess.run([*command, "-vf", "select=lt(n\\,10)+gte(n\\,30)", str(face)], check=True)
    out = tmp_path / "out.mp4"
    audio = sound(tmp_path / "a.wav", 0.9)
    stats = dub(face, audio, checkpoint, out, box=BOX, length=length)
    assert lengths(out) == pytest.approx([0.9, 0.9], abs=0.0201)
    assert (stats.source_frames, stats.frames) == (10, 22)


def test_a_rate_can_be_forced(tmp_path, stub, checkpoint):
    stub()
    face = video(tmp_path / "face.mp4", [60] * 10)
    out = tmp_path / "out.mp4"
    stats = dub(face, sound(tmp_path / "a.wav", 1.0), checkpoint, out, box=BOX, fps=50)
    assert (stats.fps, stats.frames, stats.source_frames) == (50, 50, 10)


def test_gaps_last_as_long_at_another_rate(tmp_path, stub, detector, checkpoint):
    stub(level=1.0)
    face = tmp_path / "face.mp4"
    ramp = np.linspace(0, 20, SIZE[0])[None, :, None] * np.ones((SIZE[1], 1, 3))
    with VideoWriter(face, SIZE, fps=50) as writer:
        for level in [50] * 20 + [32] * 8 + [50] * 22:  # 0.16 s without a face
            writer.write((ramp + level).astype(np.uint8))
    stats = dub(face, sound(tmp_path / "a.wav", 1.0), checkpoint, tmp_path / "out.mp4", max_gap=5)
    assert (stats.fps, stats.faceless_frames) == (50, 0)


def test_the_sound_goes_in_as_it_is(tmp_path, stub, checkpoint):
    stub()
    mono = sound(tmp_path / "a.wav", 1.0, rate=44100)
    film = tmp_path / "two languages.mkv"
    command = [ffmpeg_exe(), "-loglevel", "error", "-i", str(mono), "-i", str(mono)]
    command += ["-map", "0", "-map", "1", "-ac:0", "2", "-ar:1", "22050", str(film)]
    subprocess.run(command, check=True)
    out = tmp_path / "out.mp4"
    dub(video(tmp_path / "f.mp4", [90] * 9), film, checkpoint, out, box=BOX)
    with av.open(str(out)) as container:
        (track,) = container.streams.audio  # the first language alone
        assert (track.rate, track.channels) == (44100, 2)


def test_no_program_opens_the_sound_without_limits(tmp_path, stub, checkpoint, monkeypatch):
    stub()
    commands = []
    start = subprocess.Popen.__init__

    def spy(self, command, *args, **kwargs):
        commands.append([str(word) for word in command])
        start(self, command, *args, **kwargs)

    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    monkeypatch.setattr(subprocess.Popen, "__init__", spy)
    dub(face, audio, checkpoint, tmp_path / "out.mp4", box=BOX)
    opened = [command for command in commands if {str(face), str(audio)} & set(command)]
    assert len(opened) >= 3
    for command in opened:
        assert command[command.index("-protocol_whitelist") + 1] == "file"
        assert "-max_pixels" in command


def test_a_pipe_is_no_input(tmp_path, checkpoint):
    os.mkfifo(tmp_path / "pipe")
    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    for files in ((tmp_path / "pipe", audio), (face, tmp_path / "pipe")):
        with pytest.raises(LipsyncError, match=r"pipe: the (face|audio) is no file; write it"):
            dub(*files, checkpoint, tmp_path / "out.mp4", box=BOX)


def test_memory_does_not_grow_with_the_sound(tmp_path, stub, checkpoint):
    stub()
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), np.full((112, 128, 3), 90, np.uint8))
    peaks = []
    for seconds in (40, 160):
        audio = sound(tmp_path / "a.wav", seconds)
        tracemalloc.start()
        dub(face, audio, checkpoint, tmp_path / "out.mp4", box=BOX, fps=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Two minutes of samples and mel columns are 11 MB.
    assert peaks[1] - peaks[0] < 3 << 20


def test_static_video_shows_its_first_frame(tmp_path, stub, checkpoint):
    stub()
    face = video(tmp_path / "face.mp4", [60, 120, 180])
    out = tmp_path / "out.mp4"
    stats = dub(face, sound(tmp_path / "a.wav", 0.4), checkpoint, out, box=BOX, static=True)
    assert (stats.frames, stats.source_frames) == (10, 1)
    np.testing.assert_allclose(frames_of(out).mean((1, 2, 3)) - 10, 60, atol=4)


def test_batches_do_not_matter(tmp_path, checkpoint, monkeypatch):
    face, audio = video(tmp_path / "f.mp4", range(60, 80)), sound(tmp_path / "a.wav", 0.8)
    results = []
    for batch_size, room in ((1, 1 << 30), (128, 1 << 30), (128, 5 * 128 * 112 * 3)):
        monkeypatch.setattr(render, "MAX_BATCH_BYTES", room)
        out = tmp_path / f"{len(results)}.mp4"
        dub(face, audio, checkpoint, out, box=BOX, batch_size=batch_size)
        results.append(frames_of(out))
    assert all(np.abs(result - results[0]).mean() < 0.2 for result in results)


def test_the_file_says_what_it_is(tmp_path, checkpoint):
    out = tmp_path / "new folder" / "out.mp4"
    dub(
        video(tmp_path / "f.mp4", [90] * 5),
        sound(tmp_path / "a.wav", 0.2),
        checkpoint,
        out,
        box=BOX,
    )
    with av.open(str(out)) as container:
        assert container.metadata["comment"].startswith("synthetic: lip-synced by lipsync ")
    assert verify.verify(out).claim["model"] == "wav2lip"
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pads": (1, 2)}, "pads"),
        ({"box": (50, 40, 0, 90)}, "box"),
        ({"box": (500, 600, 500, 600)}, "box .* outside"),
        ({"crop": (0, 1, 0, 1)}, "crop"),
        ({"resize_factor": 0}, "resize_factor"),
        ({"batch_size": 0}, "batch_size"),
        ({"long_side": 0}, "long_side"),
        ({"fps": "fast"}, "fps"),
        ({"fps": 1000}, "fps"),
        ({"blend": "glue"}, "blend"),
        ({"detector": "eyes"}, "detector"),
    ],
)
def test_options_out_of_range(tmp_path, checkpoint, options, message):
    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    with pytest.raises(LipsyncError, match=message):
        dub(face, audio, checkpoint, tmp_path / "out.mp4", **options)
    assert not (tmp_path / "out.mp4").exists()


def test_unusable_files(tmp_path, checkpoint):
    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    out = tmp_path / "out.mp4"
    blip = sound(tmp_path / "blip.wav", 0.01)
    for args, message in [
        ((tmp_path / "no.mp4", audio, checkpoint, out), "no.mp4: no such face file"),
        ((face, tmp_path / "no.wav", checkpoint, out), "no.wav: no such audio file"),
        ((face, audio, tmp_path / "no.pth", out), "no.pth: no such checkpoint file"),
        ((audio, audio, checkpoint, out), "no_video"),
        ((face, face, checkpoint, out), "no_audio"),
        ((face, blip, checkpoint, out), "too short"),
        ((face, audio, audio, out), "a.wav"),
        ((face, audio, checkpoint, face), "replace an input"),
        ((face, audio, checkpoint, tmp_path), "file name"),
        ((face, audio, checkpoint, tmp_path / "result"), "file name"),
    ]:
        with pytest.raises(LipsyncError, match=message):
            dub(*args, box=BOX)
    assert not out.exists() and len(frames_of(face)) == 5


def test_a_real_face_is_found(tmp_path, stub, checkpoint):
    stub(level=1.0)
    out = tmp_path / "out.mp4"
    options = {"detector": "centerface", "occluder": "ignore"}  # a white mouth is no mouth
    stats = dub(PORTRAIT, sound(tmp_path / "a.wav", 0.2), checkpoint, out, **options)
    assert (stats.frames, stats.faceless_frames, stats.width) == (5, 0, 512)
    before = cv2.imread(str(PORTRAIT)).astype(np.float32)
    changed = np.abs(frames_of(out)[2] - before).mean(axis=2)
    # The generated face takes the color of the skin; her mouth is at about x 225, y 150.
    assert changed[146:158, 210:240].mean() > 15
    # The eyes, the hair and the suit stay.
    for rows, columns in ((slice(95, 118), slice(180, 270)), (slice(0, 512), slice(300, 512))):
        assert changed[rows, columns].mean() < 4


class FacesByColor:
    """A detector of bright rectangles: a blob of gray is a face; it counts its frames."""

    name, on_gpu = "blobs", False

    def __init__(self):
        self.frames = 0

    def detect_faces(self, frames):
        self.frames += len(frames)
        found = []
        for frame in frames:
            _, _, boxes, _ = cv2.connectedComponentsWithStats((frame[..., 1] > 60).astype(np.uint8))
            boxes = boxes[1:][boxes[1:, 4] > 60]
            corners = np.column_stack((boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]))
            scores = np.ones((len(boxes), 1))
            found.append(np.concatenate((corners, scores), axis=1).astype(np.float32))
        return [Faces(boxes, np.empty((len(boxes), 0), np.float32)) for boxes in found]


@pytest.fixture
def blobs(monkeypatch):
    detector = FacesByColor()
    monkeypatch.setattr(faces.detectors, "build", lambda *args, **kwargs: detector)
    return detector


def two_people(path, frames=20):
    """A large face at the left, a smaller one at the right, 200 x 100 pixels."""
    with VideoWriter(path, (200, 100)) as writer:
        for _ in range(frames):
            frame = np.full((100, 200, 3), 20, np.uint8)
            frame[10:90, 10:80], frame[30:80, 130:180] = 100, 100
            writer.write(frame)
    return path


def test_the_next_sound_on_a_face_does_not_look_for_it_again(
    tmp_path, stub, blobs, checkpoint, caplog
):
    stub()
    face, kept = two_people(tmp_path / "f.mp4"), tmp_path / "faces"

    def run(**options):
        out = tmp_path / "out.mp4"
        return dub(face, sound(tmp_path / "a.wav", 0.4), checkpoint, out, faces_dir=kept, **options)

    run()
    looked = blobs.frames
    run()
    run(pads=(0, 0, 0, 0), face_select="index 2", smooth=False)  # not what detection depends on
    assert blobs.frames == looked > 0
    run(long_side=120)
    assert blobs.frames > looked
    looked = blobs.frames
    for path in kept.iterdir():
        path.write_bytes(b"damaged")
    run()
    assert blobs.frames > looked and "found again" in caplog.text


def test_two_voices_on_two_faces(tmp_path, monkeypatch, blobs, checkpoint):
    """Each face is drawn from its own sound; all else stays as it is, bit by bit."""
    quiet, loud = tmp_path / "quiet.wav", tmp_path / "loud.wav"
    for path, level in ((quiet, 300), (loud, 9000)):
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, 16000, 0, "NONE", ""))
            noise = np.random.default_rng(0).normal(0, level, 8000)
            out.writeframes(noise.astype("<i2").tobytes())

    class Loudness(Stub):
        def run(self, mels, crops):
            levels = (mels.mean(axis=(1, 2)) > -1).astype(np.float32)
            return np.broadcast_to(levels[:, None, None, None], (len(crops), 96, 96, 3)).copy()

    monkeypatch.setattr(dubbing, "load_generator", lambda *args: Generator(Loudness(), 16))
    written = []

    class Writer(writing.StampedWriter):
        def write(self, stamp, frame):
            written.append(frame.copy())
            super().write(stamp, frame)

    monkeypatch.setattr(writing, "StampedWriter", Writer)
    face = two_people(tmp_path / "f.mp4")
    voices = {"index 1": loud, "index 2": quiet}
    stats = dub(face, voices, checkpoint, tmp_path / "out.mp4", blend="hard", silence="follow")
    assert stats.sound == "encoded" and stats.faceless_frames == 0
    source = [frame for _, frame in read_native_frames(face, read_format(face))]
    assert len(written) == 12  # 0.5 s, within half a frame
    for before, after in zip(source, written, strict=False):
        assert after[40:60, 30:60].mean() > 200 and after[50:60, 140:170].mean() < 30
        changed = before != after
        changed[:100, 8:82] = changed[:100, 128:182] = False
        assert not changed[:100].any()


def test_a_cancelled_dubbing_leaves_nothing(tmp_path, stub, checkpoint):
    stub()

    def cancel(done, total):
        assert total == 20
        if done == 5:
            raise KeyboardInterrupt

    face, audio = video(tmp_path / "f.mp4", [90] * 30), sound(tmp_path / "a.wav", 0.8)
    with pytest.raises(KeyboardInterrupt):
        dub(face, audio, checkpoint, tmp_path / "out.mp4", box=BOX, on_progress=cancel)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "f.mp4"]


def test_another_sound_can_be_heard(tmp_path, stub, checkpoint):
    stub()
    face, voice = video(tmp_path / "f.mp4", [90] * 30), sound(tmp_path / "a.wav", 0.8)
    mix = sound(tmp_path / "mix.wav", 1.2, rate=44100)
    out = tmp_path / "out.mp4"
    dub(face, voice, checkpoint, out, box=BOX, final_audio=str(mix))
    with av.open(str(out)) as container:
        assert container.streams.audio[0].rate == 44100
    assert lengths(out) == pytest.approx([1.2, 1.2], abs=0.02)


def test_a_signature_needs_both_files(tmp_path, checkpoint):
    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    with pytest.raises(LipsyncError, match="sign_cert and sign_key: give both"):
        dub(face, audio, checkpoint, tmp_path / "out.mp4", box=BOX, sign_cert="c.pem")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sign_cert": "bad.txt", "sign_key": "bad.txt"}, r"bad\.txt: no PEM file|c2pa-python"),
        ({"enhancer": "bad.txt"}, r"bad\.txt: is no ONNX model"),
        ({"final_audio": "bad.txt"}, r"bad\.txt"),
        ({"label": "A label that is far too long for a frame " * 9}, "label .* does not fit"),
        ({"face_select": "reference none.png"}, r"reference none\.png.*no such picture"),
    ],
)
def test_what_is_wrong_is_told_before_faces_are_looked_for(
    tmp_path, stub, checkpoint, monkeypatch, options, message
):
    stub()
    monkeypatch.setattr(faces, "find_faces", lambda *_, **__: pytest.fail("looked for faces"))
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text("neither a key, nor a model, nor a sound")
    face, audio = video(tmp_path / "f.mp4", [90] * 5), sound(tmp_path / "a.wav", 0.2)
    with pytest.raises(LipsyncError, match=message):
        dub(face, audio, checkpoint, tmp_path / "out.mp4", faces_dir=tmp_path, **options)
