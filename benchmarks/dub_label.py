"""The visible label: its contrast on real frames, and the time to draw it on one.

    python benchmarks/dub_label.py VIDEO... [--text TEXT] [--seconds 10] [--pictures DIR]

Contrast is that of WCAG 2 between letters and plate (luma, as gray): 4.5 is level AA, 7 level AAA.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.dubbing.label import draw_label, prepare_label
from lipsync_core.media.video import FPS, read_frames

REPEATS = 200


def luminance(luma: np.ndarray) -> np.ndarray:
    """Relative luminance of gray in limited-range luma, by sRGB."""
    level = np.clip((luma.astype(float) - 16) / 219, 0, 1)
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--text", default="AI-generated")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pictures", type=Path, help="write a labelled frame of each video here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'video':32} {'frame':>10} {'label':>9} {'frames':>6} {'least contrast':>14}")
    for path in options.videos:
        least, count, label = np.inf, 0, None
        with contextlib.closing(read_frames(path)) as frames:
            for bgr in itertools.islice(frames, 0, round(options.seconds * FPS), 5):
                frame = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
                height, width = bgr.shape[:2]
                label = label or prepare_label(options.text, width, height)
                draw_label(frame, label)
                opacity = 1 - label.luma[0] / label.luma[0].max()  # 1 on letters
                region = luminance(frame[label.rows, label.columns])
                letters, plate = region[opacity > 0.99].min(), region[opacity < 0.01].max()
                least, count = min(least, (letters + 0.05) / (plate + 0.05)), count + 1
        shape = f"{label.columns.stop - label.columns.start}x{label.rows.stop - label.rows.start}"
        print(f"{path.name:32} {width:5}x{height:<4} {shape:>9} {count:6} {least:14.1f}")
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            picture = cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420)
            cv2.imwrite(str(options.pictures / f"{path.stem}.png"), picture)
    print(f"\n{'frame':>10} {'prepare, ms':>12} {'draw, ms (median)':>18}")
    for width, height in ((640, 360), (1280, 720), (1920, 1080), (1080, 1920), (3840, 2160)):
        start = time.perf_counter()
        label = prepare_label(options.text, width, height)
        prepared = time.perf_counter() - start
        frame, taken = np.full((height * 3 // 2, width), 128, np.uint8), []
        for _ in range(REPEATS):
            start = time.perf_counter()
            draw_label(frame, label)
            taken.append(time.perf_counter() - start)
        print(f"{width:5}x{height:<4} {1000 * prepared:12.1f} {1000 * np.median(taken):18.3f}")


if __name__ == "__main__":
    main()
