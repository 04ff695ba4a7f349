r"""Masks of dubbing on real clips: color steps, false alarms, objects that are kept, time.

    python benchmarks/mask.py --checkpoint wav2lip_gan.pth --audio speech.wav --objects \
        --clips a.mp4 b.mp4

- step: by how much the mean color of 24 sectors just inside of the edge of the mask differs from
  the source's, in levels (hard: of a frame of a sixteenth of the rectangle).
- ms: processor time of `Compositor.paste` a frame, one thread.
- false: share of the mask that is kept although nothing covers the face, in %.
- kept: share of the pixels of a composited hand, microphone or piece of another clip inside of the
  mask that keep their bits, in %, in frames where it covers a third of the lips. Faces are tracked
  anew in these frames. On faces turned by more than 35 degrees (yaw: median) fewer are found.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.audio import load_wav, melspectrogram
from lipsync_core.dubbing.compositor import BLENDS, LOOK_SIDE, Compositor
from lipsync_core.dubbing.face_memory import ellipse, on_region
from lipsync_core.dubbing.generator_input import inference_input
from lipsync_core.dubbing.generators import Generator, load_generator
from lipsync_core.dubbing.mask import lower_face_mask
from lipsync_core.dubbing.occlusion import LIPS, MIN_LIPS, OcclusionModel
from lipsync_core.dubbing.planes import Region
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.crops import clip_box, fit_similarity
from lipsync_core.faces.decoding import FrameStream
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.head_pose import head_pose
from lipsync_core.faces.tracking import association, tracks
from lipsync_core.media.color import planes
from lipsync_core.media.timestamps import FPS
from lipsync_core.media.video import read_frames
from lipsync_core.runtime import threads
from lipsync_core.runtime.files import atomic_path

OBJECTS = ("hand", "microphone", "piece")
SIDE = 256  # pixels of a drawn object
SECTORS = 24
CELL = 220  # pixels, of the picture
LONG_SIDE = 720  # pixels of the frames
STRIDE = 5  # frames between detections, as in preparation
CHIN = 0.04  # of the box, added below it
Face = tuple[np.ndarray, tuple[int, int, int, int], np.ndarray]  # frame in BGR, region, landmarks


def faces_of(frames: list[np.ndarray], detector: Detector) -> list[tuple[int, Face]]:
    """The main face of uint8 (H, W, 3) frames: (index of the frame, face)."""
    stream = FrameStream("clip")
    stream.height, stream.width = frames[0].shape[:2]
    [(_, found)] = detection.detect_streams([(stream, iter(frames))], detector, stride=STRIDE)
    main = tracks.select_track(association.link(found))
    track = tracks.fill_and_smooth(main, tracks.MAX_GAP_FRAMES, tracks.SMOOTHING_WINDOW)
    faces = []
    for index, box, points in zip(track.frames, track.boxes, track.landmarks, strict=True):
        pads = (0, CHIN * float(box[3] - box[1]), 0, 0)
        region = clip_box(box, frames[index].shape, pads)
        faces.append((int(index), (frames[index], region, points.reshape(5, 2))))
    return faces


def dub(
    faces: list[Face], generated: np.ndarray, blend: str
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Source and result of each face, both I420, and the seconds of its pasting."""
    compositor = Compositor(blend=blend)
    for (frame, region, points), face in zip(faces, generated, strict=True):
        source = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420)
        result = source.copy()
        start = time.process_time()
        compositor.paste(result, region, points, face)
        yield source, result, time.process_time() - start


def generate(generator: Generator, mel: np.ndarray, faces: list[Face]) -> np.ndarray:
    """float32 (n, S, S, 3): the faces with lips to the audio."""
    crops = [frame[y1:y2, x1:x2] for frame, (x1, y1, x2, y2), _ in faces]
    starts = [int(80 * number / FPS) % (mel.shape[1] - 16) for number in range(len(faces))]
    mels = np.stack([mel[:, start : start + 16] for start in starts])
    return generator.generate(mels, inference_input(crops, generator.image_size))


