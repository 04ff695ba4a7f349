"""Render the stills of the demo speakers: photographs aligned, blended, relit and reframed.

Faces at rest with closed lips; `render` animates them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from lipsync_core.demo import photos
from lipsync_core.demo.photos import Photo
from lipsync_core.demo.plan import Portrait

WIDTH, HEIGHT = 288, 320
EYES_AT = (144.0, 134.0)  # middle of the eyes in a standard still
# Supersampling in each direction, so that the line between closed lips is smooth.
_SUPERSAMPLING = 3
_SPLINE_STEP_PX = 4
_PALE_SKIN = np.array([150.0, 176.0, 214.0])  # BGR; with this skin color, teeth keep their color
FACE_SIZE_PX = 58.0  # geometric mean of eye distance and eye-to-mouth distance in a standard still


@dataclass(frozen=True)
class Still:
    """A speaker at rest, lips closed.

    image: uint8 (HEIGHT, WIDTH, 3) BGR, the person. person: float32 (HEIGHT, WIDTH), 1 on the
    person, 0 elsewhere. backdrop: uint8 (HEIGHT, WIDTH, 3) BGR. points: float64 (P, 2) landmarks in
    the still, numbered as in `photos`. light: float32 (3,), BGR gain of skin tones at the mouth,
    applied to the interior of the mouth.
    """

    image: np.ndarray
    person: np.ndarray
    backdrop: np.ndarray
    points: np.ndarray
    light: np.ndarray


@functools.lru_cache(maxsize=4)
def still(portrait: Portrait) -> Still:
    """Render the still of `portrait`. Raises LipsyncError when a photograph is missing."""
    head = photos.photo(portrait.head)
    other = photos.photo("hopper" if portrait.head == "collins" else "collins")
    points = _target_landmarks(portrait, head, other)
    image, person = _sample(head, points, portrait)
    if portrait.face or portrait.lower:
        skin, _ = _sample(other, points, portrait)
        image = _blend_skin(image, skin, points, portrait)
    behind = _background(portrait, image, person)
    if portrait.backdrop is not None:
        image = _clean_edge(image, person)
    if portrait.mirror:
        image, person, behind = (np.ascontiguousarray(x[:, ::-1]) for x in (image, person, behind))
        points = photos.mirrored(points, WIDTH)
    image = _tone(_light(_recolor(image, person, points, portrait), points, portrait), portrait)
    gain = np.clip(_skin_color(image, points) / _PALE_SKIN, 0.45, 1.25)
    return Still(image, person, behind, points, gain.astype(np.float32))


def _alignment(photo: Photo, scale: float = 1.0) -> np.ndarray:
    """Similarity (2, 3) from photograph to still: eyes level, in place, of standard size."""
    eyes = (photo.points[photos.LEFT_EYE] + photo.points[photos.RIGHT_EYE]) / 2
    mouth = (photo.points[photos.SEAM][0] + photo.points[photos.SEAM][-1]) / 2
    across = photo.points[photos.RIGHT_EYE] - photo.points[photos.LEFT_EYE]
    down = mouth - eyes
    angle = (np.arctan2(across[1], across[0]) - np.arctan2(down[0], down[1])) / 2
    zoom = scale * FACE_SIZE_PX / np.sqrt(np.linalg.norm(across) * np.linalg.norm(down))
    turn = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, np.array(EYES_AT) - turn @ eyes])


def _transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _target_landmarks(portrait: Portrait, head: Photo, other: Photo) -> np.ndarray:
    """Target positions of the landmarks in the still (before mirroring), float64 (P, 2)."""
    mine = _transform(_alignment(head), head.points)
    theirs = _transform(_alignment(other), other.points)
    points = mine + portrait.shape * (theirs - mine)
    outline = list(photos.OUTLINE)
    center = points[photos.NOSE_BASE].copy()
    points[outline, 0] = center[0] + portrait.jaw * (points[outline, 0] - center[0])
    for group, size in (
        (photos.NOSE, portrait.nose),
        (photos.MOUTH, portrait.mouth),
        (photos.LEFT_EYE_POINTS, portrait.eyes),
        (photos.RIGHT_EYE_POINTS, portrait.eyes),
    ):
        middle = points[group].mean(axis=0)
        points[group] = middle + size * (points[group] - middle)
    angle = np.deg2rad(portrait.tilt)
    turn = portrait.scale * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    return (points - EYES_AT) @ turn.T + EYES_AT + (portrait.dx, portrait.dy)


def _sample(photo: Photo, points: np.ndarray, portrait: Portrait) -> tuple[np.ndarray, np.ndarray]:
    """The photograph, lips closed, warped so that its landmarks fall on `points`."""
    # Distant anchors keep hair, hat and clothes undistorted.
    matrix, _ = cv2.estimateAffinePartial2D(photo.points, points, method=cv2.LMEDS)
    corners = np.array([[x, y] for x in (-60, 144, 348) for y in (-60, 30, 320, 400)], float)
    inverse = cv2.invertAffineTransform(matrix)
    targets = np.concatenate([points, corners])
    sources = np.concatenate([photo.points, _transform(inverse, corners)])
    found = _open_lips(photo, _backward_map(targets, sources).reshape(-1, 2))
    found = found.reshape(_SUPERSAMPLING * HEIGHT, _SUPERSAMPLING * WIDTH, 2).astype(np.float32)
    edge = cv2.BORDER_REPLICATE
    image = cv2.remap(photo.image, found, None, cv2.INTER_CUBIC, borderMode=edge)
    image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    person = cv2.remap(photo.person, found, None, cv2.INTER_LINEAR, borderMode=edge)
    person = cv2.resize(person, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return image, person


def _backward_map(targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """The smooth backward map of the supersampled still: (H, W, 2), _SUPERSAMPLING times as large.

    The spline is evaluated at every _SPLINE_STEP_PX-th pixel and interpolated: 100 times less work.
    """
    xs = (np.arange(-1, WIDTH // _SPLINE_STEP_PX + 1) + 0.5) * _SPLINE_STEP_PX - 0.5
    ys = (np.arange(-1, HEIGHT // _SPLINE_STEP_PX + 1) + 0.5) * _SPLINE_STEP_PX - 0.5
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    coarse = _thin_plate(targets, sources, grid.reshape(-1, 2)).reshape(grid.shape)
    zoom = _SUPERSAMPLING * _SPLINE_STEP_PX
    fine = cv2.resize(coarse, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return fine[zoom:-zoom, zoom:-zoom]


def _thin_plate(targets: np.ndarray, sources: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Thin-plate spline that maps `targets` to `sources` (N, 2), evaluated at `at` (M, 2)."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return squared * np.log(squared + 1e-9)

    count = len(targets)
    affine = np.column_stack([np.ones(count), targets])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(targets, targets) + 2.0 * np.eye(count)  # slightly stiff
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    weights = np.linalg.solve(system, np.concatenate([sources, np.zeros((3, 2))]))
    smooth = np.column_stack([np.ones(len(at)), at]) @ weights[count:]
    return kernel(at, targets) @ weights[:count] + smooth


def _open_lips(photo: Photo, at: np.ndarray) -> np.ndarray:
    """Map points of the photograph with closed lips to the photograph itself, (M, 2) to (M, 2).

    Both lips of Collins's smile are moved to the closed seam; what is between them is not sampled.
    """
    if np.array_equal(photo.upper, photo.lower):
        return at
    seam = photo.points[photos.SEAM]
    xs = seam[:, 0]
    middle = np.interp(at[:, 0], xs, seam[:, 1])
    up = np.interp(at[:, 0], xs, photo.upper[:, 1]) - middle
    down = np.interp(at[:, 0], xs, photo.lower[:, 1]) - middle
    below = at[:, 1] - middle
    reach = np.where(below < 0, 9.0, 24.0)  # pixels until the shift is zero: nose base, chin
    fade = np.clip(1 - np.abs(below) / reach, 0, 1) ** 2
    shift = np.where(below < 0, up, down) * fade
    return np.column_stack([at[:, 0], at[:, 1] + shift])


def _blend_skin(
    image: np.ndarray, skin: np.ndarray, points: np.ndarray, portrait: Portrait
) -> np.ndarray:
    """Blend the other face's skin into the inner face, matched in color."""
    inner = np.zeros((HEIGHT, WIDTH), np.float32)
    hull = cv2.convexHull(points[list(photos.OUTLINE[:-1])].astype(np.float32))
    cv2.fillConvexPoly(inner, hull.astype(np.int32), 1.0)
    inner = cv2.GaussianBlur(cv2.erode(inner, np.ones((13, 13))), (0, 0), 6)
    ys = np.arange(HEIGHT, dtype=np.float32)[:, None]
    nose, lip = points[photos.NOSE_TIP, 1], points[photos.LIP_TOP, 1]
    lower = inner * np.clip((ys - nose) / max(lip - nose, 1.0), 0, 1)
    weight = np.maximum(portrait.face * inner, portrait.lower * lower)[..., None]
    mine = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    theirs = cv2.cvtColor(skin, cv2.COLOR_BGR2LAB).astype(np.float32)
    region = lower > 0.5
    ratio = mine[region].std(axis=0) / np.maximum(theirs[region].std(axis=0), 1)
    theirs = (theirs - theirs[region].mean(axis=0)) * np.minimum(ratio, 1.3)
    theirs += mine[region].mean(axis=0)
    mixed = np.clip(mine + weight * (theirs - mine), 0, 255)
    return cv2.cvtColor(mixed.astype(np.uint8), cv2.COLOR_LAB2BGR)


