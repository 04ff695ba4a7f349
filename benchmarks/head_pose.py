"""Claim: yaw, pitch and roll from CenterFace's landmarks are right to 8 degrees; `max_yaw` finds
planted side views.

One frame of each speaker that looks ahead (nose and mouth midway between the eyes) is turned by
known angles: its pixels are given the depth of a head (an ellipsoid with a nose; 63 mm between the
eyes), turned, drawn from back to front, and detected again. The pitch that the person has in the
frame itself is not known; the second table takes it from the unturned picture.

    python benchmarks/head_pose.py --clips DIR [--pictures DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.corpus.clips import discover
from lipsync_core.faces import detectors
from lipsync_core.faces.detectors.base import Detector
from lipsync_core.faces.head_pose import detected_pose, head_pose, pitch_features, rotation
from lipsync_core.media.video import read_frames

EYE_MM = 63.0  # distance of the eyes
HALF_WIDTH, HALF_HEIGHT, DEPTH = 75.0, 115.0, 95.0  # mm, of the head
HEAD_CENTER = -35.0  # mm below the middle of eyes and mouth
NOSE_MM = 20.0  # height of the tip over the ellipsoid
SIDE = 256  # pixels of a drawn picture
SCALE = 0.9  # its pixels in a millimetre
OVERSAMPLING = 2
MAX_SKEW = 0.06  # of a face that looks ahead, see `asymmetry`
ANGLES = (
    *((yaw, 0, 0) for yaw in (-60, -45, -30, -15, 15, 30, 45, 60)),
    *((0, pitch, 0) for pitch in (-25, -15, 15, 25)),
    *((0, 0, roll) for roll in (-30, 30)),
    *((yaw, pitch, 10) for yaw in (-30, 30) for pitch in (-15, 15)),
)


def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth in mm towards the camera of points in mm (right, down of the face's middle); NaN
    outside of the head."""
    inside = 1 - (x / HALF_WIDTH) ** 2 - np.abs((y - HEAD_CENTER) / HALF_HEIGHT) ** 4
    surface = DEPTH * np.sqrt(np.where(inside > 0, inside, np.nan))
    ridge = np.interp(y, [-36, 2, 14], [0, 1, 0])
    return surface + NOSE_MM * ridge * np.exp(-((x / 9) ** 2))


