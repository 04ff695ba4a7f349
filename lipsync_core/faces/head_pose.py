"""Head pose from five landmarks: yaw, pitch and roll of a face under weak perspective.

A mean 3-D face of five points is turned by each yaw and pitch of a grid; the best similarity
transform of each projection onto the landmarks has a closed form (Umeyama, 1991, in complex
numbers), and its angle is the roll. The grid has no local minima, and a parabola around its best
point gives fractions of a degree.
"""

from __future__ import annotations

import functools

import numpy as np

# Left and right eye (as seen), nose tip, left and right corner of the mouth, in distances of the
# eyes: x to the right, y down, z towards the camera. Fitted to CenterFace's landmarks in 918 frames
# of 80 people (structure from motion under weak perspective), whose mean pitch is 0.
MEAN_FACE = np.array(
    [
        [-0.5, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [0.0, 0.558, 0.389],
        [-0.415, 1.026, -0.09],
        [0.415, 1.026, -0.09],
    ]
)
# CenterFace draws the landmarks of a raised or lowered face too much like those of a level one: the
# fitted pitch follows a third of the true one. This linear correction of `pitch_features` comes
# from faces turned by known angles (`benchmarks/head_pose.py --fit`).
PITCH_WEIGHTS = np.array(
    [0.8037, 43.7765, -400.7149, -30.7297, -302.7691, -0.6807, -0.0146, 1.9397]
)
PITCH_BIAS = 471.686
GRID_STEP = 3.0  # degrees
MAX_YAW, MAX_PITCH = 90.0, 60.0  # degrees
CHUNK = 256  # faces compared with the grid at a time: 20 MB


def head_pose(landmarks: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll of each face in degrees: float64 (n, 3).

    Parameters
    ----------
    landmarks: float (n, 10) or (n, 5, 2), x and y of left eye, right eye (as seen), nose tip, left
        and right corner of the mouth, in pixels.

    Yaw in [-90, 90] is positive when the face looks to the right side of the picture, pitch in
    [-60, 60] when it looks down, roll in (-180, 180] when the head is tilted clockwise as seen; the
    head is turned by yaw first, then by pitch, then by roll. Zero pitch is that of the mean face:
    how far a person's nose and mouth differ from it shifts that person's pitch by some degrees.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    faces = points[..., 0] + 1j * points[..., 1]
    faces = faces - faces.mean(axis=1, keepdims=True)
    faces /= np.maximum(np.linalg.norm(faces, axis=1, keepdims=True), 1e-9)
    parts = [_fit(faces[start : start + CHUNK]) for start in range(0, len(faces), CHUNK)]
    return np.concatenate([np.zeros((0, 3)), *parts])


def detected_pose(landmarks: np.ndarray) -> np.ndarray:
    """`head_pose` of CenterFace's landmarks, with a corrected pitch: float64 (n, 3).

    Mean errors on turned faces within 60 degrees of yaw, 30 of pitch and 20 of roll: docs/log.md.
    """
    poses = head_pose(landmarks)
    poses[:, 1] = np.clip(
        pitch_features(landmarks, poses) @ PITCH_WEIGHTS + PITCH_BIAS, -MAX_PITCH, MAX_PITCH
    )
    return poses


def pitch_features(landmarks: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """What tells the pitch of detected faces: float64 (n, 8).

    Their fitted pitch; the nose's place between eyes and mouth (0 to 1); eyes to mouth, between the
    eyes and between the corners of the mouth as shares of the landmarks' norm; and the yaw's
    effect on these. landmarks, poses: of `head_pose`.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    faces = points[..., 0] + 1j * points[..., 1]
    faces = (faces - faces.mean(axis=1, keepdims=True)) * np.exp(-1j * np.radians(poses[:, 2:]))
    faces /= np.maximum(np.linalg.norm(faces, axis=1, keepdims=True), 1e-9)
    eyes, mouth = faces[:, :2].mean(axis=1).imag, faces[:, 3:].mean(axis=1).imag
    height = mouth - eyes
    nose = (faces[:, 2].imag - eyes) / np.where(np.abs(height) > 1e-6, height, 1.0)
    yaw = np.abs(poses[:, 0])
    widths = (faces[:, 1] - faces[:, 0]).real, (faces[:, 4] - faces[:, 3]).real
    return np.stack([poses[:, 1], nose, height, *widths, yaw, yaw**2, nose * yaw], axis=1)


def rotation(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Rotation matrix (3, 3) of these angles in degrees, for the axes of `MEAN_FACE`."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


@functools.cache
def _templates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaws (a,), pitches (b,) and the unit-norm projections, complex (a, b, 5)."""
    yaws = np.arange(-MAX_YAW, MAX_YAW + 1, GRID_STEP)
    pitches = np.arange(-MAX_PITCH, MAX_PITCH + 1, GRID_STEP)
    turned = np.array([[MEAN_FACE @ rotation(a, b).T for b in pitches] for a in yaws])
    shapes = turned[..., 0] + 1j * turned[..., 1]
    shapes -= shapes.mean(axis=-1, keepdims=True)
    return yaws, pitches, shapes / np.linalg.norm(shapes, axis=-1, keepdims=True)


def _fit(faces: np.ndarray) -> np.ndarray:
    """Angles (n, 3) of faces, complex (n, 5), centered and of norm 1."""
    yaws, pitches, shapes = _templates()
    products = faces @ shapes.reshape(-1, 5).conj().T
    likeness = np.abs(products).reshape(-1, len(yaws), len(pitches))  # 1 for an exact fit
    best = np.argmax(likeness.reshape(len(faces), -1), axis=1)
    row, column = np.unravel_index(best, likeness.shape[1:])
    each = np.arange(len(faces))
    roll = np.degrees(np.angle(products[each, best]))
    yaw = yaws[row] + GRID_STEP * _peak(likeness[each, :, column], row)
    pitch = pitches[column] + GRID_STEP * _peak(likeness[each, row], column)
    return np.stack([yaw, pitch, roll], axis=1)


def _peak(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Vertex, in [-0.5, 0.5] steps, of the parabola through each row's values around `index`."""
    each, inner = np.arange(len(values)), np.clip(index, 1, values.shape[1] - 2)
    before, at, after = (values[each, inner + step] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    vertex = 0.5 * (before - after) / np.where(curvature < 0, curvature, -1.0)
    return np.where(inner == index, np.clip(vertex, -0.5, 0.5), 0.0)
