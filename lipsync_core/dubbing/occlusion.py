"""Find objects in front of a face (a hand, a microphone), whose pixels a dubbing must keep.

A memory of the looks of this face, on a grid that is aligned to it, says what to expect: a pixel is
novel when its neighborhood resembles that of no remembered frame. An opening mouth is novel between
the lips only; an object is novel on cheeks or chin too. A turning head or new light is novel on the
upper face as well, which the generator is given and does not change; and it leaves a mouth to see,
which resembles those of the memory, or is redder than the skin around it. Lips that vanish are
covered, whatever is novel.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from lipsync_core.dubbing.face_memory import SIDE, FaceMemory, aligned, ellipse
from lipsync_core.dubbing.mouth import MouthWatch
from lipsync_core.faces.head_pose import head_pose
from lipsync_core.media.color import Box

# Thresholds are from 28 real clips without objects, and from hands, microphones and pieces of other
# pictures composited over the mouths in ten of them; docs/log.md has the figures on other clips.
# Novelty of an object's pixels, of those that it grows by, and of its surest ones, in levels.
LOW, EXTEND, HIGH = 2.0, 1.0, 7.0
UPPER_ROWS, UPPER_MARGIN = 17, 6  # of the grid: eyes and bridge of the nose
# Shares of the upper face's novelty (a percentile of its pixels) that raise LOW and HIGH.
UPPER_PERCENTILE, LOW_BIAS, HIGH_BIAS = 70, 0.5, 2.0
STRONG_BIAS = 6.0  # of HIGH, where a mouth may be seen
# A mouth may be seen above the first resemblance to the memory or contrast of the lips, and is
# seen above the next ones; the contrast counts with a resemblance of at least FAINT.
MAYBE_ALIKE, MAYBE_RED, ALIKE, RED, FAINT = 0.65, 0.4, 0.9, 0.5, 0.5
# Lips that vanish are covered when the mean novelty is above the first; where they were never above
# the second contrast, the head must not turn and the mouth resemble none of the memory's.
MIN_CHANGE, CLEARLY_RED, DIFFERENT = 1.0, 0.5, 0.6
# On profiles an object must leave less of a mouth: there the background is novel, too.
MAX_YAW = 35.0  # degrees
PROFILE_ALIKE, PROFILE_RED = 0.5, 0.3
MIN_SURE_PIXELS, MIN_PIXELS = 12, 60
# An object is found when it covers the first share of the lips, and followed down to the second.
# Beside the mouth it does little harm: the generator draws what it is given.
MIN_LIPS, MIN_LIPS_FOLLOWED = 0.35, 0.1
GROW, CLOSE, MARGIN = 9, 7, 5  # pixels, sides of squares
START_SECONDS = 0.6  # before that the memory is too short
# Ellipses around the middle line in aligned coordinates: v of the center, radii in u and v.
LIPS, OPEN_MOUTH = (0.745, 0.19, 0.08), (0.78, 0.24, 0.18)
ZONE, LOWER_FACE, SURE_ZONE = (0.56, 0.38, 0.54), (0.56, 0.36, 0.46), (0.56, 0.32, 0.46)
DELAY_SECONDS = 0.3  # from seeing a frame to remembering it: an object may be entering
MIN_NOVELTY = 0.25  # mean of a frame that is worth remembering, in levels
LIT_LUMA, MIN_CONTRAST = 110.0, 0.7  # in the dark, objects differ by less
RELEASE_SECONDS = 0.12
ENTRY_SECONDS = 0.08  # an object is novel beside the mouth before it is there
BRIEF_SECONDS = 0.4  # an object stays longer
# When an object covers the first share of the lips, nothing is drawn, until it covers the second.
HIDDEN, SHOWN = 0.6, 0.4
# What is redder by this contrast than the memory's mouths for so long is the face: the memory is of
# an object that was there from the beginning.
REDDER, REVEALED_SECONDS = 0.15, 0.2


class OcclusionModel:
    """What covers the face of one person in consecutive frames of one shot.

    fps: frames a second. It finds nothing without landmarks. In the first START_SECONDS it finds
    what leaves no lips to see, as hands do; anything else is part of the face until it leaves.
    """

    def __init__(self, fps: float = 25.0) -> None:
        self._memory = FaceMemory()
        self._start, self._delay = START_SECONDS * fps, DELAY_SECONDS * fps
        self._release = np.float32(1 / max(RELEASE_SECONDS * fps, 1))
        self._seen = 0
        self._waiting: deque[tuple[int, np.ndarray]] = deque()
        self._brief = BRIEF_SECONDS * fps
        self._entry = ENTRY_SECONDS * fps
        self._novel_frames = 0
        self._covered: list[np.ndarray] = []  # the first frames of an object
        self._mouth = MouthWatch(fps)
        self._revealed, self._revealed_frames = REVEALED_SECONDS * fps, 0
        self._hidden = False
        self._objects = np.zeros((SIDE, SIDE), np.uint8)
        self._kept = np.zeros((SIDE, SIDE), np.float32)
        lower = np.arange(SIDE)[:, None] > UPPER_ROWS
        self._lips, self._zone = ellipse(*LIPS), ellipse(*ZONE) & lower
        self._face = ellipse(*LOWER_FACE) & lower
        self._around = ellipse(*SURE_ZONE) & lower & ~ellipse(*OPEN_MOUTH)

    def update(
        self, image: np.ndarray, box: Box, landmarks: np.ndarray | None
    ) -> np.ndarray | None:
        """How visible the face is: float32 (SIDE, SIDE) of the grid, 0 on objects; None for all 1.

        image: uint8 (n, n, 3) YUV, the region `box` of the next frame, scaled to a square.
        landmarks: float (10,) or (5, 2), in pixels of the frame.
        """
        if landmarks is None or not np.isfinite(landmarks).all():
            return None  # boxes alone place a face too roughly: 7 % false alarms
        face = aligned(image, box, landmarks)
        self._seen += 1
        if self._memory.empty:
            self._memory.add(face)
        novelty = self._memory.novelty(face)
        relative = novelty / self._light(face)
        self._mouth.see(face, lambda: self._changed(relative, face, landmarks))
        if self._mouth.covered:
            self._objects = np.ones((SIDE, SIDE), np.uint8)
        elif self._seen < self._start:
            self._objects = np.zeros((SIDE, SIDE), np.uint8)
        else:
            self._objects = self._find(relative, face, landmarks)
        if not self._mouth.vanished:
            self._learn(face, novelty)
        self._reveal(face)
        covered = self._objects[self._lips].mean()
        self._hidden = covered >= (SHOWN if self._hidden else HIDDEN)
        self._hidden &= self._mouth.contrast < MAYBE_RED
        if self._hidden:  # the mouth: there is nothing to dub
            self._kept = np.ones((SIDE, SIDE), np.float32)
        else:
            found = cv2.dilate(self._objects, np.ones((MARGIN, MARGIN), np.uint8))
            self._kept = np.maximum(found.astype(np.float32), self._kept - self._release)
        return 1 - self._kept if self._kept.any() else None

    def _reveal(self, face: np.ndarray) -> None:
        """Learn a face that an object left which had been there from the beginning."""
        if not self._objects.any():
            self._mouth.remember()
            self._revealed_frames = 0
            return
        seen = self._mouth.contrast > max(MAYBE_RED, self._mouth.usual + REDDER)
        self._revealed_frames = self._revealed_frames + 1 if seen else 0
        if self._revealed_frames > self._revealed:
            self._memory.add(face)
            self._objects = np.zeros((SIDE, SIDE), np.uint8)

    def _changed(self, novelty: np.ndarray, face: np.ndarray, landmarks: np.ndarray) -> bool:
        """Whether the lower face looks as if lips that cannot be seen are covered."""
        if self._mouth.usual == 0:  # in the first frames, with nothing to compare with
            return _yaw(landmarks) <= MAX_YAW
        level = float(novelty[self._zone].mean())
        if level < MIN_CHANGE:
            return False
        if self._mouth.usual >= CLEARLY_RED and _yaw(landmarks) <= MAX_YAW:
            return True
        upper = float(novelty[:UPPER_ROWS, UPPER_MARGIN:-UPPER_MARGIN].mean())
        return level > upper and self._memory.resemblance(face) < DIFFERENT

    def _light(self, face: np.ndarray) -> float:
        """Contrast of a face in the light it is in, relative to a well lit one: 0.7 to 1."""
        luma = float(np.median(face[:, :, 0][self._face]))
        return float(np.clip(luma / LIT_LUMA, MIN_CONTRAST, 1.0))

    def _find(self, novelty: np.ndarray, face: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Objects of the frame: uint8 (SIDE, SIDE), 0 or 1."""
        upper = novelty[:UPPER_ROWS, UPPER_MARGIN:-UPPER_MARGIN]
        change = float(np.percentile(upper, UPPER_PERCENTILE))
        bias = LOW_BIAS * change
        novel = ((novelty > LOW + bias) & self._zone).astype(np.uint8)
        novel = cv2.morphologyEx(novel, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        count, labels = cv2.connectedComponents(novel, connectivity=4)

        def pixels(where: np.ndarray) -> np.ndarray:
            """Pixels of each component in `where`."""
            return np.bincount(labels[where], minlength=count)

        lips = pixels(self._lips) / self._lips.sum()
        surest = (novelty > HIGH + HIGH_BIAS * change) & self._around
        self._novel_frames = self._novel_frames + 1 if surest.sum() >= MIN_SURE_PIXELS else 0
        chosen = (pixels(self._face) >= MIN_PIXELS) & (lips >= MIN_LIPS)
        chosen &= (pixels(surest) >= MIN_SURE_PIXELS) & (self._novel_frames > self._entry)
        if chosen[1:].any():
            strong = pixels((novelty > HIGH + STRONG_BIAS * change) & self._around)
            chosen &= self._covers(strong >= MIN_SURE_PIXELS, face, landmarks)
        followed = pixels(self._objects > 0) >= MIN_SURE_PIXELS
        chosen |= followed & (lips >= MIN_LIPS_FOLLOWED)
        chosen[0] = False
        found = chosen[labels].astype(np.uint8)
        if not found.any():
            return found
        near = cv2.dilate(found, np.ones((GROW, GROW), np.uint8)) > 0
        found |= (near & (novelty > EXTEND + bias)).astype(np.uint8)
        found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        # Parts of a hand look like the cheek behind them: fill its hull.
        outlines, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            cv2.fillConvexPoly(found, cv2.convexHull(outline), 1)
        return found

    def _covers(self, strong: np.ndarray, face: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Which components may cover the mouth, by what can be seen of it: bool, like `strong`."""
        contrast = self._mouth.contrast
        alike = self._memory.resemblance(face)
        seen = alike >= ALIKE or (contrast > RED and alike >= FAINT)
        if not seen and (alike >= PROFILE_ALIKE or contrast > PROFILE_RED):
            seen = _yaw(landmarks) > MAX_YAW
        if seen:
            return np.zeros_like(strong)
        maybe_seen = alike >= MAYBE_ALIKE or contrast > MAYBE_RED
        return strong if maybe_seen else np.ones_like(strong)

    def _learn(self, face: np.ndarray, novelty: np.ndarray) -> None:
        """Remember the frame, later, unless there are objects in it or in the next frames."""
        if self._objects.any():
            self._waiting.clear()
            if len(self._covered) <= self._brief:
                self._covered.append(face)
            return
        if 0 < len(self._covered) <= self._brief:  # it was an open mouth, which will come again
            for covered in self._covered[:: max(1, len(self._covered) // 3)]:
                self._memory.add(covered)
        self._covered = []
        if novelty.mean() > MIN_NOVELTY:
            self._waiting.append((self._seen, face))
        # At the beginning there is nothing else to compare with.
        delay = min(self._delay, self._seen / 2)
        while self._waiting and self._seen - self._waiting[0][0] >= delay:
            self._memory.add(self._waiting.popleft()[1])


def _yaw(landmarks: np.ndarray) -> float:
    """Absolute yaw in degrees."""
    return float(abs(head_pose(np.reshape(landmarks, (1, 10)))[0, 0]))
