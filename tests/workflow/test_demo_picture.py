"""The script that makes the README's picture."""

import sys

import cv2
import numpy as np

from docs import demo_picture
from lipsync_core.media.video import VideoWriter
from tests.support.media import write_wav

GRAY, DARK = 128, 40


def frame(lower: int) -> np.ndarray:
    picture = np.full((80, 100, 3), GRAY, np.uint8)
    picture[40:] = lower
    return picture


def test_the_frame_that_differs_most_is_taken_from_each_part():
    levels = [128, 128, 40, 128, 40, 40, 128, 40]
    chosen = demo_picture.choose_frames(frame(GRAY), [frame(level) for level in levels], 2)
    assert chosen == [2, 6]  # dark where the source is gray, then gray again
    assert demo_picture.choose_frames(frame(GRAY), [frame(DARK)] * 2, 6) == [0, 1]


def test_source_frames_and_waveform_make_one_small_file(tmp_path, monkeypatch):
    face, dub, out = tmp_path / "face.png", tmp_path / "dub.mp4", tmp_path / "new" / "demo.jpg"
    cv2.imwrite(str(face), frame(GRAY))
    wav = write_wav(tmp_path / "a.wav", 1.0)
    with VideoWriter(dub, (100, 80), audio=wav, seconds=1.0) as writer:
        for number in range(25):
            writer.write(frame(DARK if number % 4 == 3 else GRAY))
    arguments = ["--dub", str(dub), "--face", str(face), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["demo_picture", *arguments])
    demo_picture.main()
    picture = cv2.imread(str(out))
    width = demo_picture.FRAME_WIDTH
    assert picture.shape[:2] == (160 + 26 + 60, 7 * width + 6 * demo_picture.GAP)
    cells = [picture[:160, at : at + width] for at in range(0, picture.shape[1], width + 6)]
    assert abs(cells[0][120:].mean() - GRAY) < 8  # the source
    assert abs(cells[1][120:].mean() - DARK) < 8  # and what differs most from it
    wave = picture[-60:]
    redness = (wave[..., 2].astype(int) - wave[..., 0]).mean(axis=0)
    marks = redness > 50
    assert np.count_nonzero(np.diff(marks.astype(int)) == 1) == demo_picture.FRAMES
    assert out.stat().st_size < 150_000
