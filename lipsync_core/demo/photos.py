"""The two public-domain photographs of the demo and their landmarks.

collins.jpg: Eileen Collins (NASA, 1999). hopper.jpg: Grace Hopper (US Navy, 1984). `portraits`
renders the demo speakers from them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError

FOLDER = Path(__file__).parent
# Measured by hand on the photographs, pixels (x, y); "left" is left in the picture.
# Order: eyes (center, outer, inner) left then right, brows, bridge, tip, wings, nose base, lips
# (top, bottom), face outline from the left temple down over the chin to the right temple, hairline.
_COLLINS = (
    (203.5, 101.5), (192, 101.5), (213, 104), (247, 103), (258, 104), (237, 104.5),
    (190, 90), (199, 88.5), (213, 92.5), (238, 93), (250, 92), (261, 95),
    (225, 104), (226, 127), (212, 128), (240, 129), (226, 134),
    (224.2, 140.4), (224.5, 154),
    (181, 101), (182, 130), (184, 146), (190, 160), (205, 173), (225, 178.5),
    (245, 173), (257, 162), (265, 146), (268, 131), (271, 104), (225, 80),
)  # fmt: skip
_HOPPER = (
    (222, 190), (205, 193), (236, 194), (305, 186.5), (320, 189), (287, 191),
    (182, 178), (212, 175), (247, 182), (279, 181), (310, 170), (345, 177),
    (263, 190), (267, 236), (241, 243), (296, 240), (268, 252),
    (266, 272), (267, 293),
    (182, 192), (190, 250), (194, 280), (206, 305), (230, 326), (267, 333),
    (306, 325), (326, 305), (334, 280), (338, 250), (346, 188), (262, 132),
)  # fmt: skip
# Inner edges of the lips from corner to corner: no tooth above, between or below. Hopper's meet.
_COLLINS_UPPER = (
    (202.0, 139.2), (207, 140.5), (211, 141.3), (216, 142.2), (220, 142.9), (224, 143.2),
    (228, 143.0), (232, 142.4), (236, 141.2), (241, 140.4), (246.2, 140.2),
)  # fmt: skip
_COLLINS_LOWER = (
    (202.0, 139.2), (204, 142.0), (206, 144.2), (209, 147.2), (212, 148.9), (216, 150.0),
    (220, 150.5), (224, 150.9), (228, 150.7), (232, 149.9), (236, 148.0), (240, 145.4),
    (244, 142.2), (246.2, 140.2),
)  # fmt: skip
_HOPPER_SEAM = (
    (227, 281.5), (232, 280.4), (238, 279), (246, 278.3), (254, 278.2), (260, 279.3), (266, 279.6),
    (272, 279), (278, 277.6), (286, 277), (294, 276.4), (300, 276.5), (307, 279),
)  # fmt: skip
# Outlines of the whole person.
_COLLINS_OUTLINE = (
    (0, 512), (22, 420), (45, 300), (75, 250), (112, 215), (112, 195), (120, 172), (140, 155),
    (160, 149), (184, 149), (184, 146), (182, 132), (180, 131), (174, 127), (170, 119), (168, 116),
    (160, 106), (155, 95), (153.5, 80), (153, 65), (157, 55), (168, 45), (180, 37), (190, 30),
    (194, 22), (205, 17), (220, 15), (240, 15), (255, 18), (270, 25), (283, 35), (291, 48),
    (297, 62), (300, 78), (301.5, 88), (299, 100), (293, 112), (285, 121), (280, 127), (277, 131),
    (270, 136), (267, 137), (266, 142), (264, 152), (258, 162), (256, 170), (254.5, 176),
    (265, 184), (280, 196), (292, 208), (302, 225), (306, 240), (320, 240), (345, 262), (360, 300),
    (362, 345), (400, 345), (470, 370), (500, 420), (512, 512),
)  # fmt: skip
_HOPPER_OUTLINE = (
    (10, 600), (25, 500), (38, 420), (50, 395), (75, 375), (120, 358), (165, 345), (190, 325),
    (205, 318), (195, 298), (180, 290), (168, 275), (165, 262), (160, 240), (153, 210), (153, 190),
    (148, 185), (146, 110), (152, 100), (172, 92), (178, 66), (188, 55), (210, 42), (235, 30),
    (262, 24), (280, 27), (292, 36), (300, 42), (322, 50), (338, 62), (346, 75), (351, 88),
    (360, 86), (370, 88), (371, 95),
    (371, 120), (372, 140), (371, 165), (375, 185), (376, 200), (370, 235), (362, 262), (358, 285),
    (345, 303), (335, 308), (331, 312), (335, 318), (360, 335), (400, 355), (450, 372), (490, 385),
    (500, 410), (512, 450), (512, 600),
)  # fmt: skip
# Landmarks, inner edges of the upper and the lower lip, outline of the person.
_MEASURED = {
    "collins": (_COLLINS, _COLLINS_UPPER, _COLLINS_LOWER, _COLLINS_OUTLINE),
    "hopper": (_HOPPER, _HOPPER_SEAM, _HOPPER_SEAM, _HOPPER_OUTLINE),
}
_LIP_POINTS = 9  # points of the seam from corner to corner that join the landmarks
LEFT_EYE, RIGHT_EYE, NOSE_TIP, NOSE_BASE, LIP_TOP, LIP_BOTTOM = 0, 3, 13, 16, 17, 18
CHIN, HAIRLINE = 24, 30
LEFT_EYE_POINTS, RIGHT_EYE_POINTS = [0, 1, 2], [3, 4, 5]
EYES = ((0, 1, 2), (3, 4, 5))
NOSE = [13, 14, 15, 16]
OUTLINE = tuple(range(19, 30))
SEAM = slice(31, 31 + _LIP_POINTS)
MOUTH = [17, 18, *range(31, 31 + _LIP_POINTS)]
# Index of each landmark after mirroring.
_SWAPPED = [3, 4, 5, 0, 1, 2, 11, 10, 9, 8, 7, 6, 12, 13, 15, 14, 16, 17, 18]
_SWAPPED += [*range(29, 18, -1), 30, *range(30 + _LIP_POINTS, 30, -1)]


@dataclass(frozen=True)
class Photo:
    """A photograph, its landmarks and the inner edges of its lips (equal where they meet)."""

    image: np.ndarray  # uint8 (H, W, 3) BGR
    person: np.ndarray  # float32 (H, W), 1 on the person
    points: np.ndarray  # float64 (31 + _LIP_POINTS, 2), the last ones along the closed lips
    upper: np.ndarray  # float64 (_LIP_POINTS, 2)
    lower: np.ndarray


def photo_path(name: str) -> Path:
    """Path of the photograph "collins" (512 x 512 pixels) or "hopper" (512 x 600)."""
    return FOLDER / f"{name}.jpg"


@functools.lru_cache(maxsize=4)
def photo(name: str) -> Photo:
    """One of the two photographs, "collins" or "hopper". Raises LipsyncError if it is missing."""
    path = photo_path(name)
    image = cv2.imread(str(path)) if path.is_file() else None
    if image is None:
        raise LipsyncError(
            f"{path}: the demo portrait is missing or damaged; reinstall this package"
        )
    points, upper, lower, outline = _MEASURED[name]
    upper_edge, lower_edge = _even(upper), _even(lower)
    seam = upper_edge + 0.4 * (lower_edge - upper_edge)
    landmarks = np.concatenate([np.array(points, np.float64), seam])
    return Photo(image, person_mask(image.shape, outline), landmarks, upper_edge, lower_edge)


def mirrored(points: np.ndarray, width: int) -> np.ndarray:
    """Landmarks of a picture of `width` pixels after it was flipped left to right."""
    flipped = points[_SWAPPED].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


def _even(edge: tuple[tuple[float, float], ...]) -> np.ndarray:
    xs, ys = np.array(edge, np.float64).T
    at = np.linspace(xs[0], xs[-1], _LIP_POINTS)
    return np.stack([at, np.interp(at, xs, ys)], axis=1)


def person_mask(shape: tuple[int, ...], outline: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Mask of the person from an outline: float32 (H, W) in [0, 1] with a soft edge."""
    mask = np.zeros(shape[:2], np.uint8)
    corners = np.round(np.array(outline) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32) / 255
