"""Claim: in pauses of the speech the mouth of a dubbing rests, and comes to rest without a step.

Dubs a face with a speech that has pauses, with `silence: rest` and `follow`, and with a silent
sound: what the mouth does then comes of the head, the reference and the measure alone.

**Lips** as generated: mean change of their opening (`mouth_region.opening`) from frame to frame, in
the generator's own square. It follows the head, and there is no encoder and no alignment whose
noise would count. Settled: where the mouth has come to rest; whole: from the end of the speech to
its beginning, so it includes that the mouth closes and opens once. "As seen" is the same in the
decoded video, aligned by eyes and nose, which a dubbing does not change; "nose" the same of the
nose, as a share of the lips' in speech: noise of head, light, alignment and encoder.

**Step**: change of the mouth's pixels from one generated frame to the next (mean absolute
difference in levels of 255), where the weight of the speech changes. A viewer sees a step where the
mouth changes by more than it does in this clip anyway (the median of all its frames) and no speech
is the reason. So "added" is the largest change beyond that of the same frames with
`silence: follow`; worst and typical are the changes themselves. A mouth that opens for its first
sound changes by more than the median however it has rested: see the worst of `follow`.

    python -m benchmarks.dub_silence --face man.mp4 --audio speech.wav --checkpoint generator.pth
"""

from __future__ import annotations

import argparse
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import cv2
import numpy as np

from lipsync_core.dubbing import dub, rest, sounds
from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.dubbing.render import Renderer, cut_out
from lipsync_core.dubbing.source import FaceSource
from lipsync_core.faces.crops import ALIGNED_LANDMARKS
from lipsync_core.faces.mouth_region import INNER_MOUTH, opening, region

SIDE = 128  # pixels of a face in the decoded video
NOSE = (0.40, 0.56, 0.3, 0.7)  # top, bottom, left, right; the mask begins below
RIGID = 3  # landmarks that no mouth moves: eyes and nose


class Dubbed(NamedTuple):
    """Faces of a dubbing: times (n,), as generated (n, S, S, 3) and as seen (n, SIDE, SIDE, 3)."""

    times: np.ndarray
    generated: np.ndarray
    seen: np.ndarray


def dubbed(options: argparse.Namespace, audio: Path, silence: str, folder: Path) -> Dubbed:
    """Dub, and keep the faces; frames without a face are left out."""
    out = folder / f"{silence}.mp4"
    times, faces, places = [], [], {}
    draw = Renderer.draw

    def kept(renderer, rendered):
        for drawing in rendered.drawings:
            times.append(float(rendered.frame.shown * renderer.shown_tick))
            faces.append((drawing.face * 255).astype(np.float16))
            places[len(places)] = drawing.place
        if not rendered.drawings:
            places[len(places)] = None
        draw(renderer, rendered)

    with mock.patch.object(Renderer, "draw", kept):
        dub.dub(
            *(options.face, audio, options.checkpoint, out),
            device=options.device,
            silence=silence,
            length="ping-pong",
        )
    source = FaceSource(out, Geometry())
    seen = [
        aligned(frame.planes, places[number], source.color)
        for number, frame in enumerate(source.play())
        if places[number] is not None
    ]
    return Dubbed(np.array(times), np.stack(faces), np.stack(seen))


def aligned(planes: np.ndarray, place, color) -> np.ndarray:
    """The face of a frame, (SIDE, SIDE, 3) BGR, aligned by eyes and nose where it has landmarks."""
    x1, y1, x2, y2 = place.box
    points = ALIGNED_LANDMARKS * (x2 - x1, y2 - y1) + (x1, y1)
    if place.landmarks is not None:
        points = np.reshape(place.landmarks, (5, 2)).astype(np.float64)
    layout, found = (each[:RIGID] @ (1, 1j) for each in (ALIGNED_LANDMARKS, points))
    centered = layout - layout.mean()
    factor = (found - found.mean()) @ centered.conj() / (np.abs(centered) ** 2).sum()
    shrink = min(1.0, SIDE / abs(factor))  # by areas, or large faces would alias
    crop = cut_out(planes, place.box, color)
    crop = cv2.resize(crop, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    shift = (found.mean() - complex(x1, y1) - factor * layout.mean()) * shrink
    factor *= shrink / SIDE
    transform = np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        crop, transform, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


def darkness(frames: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """As `mouth_region.opening`, of any part of the face."""
    levels = region(frames, box).mean(axis=-1, dtype=np.float32)
    return np.clip(1 - levels / np.median(levels), 0, 1).mean(axis=(1, 2))


def changes(values: np.ndarray) -> np.ndarray:
    """Mean absolute change from frame to frame, (n, ...) -> (n - 1,)."""
    change = np.abs(np.diff(values.astype(np.float32), axis=0))
    return change.reshape(len(change), -1).mean(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("face", "audio", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    voice = sounds.read_voice(options.audio, resting=True)
    with tempfile.TemporaryDirectory() as folder:
        silent = Path(folder) / "silent.wav"
        with wave.open(str(silent), "wb") as stream:
            stream.setparams((1, 2, 16000, 0, "NONE", ""))
            stream.writeframes(bytes(2 * round(16000 * voice.seconds)))
        follow = dubbed(options, options.audio, "follow", Path(folder))
        rested = dubbed(options, options.audio, "rest", Path(folder))
        quiet = dubbed(options, silent, "rest", Path(folder))
    weight = np.array(
        [rest.speech_weight(voice.silent, time, voice.seconds) for time in follow.times]
    )
    low, high = np.minimum(weight[:-1], weight[1:]), np.maximum(weight[:-1], weight[1:])
    settled, spoken, whole = high == 0, low == 1, low < 1
    edge = whole & ~settled
    lips = {"follow": follow, "rest": rested, "silent sound": quiet}
    speech = changes(opening(follow.generated))[spoken].mean()
    print(f"{settled.sum()} frames settled, {edge.sum()} at edges, {spoken.sum()} in speech\n")
    print("| lips | settled | whole pauses | speech | settled / speech | whole / speech |", end="")
    print(" as seen | nose |\n|---|---|---|---|---|---|---|---|")
    for name, each in lips.items():
        change = changes(opening(each.generated))
        seen, nose = (changes(darkness(each.seen, box)) for box in (INNER_MOUTH, NOSE))
        seen_speech = changes(darkness(follow.seen, INNER_MOUTH))[spoken].mean()
        print(
            f"| {name} | {change[settled].mean():.4f} | {change[whole].mean():.4f} "
            f"| {change[spoken].mean():.4f} | {change[settled].mean() / speech:.3f} "
            f"| {change[whole].mean() / speech:.3f} | {seen[settled].mean() / seen_speech:.2f} "
            f"| {nose[settled].mean() / seen_speech:.2f} |"
        )
    step = {name: changes(region(each.generated)) for name, each in lips.items()}
    print("\n| step | median of all frames | in speech | typical at an edge | worst | added |")
    print("|---|---|---|---|---|---|")
    for name in ("follow", "rest"):
        added = (step[name] - step["follow"])[edge].max()
        print(
            f"| {name} | {np.median(step[name]):.2f} | {np.median(step[name][spoken]):.2f} "
            f"| {np.median(step[name][edge]):.2f} | {step[name][edge].max():.2f} | {added:.2f} |"
        )


if __name__ == "__main__":
    main()
