"""Claim: in pauses of the speech the mouth of a dubbing rests, and comes to rest without a step.

Dubs a face with a speech that has pauses, with `silence: rest` and `follow`, and measures the lips
of the result (`mouth_region.opening`) and the change of the mouth's pixels from frame to frame.

    python -m benchmarks.dub_silence --face man.mp4 --audio speech.wav --checkpoint generator.pth
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lipsync_core.dubbing import dub, face_choice, faces, rest, sounds
from lipsync_core.faces.archive import resize_square
from lipsync_core.faces.mouth_region import opening, region
from lipsync_core.media.video import read_frames

SIDE = 96
SETTLED = rest.EASES[1]  # seconds after the beginning of a pause and before its end


def crops_of(video: Path, places: list) -> np.ndarray:
    """The face of each frame at 25 fps, uint8 (n, SIDE, SIDE, 3)."""
    crops = []
    for frame, place in zip(read_frames(video), places, strict=False):
        x1, y1, x2, y2 = place.box
        crops.append(resize_square(frame[y1:y2, x1:x2], SIDE))
    return np.stack(crops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("face", "audio", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    voice = sounds.read_voice(options.audio, resting=True)
    settings = faces.FaceSettings.of_checkpoint(options.checkpoint)
    found = faces.kept_faces(options.face, settings, faces.cache_folder())
    path = face_choice.FaceChooser(options.face, found, settings).face_path("largest")
    print(
        "| silence | lips: pauses | speech | ratio | head alone | step at an edge | median step |"
    )
    print("|---|---|---|---|---|---|---|")
    times = np.arange(int(voice.seconds * 25)) / 25
    weight = np.array([rest.speech_weight(voice.silent, time, voice.seconds) for time in times])
    with tempfile.TemporaryDirectory() as folder:
        for silence in ("rest", "follow"):
            out = Path(folder) / f"{silence}.mp4"
            dub.dub(
                *(options.face, options.audio, options.checkpoint, out),
                device=options.device,
                silence=silence,
                length="ping-pong",
            )
            # The result shows the source forwards and backwards.
            count = round(found.frames)
            period = max(1, 2 * count - 2)
            turn = np.abs((np.arange(len(times)) + count - 1) % period - (count - 1))
            places = [path.at(frame / 25) for frame in turn]
            crops = crops_of(out, places)
            lips = np.abs(np.diff(opening(crops)))
            mouths = region(crops).astype(np.float32)
            steps = np.abs(np.diff(mouths, axis=0)).mean(axis=(1, 2, 3))
            heads = np.abs(np.diff(crops[:, : SIDE // 2].astype(np.float32), axis=0))
            both = np.minimum(weight[:-1], weight[1:]), np.maximum(weight[:-1], weight[1:])
            still, spoken = both[1][: len(lips)] == 0, both[0][: len(lips)] == 1
            easing = ~still & ~spoken
            print(
                f"| {silence} | {lips[still].mean():.4f} | {lips[spoken].mean():.4f} "
                f"| {lips[still].mean() / lips[spoken].mean():.2f} "
                f"| {heads.mean(axis=(1, 2, 3))[still].mean():.2f} "
                f"| {steps[easing].max():.2f} | {np.median(steps[spoken]):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