def frontal(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face upright, its middle in the middle, OVERSAMPLING * SCALE pixels a millimetre."""
    points = landmarks.reshape(5, 2).astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    across = points[1] - points[0]
    factor = EYE_MM * SCALE * OVERSAMPLING / np.linalg.norm(across)
    turn = -np.arctan2(across[1], across[0])
    matrix = factor * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = (eyes + mouth) / 2
    shift = np.full(2, SIDE * OVERSAMPLING / 2) - matrix @ middle
    side = SIDE * OVERSAMPLING
    return cv2.warpAffine(
        picture, np.column_stack([matrix, shift]), (side, side), borderMode=cv2.BORDER_REPLICATE
    )


def draw(face: np.ndarray, angles: tuple[float, float, float]) -> np.ndarray:
    """The face turned by yaw, pitch, roll in degrees: uint8 (SIDE, SIDE, 3)."""
    half, step = SIDE * OVERSAMPLING / 2, SCALE * OVERSAMPLING
    rows, columns = np.mgrid[: face.shape[0], : face.shape[1]]
    x, y = (columns - half) / step, (rows - half) / step
    z = depth(x, y)
    head = np.isfinite(z)
    points = np.stack([x[head], y[head], z[head]], axis=1) @ rotation(*angles).T
    # The head turns about its own axis; the picture keeps it in the middle.
    order = np.argsort(points[:, 2])
    spots = np.round(points[order, :2] * SCALE + SIDE / 2).astype(int)
    colors = face[head][order]
    seen = ((spots >= 0) & (spots < SIDE)).all(axis=1)
    small = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    picture, drawn = cv2.GaussianBlur(small, (0, 0), 12), np.zeros((SIDE, SIDE), np.uint8)
    picture[spots[seen, 1], spots[seen, 0]] = colors[seen]
    drawn[spots[seen, 1], spots[seen, 0]] = 1
    holes = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((5, 5))) - drawn
    filled = cv2.medianBlur(picture, 5)
    return np.where(holes[..., None] > 0, filled, picture)


def frontal_faces(clips: Path, detector: Detector) -> Iterator[np.ndarray]:
    """The most frontal frame of each speaker who looks ahead in one, as of `frontal`."""
    for _, own in itertools.groupby(discover(clips, 1), lambda clip: clip.speaker):
        best, face = MAX_SKEW, None
        for clip in itertools.islice(own, 2):
            with contextlib.closing(read_frames(clip.source(clips))) as frames:
                for frame in itertools.islice(frames, 0, 40, 13):
                    skew, points = asymmetry(frame, detector)
                    if skew < best:
                        best, face = skew, frontal(frame, points)
        if face is not None:
            yield face


def asymmetry(frame: np.ndarray, detector: Detector) -> tuple[float, np.ndarray | None]:
    """How far nose and mouth are from midway between the eyes, in distances of the eyes, and the
    landmarks (5, 2); infinite for a frame without a face of 60 pixels or more."""
    scale = min(1.0, 480 / max(frame.shape[:2]))
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = detector.detect_faces(small[None])[0]
    if not len(found.boxes) or found.boxes[0, 2] - found.boxes[0, 0] < 60 * scale:
        return np.inf, None
    points = found.landmarks[0].reshape(5, 2)
    across, eyes = points[1] - points[0], points[:2].mean(axis=0)
    middles = (points[2] - eyes, points[3:].mean(axis=0) - eyes)
    skew = max(abs(float(middle @ across)) for middle in middles) / float(across @ across)
    return skew, points / scale


def detect(detector: Detector, picture: np.ndarray) -> np.ndarray | None:
    """Angles (3,) of the face in the middle of a picture."""
    landmarks = detect_landmarks(detector, picture)
    return None if landmarks is None else detected_pose(landmarks)[0]


def detect_landmarks(detector: Detector, picture: np.ndarray) -> np.ndarray | None:
    """Landmarks (1, 10) of that face."""
    found = detector.detect_faces(picture[None])[0]
    if not len(found.boxes):
        return None
    middles = (found.boxes[:, :2] + found.boxes[:, 2:4]) / 2
    nearest = int(np.argmin(np.linalg.norm(middles - SIDE / 2, axis=1)))
    return found.landmarks[nearest : nearest + 1]


def fit_pitch(faces: list[np.ndarray], detector: Detector, turns: int) -> None:
    """Print the weights of the pitch's correction and its error on people not fitted to."""
    rng, rows, pitches, people = np.random.default_rng(0), [], [], []
    for person, face in enumerate(faces):
        for angles in rng.uniform((-60, -30, -20), (60, 30, 20), (turns, 3)):
            landmarks = detect_landmarks(detector, draw(face, tuple(angles)))
            if landmarks is not None:
                rows.append(pitch_features(landmarks, head_pose(landmarks))[0])
                pitches.append(angles[1])
                people.append(person)
    features, truth, person = np.array(rows), np.array(pitches), np.array(people)
    errors = np.zeros(len(truth))
    for number in range(len(faces)):
        weights = ridge(features[person != number], truth[person != number])
        own = person == number
        errors[own] = np.abs(features[own] @ weights[:-1] + weights[-1] - truth[own])
    print(f"pitch of people not fitted to: mean error {errors.mean():.1f}, "
          f"within 8 degrees {(errors <= 8).mean():.0%}")  # fmt: skip
    weights = ridge(features, truth)
    print("PITCH_WEIGHTS =", weights[:-1].round(4).tolist(), "PITCH_BIAS =", weights[-1].round(3))


def ridge(features: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights (k + 1,), the constant last, of a regression of standardized features."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    rows = (features - mean) / scale
    weights = np.linalg.solve(
        rows.T @ rows + np.eye(rows.shape[1]), rows.T @ (truth - truth.mean())
    )
    weights = weights / scale
    return np.append(weights, truth.mean() - weights @ mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="a data root of talking people")
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--fit", type=int, default=0, help="turns of each face to fit to")
    parser.add_argument("--pictures", type=Path, help="folder for a contact sheet")
    options = parser.parse_args()
    detector = detectors.build("centerface", "cpu", threshold=0.3)
    faces = list(itertools.islice(frontal_faces(options.clips, detector), options.people))
    if options.fit:
        return fit_pitch(faces, detector, options.fit)
    zeros = [detect(detector, draw(face, (0, 0, 0))) for face in faces]
    print(f"{len(faces)} people who look ahead; errors in degrees")
    columns = "yaw, pitch, roll, pitch from the own"
    print(f"{'turned by':16s} {'found':>6s}  mean error / within 8 ({columns})", flush=True)
    every, yaws = [], {}
    for angles in ANGLES:
        turned = [detect(detector, draw(face, angles)) for face in faces]
        both = [
            pair for pair in zip(turned, zeros, strict=True) if all(x is not None for x in pair)
        ]
        found, own = (np.array(each) for each in zip(*both, strict=True))
        errors = found - np.array(angles)
        # The last column: pitch from that of the unturned picture.
        errors = np.column_stack([errors, errors[:, 1] - own[:, 1]])
        every.append(errors)
        yaws.setdefault(abs(angles[0]), []).append(np.abs(found[:, 0]))
        mean = " ".join(f"{value:5.1f}" for value in np.abs(errors).mean(axis=0))
        within = " ".join(f"{value:5.0%}" for value in (np.abs(errors) <= 8).mean(axis=0))
        print(f"{angles!s:16s} {len(found):6d}  {mean}   {within}", flush=True)
    errors = np.abs(np.concatenate(every))
    print("all:  mean", errors.mean(axis=0).round(1), " 95 %:",
          np.percentile(errors, 95, axis=0).round(1))  # fmt: skip
    for size, values in sorted(yaws.items()):
        measured = np.concatenate(values)
        print(f"turned by {size:2d}: {(measured > 30).mean():6.1%} measure above 30, "
              f"{(measured > 35).mean():6.1%} above 35")  # fmt: skip
    if options.pictures:
        rows = [np.hstack([draw(face, each) for each in ANGLES[::3]]) for face in faces[:6]]
        options.pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(options.pictures / "head_pose.jpg"), np.vstack(rows)[::2, ::2])


if __name__ == "__main__":
    main()
