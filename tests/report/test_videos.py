"""Videos that the report makes: worst clips with their sound, dubbings beside their source."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.faces.archive import write_archive
from lipsync_core.media.audio import load_wav, write_wav
from lipsync_core.media.video import probe, read_frames
from lipsync_core.report import previews, side_by_side, syncnet
from tests.support.media import portrait, write_video

RATE, FRAME = 16000, 640


def write_clip(results: Path, frames: int = 200, gap: range = range(0)) -> None:
    """A clip whose crops brighten along it; a beep from frame 100 on."""
    with write_archive(results / "faces" / "a" / "1.zip") as archive:
        for frame in range(frames):
            if frame not in gap:
                image = np.full((96, 96, 3), 20 + frame, np.uint8)
                archive.add(frame, cv2.imencode(".jpg", image)[1].tobytes())
    time = np.arange(frames * FRAME)
    beep = (8000 * np.sin(time * 0.3) * (time >= 100 * FRAME)).astype("<i2")
    (results / "audio" / "a").mkdir(parents=True)
    write_wav(results / "audio" / "a" / "1.wav", [beep])


def shown(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean gray level of each frame, and the loudness of each frame's audio."""
    path.write_bytes(content)
    levels = np.array([frame.mean() for frame in read_frames(path)])
    wav = load_wav(path)[: len(levels) * FRAME]
    return levels, np.abs(wav[: len(wav) // FRAME * FRAME]).reshape(-1, FRAME).mean(axis=1)


def test_a_preview_is_the_middle_of_the_clip_with_its_sound(tmp_path: Path) -> None:
    (tmp_path / "faces" / "a").mkdir(parents=True)
    write_clip(tmp_path, gap=range(110, 120))
    content = previews.clip_preview(tmp_path, "a/1", "val")
    levels, loudness = shown(content, tmp_path / "p.mp4")
    assert len(levels) == 100 and abs(levels[0] - 70) < 4 and abs(levels[-1] - 169) < 4
    assert np.flatnonzero(loudness > 0.05)[0] in (49, 50, 51)  # frame 100 of the clip
    assert abs(levels[69] - levels[60]) < 3  # frames without a crop repeat the last one
    found = probe(tmp_path / "p.mp4")
    assert found.has_audio and (found.width, found.height) == (192, 192)
    assert content == previews.clip_preview(tmp_path, "a/1", "val")


def test_a_preview_has_the_part_and_the_shift_of_its_list(tmp_path: Path) -> None:
    (tmp_path / "faces" / "a").mkdir(parents=True)
    write_clip(tmp_path)
    (tmp_path / "filelists").mkdir()
    (tmp_path / "filelists" / "test.txt").write_text(f"a/1\t80-139\t+{10 * FRAME}\n")
    levels, loudness = shown(previews.clip_preview(tmp_path, "a/1", "test"), tmp_path / "p.mp4")
    assert len(levels) == 60 and abs(levels[0] - 100) < 4
    assert np.flatnonzero(loudness > 0.05)[0] in (29, 30, 31)  # frame 110


def test_a_clip_that_cannot_be_read_has_no_preview(tmp_path: Path) -> None:
    assert previews.clip_preview(tmp_path, "no/ne", "val") == b""
    (tmp_path / "faces" / "a").mkdir(parents=True)
    write_clip(tmp_path, 50)
    (tmp_path / "audio" / "a" / "1.wav").write_bytes(b"RIFF")
    assert previews.clip_preview(tmp_path, "a/1", "val") == b""


def test_worst_clips_have_players_within_their_limit(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "faces" / "a").mkdir(parents=True)
    write_clip(tmp_path, 60)
    evaluation = {"syncnet": {"per_clip": {"val": [{"clip": "a/1", "loss": 1.0}]}}}
    (worst,) = syncnet.worst_clips(tmp_path, evaluation, [], None)
    assert worst.video.startswith("data:video/mp4;base64,")
    monkeypatch.setattr(syncnet, "WORST_BYTES", 100)
    (worst,) = syncnet.worst_clips(tmp_path, evaluation, [], None)
    assert worst.video == "" and worst.strip is not None


def test_a_dubbing_is_shown_beside_its_source(tmp_path: Path) -> None:
    source, dubbed = tmp_path / "face.mp4", tmp_path / "out.mp4"
    write_video(source, 0.4)
    write_video(dubbed, 1.0)  # the source starts again
    entry = {"face": str(source), "audio": "a.wav"}
    content = side_by_side.beside(entry, dubbed, tmp_path, tmp_path)
    (tmp_path / "b.mp4").write_bytes(content)
    found, one = probe(tmp_path / "b.mp4"), probe(source)
    assert found.has_audio and found.height == side_by_side.HEIGHT
    assert abs(found.width / found.height - 2 * one.width / one.height) < 0.03
    frames = list(read_frames(tmp_path / "b.mp4"))
    assert len(frames) == 25
    half = frames[0].shape[1] // 2
    # The first frames of both are the same picture.
    assert np.abs(frames[0][:, :half].astype(int) - frames[0][:, half:]).mean() < 8


def test_still_pictures_and_missing_files_are_not_shown_beside(tmp_path: Path) -> None:
    dubbed, picture = tmp_path / "out.mp4", tmp_path / "p.png"
    write_video(dubbed, 0.4)
    cv2.imwrite(str(picture), portrait())
    for face in (picture, tmp_path / "none.mp4"):
        entry = {"face": str(face), "audio": "a.wav"}
        assert side_by_side.beside(entry, dubbed, tmp_path, tmp_path) == b""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(io.BytesIO(b"no video").getvalue())
    entry = {"face": str(broken), "audio": "a.wav"}
    assert side_by_side.beside(entry, dubbed, tmp_path, tmp_path) == b""
