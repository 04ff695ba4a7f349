"""Make the picture at the top of the README: the source face, generated frames, and their audio.

    python -m docs.demo_picture --dub results/result_voice.mp4 --face FACE --out OUT.jpg

FACE is the face file of that dubbing, a video or a still picture. The first cell shows its first
frame; the others show frames of the dubbing, one from each equal part of its length, and always the
one whose lower half differs most from the frame shown before. Below is the waveform; marks show
where the frames are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.audio import load_wav
from lipsync_core.faces.decoding import open_frames
from lipsync_core.media.audio import SAMPLE_RATE
from lipsync_core.media.video import FPS, PathLike
from lipsync_core.runtime.files import atomic_path

FRAMES = 6
FRAME_WIDTH, WAVE_HEIGHT, LABEL_HEIGHT, GAP = 200, 60, 26, 6  # pixels
BACKGROUND, INK, MARK = (255, 255, 255), (70, 70, 70), (60, 90, 220)  # BGR
JPEG_QUALITY = 88


def demo_picture(dub: PathLike, face: PathLike, count: int = FRAMES) -> np.ndarray:
    """The picture, uint8 (H, W, 3) BGR, of a dubbing and its face file."""
    source = _scaled(next(open_frames(face)[2]))
    frames = [_scaled(frame) for frame in open_frames(dub)[2]]
    chosen = choose_frames(source, frames, count)
    labels = ["source", *(f"{index / FPS:.2f} s" for index in chosen)]
    cells = [_cell(source, labels[0])]
    cells += [_cell(frames[index], label) for index, label in zip(chosen, labels[1:], strict=True)]
    height = max(cell.shape[0] for cell in cells)
    cells = [_padded(cell, bottom=height - cell.shape[0]) for cell in cells]
    strip = np.hstack([_padded(cell, right=GAP) for cell in cells])[:, :-GAP]
    wave = _waveform(load_wav(dub), strip.shape[1], [index / FPS for index in chosen])
    return np.vstack([strip, wave])


def choose_frames(source: np.ndarray, frames: list[np.ndarray], count: int) -> list[int]:
    """Numbers of `count` frames, one from each equal part: see the module's docstring."""
    chosen, previous = [], source
    for part in np.array_split(np.arange(len(frames)), min(count, len(frames))):
        differences = [_difference(frames[index], previous) for index in part]
        chosen.append(int(part[int(np.argmax(differences))]))
        previous = frames[chosen[-1]]
    return chosen


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of the lower halves of two frames."""
    other = cv2.resize(other, one.shape[1::-1], interpolation=cv2.INTER_AREA)
    half = one.shape[0] // 2
    return float(cv2.absdiff(one[half:], other[half:]).mean())


def _scaled(frame: np.ndarray) -> np.ndarray:
    height = round(frame.shape[0] * FRAME_WIDTH / frame.shape[1])
    return cv2.resize(frame, (FRAME_WIDTH, height), interpolation=cv2.INTER_AREA)


def _padded(image: np.ndarray, bottom: int = 0, right: int = 0) -> np.ndarray:
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=BACKGROUND)


def _cell(frame: np.ndarray, label: str) -> np.ndarray:
    cell = _padded(frame, bottom=LABEL_HEIGHT)
    place = (4, cell.shape[0] - 8)
    return cv2.putText(cell, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)


def _waveform(wav: np.ndarray, width: int, times: list[float]) -> np.ndarray:
    """The amplitude of a wave (N,) at 16 kHz over `width` pixels, with a mark at each time (s)."""
    picture = np.full((WAVE_HEIGHT, width, 3), BACKGROUND, np.uint8)
    peaks = np.array([np.abs(part).max(initial=0) for part in np.array_split(wav, width)])
    heights = np.rint(peaks / max(float(peaks.max()), 1e-6) * (WAVE_HEIGHT / 2 - 2)).astype(int)
    middle = WAVE_HEIGHT // 2
    for x, reach in enumerate(heights.tolist()):
        cv2.line(picture, (x, middle - reach), (x, middle + reach), INK, 1)
    for time in times:
        x = min(width - 1, round(time * SAMPLE_RATE / max(len(wav), 1) * width))
        cv2.line(picture, (x, 0), (x, WAVE_HEIGHT - 1), MARK, 2)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dub", required=True, help="a dubbed video")
    parser.add_argument("--face", required=True, help="the face file of that dubbing")
    parser.add_argument("--out", default="docs/images/demo.jpg", help="JPEG file to write")
    options = parser.parse_args()
    data = cv2.imencode(
        ".jpg", demo_picture(options.dub, options.face), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )[1]
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.out) as temporary:
        temporary.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
