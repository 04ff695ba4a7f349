"""Composite generated faces into frames: mask, color match, objects in front of the mouth.

Frames stay in the color space and subsampling of the source: the generated face is converted, not
the frame, and pixels outside of the mask keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from lipsync_core.dubbing.color_match import GRID, OUTLINE, ColorMatch
from lipsync_core.dubbing.face_memory import on_region
from lipsync_core.dubbing.mask import REGION_FADE_IN, lower_face_mask
from lipsync_core.dubbing.occlusion import OcclusionModel
from lipsync_core.dubbing.planes import Region
from lipsync_core.media.color import Box, ColorTags, yuv_matrix

BLENDS = ("soft", "hard", "poisson")
# The membrane leaves no step at the outline: the mask of "poisson" ends there, with a short fade.
POISSON_FADE = 0.4  # of the soft mask's opacity
LOOK_SIDE = 64  # pixels of the region that occluders are looked for in
Enhancer = Callable[[np.ndarray], np.ndarray]


def seen_from(blend: str, enhanced: bool) -> float:
    """Fraction of a generated face's height above which nothing of it is seen in the frame.

    blend: as for `Compositor`. enhanced: whether an enhancer runs. The generator need not compute
    the rows above.
    """
    # An enhancer wants a whole face.
    return 0.0 if blend == "hard" or enhanced else REGION_FADE_IN[0]


class Compositor:
    """Pastes the generated faces of one person into consecutive frames of one shot.

    It remembers colors and the look of the face: call `reset` (or make a new object) at a cut and
    for another face. Equal calls give equal pixels; memory does not grow.
    """

    def __init__(
        self,
        color: ColorTags | None = None,
        blend: str = "soft",
        enhancer: Enhancer | None = None,
        occlusion: bool = True,
        fps: float = 25.0,
    ) -> None:
        """
        Parameters
        ----------
        color: matrix and range of the frames; None: those of untagged ones.
        blend: "soft" (mask and color match), "hard" (the whole region as the generator drew it, as
            in the public script) or "poisson" (mask, and colors that meet the frame's along its
            outline).
        enhancer: a function of the generated face, float32 (S, S, 3) BGR in [0, 1], that returns
            a better one of any size; see `enhancer.Enhancer`.
        occlusion: keep objects in front of the mouth, see `occlusion`; not with "hard".
        fps: frames a second, for smoothing over time.
        """
        if blend not in BLENDS:
            raise ValueError(f"blend {blend!r}: wanted one of {', '.join(BLENDS)}")
        self.matrix = yuv_matrix(color or ColorTags())
        self.matrix = self.matrix * np.array([255, 255, 255, 1], np.float32)  # from [0, 1]
        self.blend, self.enhancer, self.occlusion, self.fps = blend, enhancer, occlusion, fps
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far."""
        self._colors = ColorMatch(self.fps, harmonic=self.blend == "poisson")
        self._occlusion = OcclusionModel(self.fps) if self.occlusion else None

    def paste(
        self,
        frame: np.ndarray,
        box: Box,
        landmarks: np.ndarray | None,
        face: np.ndarray,
        strength: float = 1.0,
    ) -> None:
        """Blend `face` into `frame` at `box`, in place.

        Parameters
        ----------
        frame: uint8 (H * 3 / 2, W), I420 as OpenCV lays it out, contiguous; H and W even.
        box: the region the generator was given, in whole pixels; may reach beyond the frame.
        landmarks: float (10,) or (5, 2) in pixels of the frame, see `mask.lower_face_mask`.
        face: float32 (S, S, 3) BGR in [0, 1], as generated for the box.
        strength: opacity of the mask, from 0 (the frame stays as it is) to 1.
        """
        region = Region.of(frame, box)
        if region is None:
            return
        if self.blend == "hard":
            mask = np.full((box[3] - box[1], box[2] - box[0]), strength, np.float32)
            # The public script cuts off fractions of levels before it scales the face.
            levels = np.floor(self._enhanced(face) * 255) / 255
            region.blend(cv2.transform(levels, self.matrix), mask, cv2.INTER_LINEAR)
            return
        seen = region.reduced(LOOK_SIDE)
        visible = None
        if self._occlusion is not None:
            visible = self._occlusion.update(seen, box, landmarks)
        mask = lower_face_mask(box, landmarks)
        generated = cv2.transform(self._enhanced(face), self.matrix)
        self._match_colors(generated, seen, mask, visible, box, landmarks)
        if self.blend == "poisson":
            mask = np.clip((mask - np.float32(OUTLINE)) / np.float32(POISSON_FADE), 0, 1)
        if visible is not None:
            mask *= on_region(visible, box, landmarks, mask.shape)
        if strength != 1:
            mask *= np.float32(strength)
        region.blend(generated, mask, cv2.INTER_CUBIC)

    def _match_colors(
        self,
        generated: np.ndarray,
        seen: np.ndarray,
        mask: np.ndarray,
        visible: np.ndarray | None,
        box: Box,
        landmarks: np.ndarray | None,
    ) -> None:
        """Correct the colors of `generated`, float32 (S, S, 3) YUV, in place."""
        grid = (GRID, GRID)
        shrunk = [
            cv2.resize(image, grid, interpolation=cv2.INTER_AREA)
            for image in (seen, generated, mask)
        ]
        shown = None if visible is None else on_region(visible, box, landmarks, grid)
        correction = self._colors.correction(*shrunk, shown)
        height, width = generated.shape[:2]
        generated += cv2.resize(correction, (width, height), interpolation=cv2.INTER_LINEAR)

    def _enhanced(self, face: np.ndarray) -> np.ndarray:
        return face if self.enhancer is None else self.enhancer(face)
