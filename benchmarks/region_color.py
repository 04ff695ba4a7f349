"""Claim: regions are converted between I420 and BGR as exactly as ffmpeg converts, and back.

Frames of videos are taken as BT.601 and BT.709, limited and full range, and converted by `to_bgr`
and by ffmpeg: in its exact mode with the chroma of 2 x 2 pixels, in its exact mode with
interpolated chroma, and in its usual mode, which is darker.

    python -m benchmarks.region_color VIDEO [VIDEO ...]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
from pathlib import Path

import numpy as np

from lipsync_core.media.color import ColorTags, planes, to_bgr, to_planes
from lipsync_core.media.ffmpeg import ffmpeg_exe
from lipsync_core.media.native_frames import SourceFormat, read_format, read_native_frames

EXACT = "+accurate_rnd+full_chroma_int+full_chroma_inp"
MODES = {"exact": "neighbor" + EXACT, "interpolated": "bicubic" + EXACT, "usual": "bicubic"}
FRAMES, STEP = 4, 5


def converted(frames: list[np.ndarray], source: SourceFormat, color: ColorTags, flags: str):
    """BGR of I420 frames by ffmpeg: uint8 (n, H, W, 3)."""
    matrix = {"smpte170m": "bt601"}.get(color.matrix, color.matrix)
    levels = f"in_color_matrix={matrix}:in_range={color.range}"
    shape = f"{source.width}x{source.height}"
    command = [ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", shape]
    command += ["-i", "-", "-vf", f"scale=flags={flags}:{levels},format=bgr24"]
    raw = b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-"], input=raw, capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, source.height, source.width, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    columns = "".join(f"{name:>22}" for name in (*MODES, "luma, there and back"))
    print(f"difference from ffmpeg, of 255: mean (bias, largest)\n{'':32}{columns}")
    for path in parser.parse_args().videos:
        source = read_format(path)
        some = itertools.islice(read_native_frames(path, source), 0, FRAMES * STEP, STEP)
        frames = [frame for _, frame in some]
        whole = (0, 0, source.width, source.height)
        for matrix, levels in itertools.product(("smpte170m", "bt709"), ("tv", "pc")):
            color = ColorTags(matrix, range=levels)
            ours = np.stack([to_bgr(frame, whole, color) for frame in frames]).astype(int)
            cells = []
            for flags in MODES.values():
                error = ours - converted(frames, source, color, flags)
                largest = np.abs(error).max()
                cells.append(f"{np.abs(error).mean():.3f} ({error.mean():+.3f}, {largest})")
            back = [to_planes(bgr.astype(np.uint8), color)[0] for bgr in ours]
            lost = np.abs(np.stack(back).astype(int) - [planes(frame)[0] for frame in frames])
            cells.append(f"{lost.mean():.4f} (, {lost.max()})")
            row = "".join(f"{cell:>22}" for cell in cells)
            print(f"{path.stem[:16]:16}{matrix:>12}{levels:>4}{row}")


if __name__ == "__main__":
    main()