def _background(portrait: Portrait, image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The background: the photograph's own one, inpainted, or a studio wall."""
    if portrait.backdrop is None:
        known = (person < 0.02).astype(np.float32)
        known = cv2.erode(known, np.ones((3, 3)))
        weighted = image.astype(np.float32) * known[..., None]
        filled, sigma = weighted.copy(), 3.0
        share = known.copy()
        while sigma < 80:  # wider and wider blurs fill the hole of the person
            blurred = cv2.GaussianBlur(weighted, (0, 0), sigma)
            around = cv2.GaussianBlur(known, (0, 0), sigma)
            new = (share < 0.5) & (around > 0.05)
            filled[new] = blurred[new] / around[new][:, None]
            share[new] = 1
            sigma *= 1.6
        soft = cv2.GaussianBlur(filled, (0, 0), 2)
        return np.clip(np.where(known[..., None] > 0, filled, soft), 0, 255).astype(np.uint8)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    azimuth = np.deg2rad(portrait.light[0])
    slope = ((xs / WIDTH - 0.5) * np.cos(azimuth) - (ys / HEIGHT - 0.5) * 0.8) * 0.5
    vignette = -0.5 * ((xs / WIDTH - 0.5) ** 2 + (ys / HEIGHT - 0.45) ** 2)
    noise = np.random.default_rng(int(sum(portrait.backdrop))).normal(0, 1, (HEIGHT, WIDTH))
    cloud = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 30) * 2.5
    wall = np.array(portrait.backdrop, np.float32) * (1 + slope + vignette + cloud)[..., None]
    grain = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 1.0)[..., None] * 2
    return np.clip(wall + grain, 0, 255).astype(np.uint8)