def color_step(face: Face, source: np.ndarray, result: np.ndarray, blend: str) -> float:
    """See the module's docstring; levels of BGR."""
    _, (x1, y1, x2, y2), points = face
    mask = lower_face_mask((x1, y1, x2, y2), points)
    band = (mask > 0.3) & (mask < 0.6) if blend == "poisson" else (mask > 0.02) & (mask < 0.5)
    if blend == "hard":
        border = max(2, min(mask.shape) // 16)
        band = np.ones(mask.shape, bool)
        band[border:-border, border:-border] = False
    before, after = (cv2.cvtColor(one, cv2.COLOR_YUV2BGR_I420) for one in (source, result))
    change = (after.astype(np.float32) - before)[y1:y2, x1:x2]
    rows, columns = np.nonzero(band)
    angles = np.arctan2(rows - rows.mean(), columns - columns.mean())
    sector = ((angles / np.pi + 1) / 2 * SECTORS).astype(int) % SECTORS
    parts = [change[rows[sector == k], columns[sector == k]] for k in range(SECTORS)]
    return float(np.mean([np.abs(part.mean(axis=0)) for part in parts if len(part)]))


def drawn(kind: str, skin: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An object: float32 (SIDE, SIDE, 3) BGR, and its opacity (SIDE, SIDE)."""
    opacity = np.zeros((SIDE, SIDE), np.uint8)
    if kind == "hand":
        fingers = (((80, 170), (70, 70)), ((108, 170), (104, 35)), ((138, 170), (142, 30)))
        for start, end in (*fingers, ((166, 170), (180, 55)), ((75, 200), (30, 140))):
            cv2.line(opacity, start, end, 255, 29, cv2.LINE_AA)
        cv2.ellipse(opacity, (128, 190), (60, 62), 0, 0, 360, 255, -1, cv2.LINE_AA)
        depth = cv2.distanceTransform((opacity > 128).astype(np.uint8), cv2.DIST_L2, 5)
        pixels = skin * (0.62 + 0.43 * np.sqrt(np.clip(depth / 14, 0, 1)))[:, :, None]
    elif kind == "microphone":
        cv2.ellipse(opacity, (128, 80), (52, 62), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.rectangle(opacity, (108, 120), (148, 255), 255, -1)
        noise = np.random.default_rng(0).normal(0, 8, (SIDE, SIDE, 1))
        pixels = np.array([38.0, 36, 35]) + noise
    else:
        cv2.ellipse(opacity, (128, 128), (70, 100), 20, 0, 360, 255, -1, cv2.LINE_AA)
        pixels = cv2.resize(other, (SIDE, SIDE))
    return pixels.astype(np.float32), opacity.astype(np.float32) / 255


def covered(
    faces: list[tuple[int, Face]], kind: str, other: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames in which an object enters, hovers over the mouth and leaves, and its opacity."""
    fitted = fit_similarity(np.stack([points for _, (_, _, points) in faces])).mean(axis=0)
    frame = faces[0][1][0]
    cheek = fitted[0] * (0.28 + 0.6j) + fitted[1]
    skin = np.median(frame[int(cheek.imag) - 4 :, int(cheek.real) - 4 :][:9, :9], axis=(0, 1))
    pixels, opacity = drawn(kind, skin, other)
    frames, places = [], []
    for number, (_, (frame, _, _)) in enumerate(faces):
        t = number / len(faces)
        near = np.clip((t - 0.25) / 0.12, 0, 1) * np.clip((0.82 - t) / 0.12, 0, 1)
        u = 0.5 - 0.9 * (1 - near) + 0.1 * near * np.sin(9 * t)
        v = 0.76 + 0.7 * (1 - near) + 0.06 * near * np.cos(7 * t)
        turn = fitted[0] * 0.85 / SIDE * np.exp(0.25j * np.sin(5 * t))
        place = fitted[0] * complex(u, v) + fitted[1] - turn * complex(128, 110)
        matrix = np.array([[turn.real, -turn.imag, place.real], [turn.imag, turn.real, place.imag]])
        size = frame.shape[1::-1]
        alpha = cv2.warpAffine(opacity, matrix, size)
        image = cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        mixed = frame + alpha[:, :, None] * (image - frame)
        frames.append(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
        places.append(alpha)
    return frames, places


def lips_covered(face: Face, place: np.ndarray) -> float:
    """Share of the lips that the object `place`, its opacity, covers."""
    _, (x1, y1, x2, y2), points = face
    outside = 1 - ellipse(*LIPS).astype(np.float32)
    lips = on_region(outside, (x1, y1, x2, y2), points, (y2 - y1, x2 - x1)) < 0.5
    return float((place[y1:y2, x1:x2][lips] > 0.5).mean())


def kept_pixels(
    frames: list[np.ndarray], places: list[np.ndarray], detector: Detector
) -> tuple[int, int]:
    """Pixels of the object inside of the mask that stay, and all of them."""
    stay = total = 0
    found = faces_of(frames, detector)
    faces = [face for _, face in found]
    noise = np.random.default_rng(0).random((96, 96, 3), np.float32)
    results = dub(faces, np.broadcast_to(noise, (len(faces), *noise.shape)), "soft")
    for (index, face), (source, result, _) in zip(found, results, strict=True):
        if lips_covered(face, places[index]) < MIN_LIPS:
            continue
        x1, y1, x2, y2 = face[1]
        inside = lower_face_mask(face[1], face[2]) > 0.02
        inside &= places[index][y1:y2, x1:x2] > 0.5
        same = (planes(source)[0] == planes(result)[0])[y1:y2, x1:x2]
        stay, total = stay + int(same[inside].sum()), total + int(inside.sum())
    return stay, total


def false_share(faces: list[Face]) -> float:
    """Share of the masks that is kept."""
    model = OcclusionModel()
    kept = total = 0.0
    for frame, region, points in faces:
        seen = Region.of(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), region)
        mask = lower_face_mask(region, points)
        total += float(mask.sum())
        visible = model.update(seen.reduced(LOOK_SIDE), region, points)
        if visible is not None:
            kept += float((mask * (1 - on_region(visible, region, points, mask.shape))).sum())
    return kept / max(total, 1)


def picture_row(
    found: list[tuple[int, Face]], generated: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Cells: source, each blend, a hand over the source, and that dubbed; uint8 (h, w, 3)."""
    faces = [face for _, face in found]
    middle = len(faces) // 2
    frames, _ = covered(found, "hand", other)
    behind = [(frame, *face[1:]) for frame, face in zip(frames, faces, strict=True)]
    shown = [faces[middle][0]]
    for clip, blend in [
        *((faces, blend) for blend in ("hard", "soft", "poisson")),
        (behind, "soft"),
    ]:
        results = [result for _, result, _ in dub(clip, generated, blend)]
        shown.append(cv2.cvtColor(results[middle], cv2.COLOR_YUV2BGR_I420))
    shown.insert(-1, frames[middle])
    scale = CELL / shown[0].shape[1]
    return np.hstack(
        [cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for one in shown]
    )


def titled(rows: list[np.ndarray]) -> np.ndarray:
    """The rows below the names of their cells."""
    header = np.full((24, rows[0].shape[1], 3), 255, np.uint8)
    titles = ("source", "hard", "soft", "poisson", "a hand", "a hand, soft")
    for number, title in enumerate(titles):
        place = (number * CELL + 6, 17)
        cv2.putText(
            header, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (70, 70, 70), 1, cv2.LINE_AA
        )
    return np.vstack([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--objects", action="store_true", help="composite objects, too")
    parser.add_argument("--picture", type=Path, help="JPEG of one frame of each clip")
    options = parser.parse_args()
    rows = []
    threads.limit(1)
    cv2.setNumThreads(1)
    generator = load_generator(options.checkpoint, "cpu")
    mel = melspectrogram(load_wav(options.audio))
    detector = detectors.build("centerface", "cpu")
    other = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    columns = [f"{blend} {figure}" for blend in BLENDS for figure in ("step", "ms")]
    columns += ["false", *(OBJECTS if options.objects else ())]
    print("clip | face px | yaw | " + " | ".join(columns))
    for path in options.clips:
        frames = list(itertools.islice(read_frames(path, FPS, LONG_SIDE), options.frames))
        found = faces_of(frames, detector)
        faces = [face for _, face in found]
        yaw = np.median(np.abs(head_pose(np.stack([points for *_, points in faces]))[:, 0]))
        generated = generate(generator, mel, faces)
        row = []
        for blend in BLENDS:
            results = list(dub(faces, generated, blend))
            steps = [
                color_step(face, source, result, blend)
                for face, (source, result, _) in zip(faces, results, strict=True)
            ]
            row += [np.mean(steps), 1000 * np.mean([seconds for *_, seconds in results])]
        row.append(100 * false_share(faces))
        for kind in OBJECTS if options.objects else ():
            stay, total = kept_pixels(*covered(found, kind, other), detector)
            row.append(100 * stay / max(total, 1))
        x1, y1, x2, y2 = faces[0][1]
        other = faces[0][0][y1:y2, x1:x2]
        if options.picture:
            rows.append(picture_row(found, generated, other))
        figures = " | ".join(f"{value:.2f}" for value in row)
        print(f"{path.stem[:24]} | {x2 - x1} | {yaw:.0f} | {figures}", flush=True)
    if options.picture:
        data = cv2.imencode(".jpg", titled(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        with atomic_path(options.picture) as temporary:
            temporary.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
