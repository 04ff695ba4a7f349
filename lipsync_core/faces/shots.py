"""Where a video cuts from one shot to the next, found while its frames pass by.

The frames are the small ones that the face detector gets, so that nothing is decoded for this
alone. The rule is PySceneDetect's adaptive content detector: a frame begins a shot when it differs
from the one before, and more so than its neighbours do; motion and shaking cameras do not.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from lipsync_core.video import FPS

LONG_SIDE = 128  # pixels; enough to tell shots apart, at 0.1 ms a frame
RATIO = 3.0  # difference to the frame before, relative to that of the four frames around
# Least mean difference (of 255) in hue, saturation and brightness. PySceneDetect's own 15 misses
# cuts between people in front of one background; refreshed pictures of real clips reach 5.
DIFFERENCE = 9.0


class ShotFinder:
    """Takes the frames of one video in order and knows where its shots begin.

    Needs a few hundred kilobytes whatever the length. A cut within two frames of either end of the
    video is not seen.
    """

    def __init__(self) -> None:
        # Each cut counts, however short the shot: a face must never be followed across one.
        self._detector = AdaptiveDetector(
            adaptive_threshold=RATIO, min_content_val=DIFFERENCE, min_scene_len=1
        )
        self._cuts: list[int] = []
        self.frames = 0

    @property
    def cuts(self) -> tuple[int, ...]:
        """First frames of all shots but the first, rising."""
        return tuple(self._cuts)

    def add(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3) BGR, of any size that stays the same."""
        scale = min(1.0, LONG_SIDE / max(frame.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        found = self._detector.process_frame(FrameTimecode(self.frames, float(FPS)), small)
        self._cuts += [cut.frame_num for cut in found]
        self.frames += 1


def shots(cuts: tuple[int, ...], frames: int) -> list[range]:
    """The frames of each shot of a video that has `frames` frames and these cuts."""
    edges = [0, *(cut for cut in cuts if 0 < cut < frames), frames]
    return [range(first, last) for first, last in itertools.pairwise(edges)]