def _clean_edge(image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Extend the person's colors over the edge, where the old background is visible."""
    core = (person > 0.97).astype(np.float32)
    core = cv2.erode(core, np.ones((3, 3)))
    around = cv2.GaussianBlur(core, (0, 0), 2.5)
    carried = cv2.GaussianBlur(image.astype(np.float32) * core[..., None], (0, 0), 2.5)
    carried /= np.maximum(around, 1e-3)[..., None]
    outside = cv2.GaussianBlur(1 - core, (0, 0), 0.7)[..., None] * (around > 1e-3)[..., None]
    return np.clip(image + outside * (carried - image), 0, 255).astype(np.uint8)


def _skin_color(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mean BGR of the skin beside and below the mouth, float64 (3,)."""
    left, right = points[photos.SEAM][0], points[photos.SEAM][-1]
    x0, x1 = int(left[0]), int(right[0])
    y0 = int(points[photos.LIP_BOTTOM, 1]) + 2
    y1 = max(int((points[photos.LIP_BOTTOM, 1] + points[photos.CHIN, 1]) / 2), y0 + 3)
    return image[y0:y1, x0:x1].reshape(-1, 3).astype(np.float64).mean(axis=0)


def _recolor(
    image: np.ndarray, person: np.ndarray, points: np.ndarray, portrait: Portrait
) -> np.ndarray:
    """Rotate the hue of the clothes and scale the brightness of the hair."""
    ys = np.arange(HEIGHT, dtype=np.float32)[:, None]
    chin, brow = points[photos.CHIN, 1], points[photos.HAIRLINE, 1]
    out = image.astype(np.float32)
    if portrait.cloth:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + round(portrait.cloth / 2)) % 180
        turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR).astype(np.float32)
        clothes = np.clip((ys - chin - 12) / 14, 0, 1) * (1 - _skin_like(image, points))
        out += clothes[..., None] * (turned - out)
    if portrait.hair != 1.0:
        face = np.zeros((HEIGHT, WIDTH), np.float32)
        hull = cv2.convexHull(points[list(photos.OUTLINE)].astype(np.float32))
        cv2.fillConvexPoly(face, hull.astype(np.int32), 1.0)
        lightness = image.astype(np.float32).mean(axis=2)
        # Hair: on the person, outside the face, above the chin; bright ears stay out.
        hair = (1 - face) * np.clip((chin - 30 - ys) / 12, 0, 1)
        hair *= np.clip((150 - lightness) / 40, 0, 1) + np.clip((brow + 6 - ys) / 8, 0, 1)
        hair = cv2.GaussianBlur(np.clip(hair, 0, 1), (0, 0), 2.0)[..., None]
        out *= 1 + hair * (portrait.hair - 1)
    return np.clip(out, 0, 255).astype(np.uint8)


def _skin_like(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mask of the neck: near the middle and of the face's chroma, float32 (H, W) in [0, 1]."""
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    face = cv2.cvtColor(_skin_color(image, points)[None, None].astype(np.uint8), cv2.COLOR_BGR2LAB)[
        0, 0
    ].astype(np.float32)
    distance = np.linalg.norm(lab[..., 1:] - face[1:], axis=-1)
    near = np.abs(np.arange(WIDTH, dtype=np.float32) - points[photos.CHIN, 0])[None] < 75
    return cv2.GaussianBlur((distance < 22) * near * np.float32(1), (0, 0), 2.0)


def _light(image: np.ndarray, points: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Directional light, as on an ellipsoid in place of the head."""
    azimuth, elevation, strength = portrait.light
    if not strength:
        return image
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    center = points[list(photos.OUTLINE)].mean(axis=0)
    wide = np.ptp(points[list(photos.OUTLINE), 0]) / 2
    nx, ny = (xs - center[0]) / (1.25 * wide), (ys - center[1]) / (1.8 * wide)
    direction = np.cos(np.deg2rad(azimuth)), -np.sin(np.deg2rad(elevation))
    across = np.tanh(nx) * direction[0] + 0.6 * np.tanh(ny) * direction[1]
    shade = np.clip(1 + 0.8 * strength * across, 0.35, 1.6)[..., None]
    return np.clip(image * shade, 0, 255).astype(np.uint8)


def _tone(image: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Gain, gamma, saturation and color temperature."""
    value = 255 * np.clip(image * (portrait.gain / 255.0), 0, 1) ** portrait.gamma
    gray = value.mean(axis=2, keepdims=True)
    value = gray + portrait.saturation * (value - gray)
    value *= np.array([1 - 0.18 * portrait.warmth, 1.0, 1 + 0.1 * portrait.warmth])
    return np.clip(value, 0, 255).astype(np.uint8)
