"""Which face of a file is dubbed, and where it is at any time."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lipsync_core.audio import file_features
from lipsync_core.config import CropConfig, TrackConfig
from lipsync_core.dubbing import kept_people
from lipsync_core.dubbing.faces import FaceSettings, find_faces
from lipsync_core.errors import LipsyncError
from lipsync_core.faces.boxes import area
from lipsync_core.faces.crops import CropSpec, clip_box, cropped_boxes
from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking import association, reidentification, tracks
from lipsync_core.media.color import Box
from lipsync_core.media.timestamps import FPS
from lipsync_core.runtime.files import PathLike

NEAR = 1e-3  # frames; nearer than this is at a frame
CHOICE = re.compile(
    r"largest|everyone|speaking|index [1-9]\d*|nearest \d+(\.\d+)?, ?\d+(\.\d+)?|reference .+",
    re.DOTALL,
)
WANTED = "largest, everyone, speaking, index N, nearest X,Y or reference PICTURE"


class Face(NamedTuple):
    """The box of a face in whole pixels, within the frame, and its landmarks, float32 (10,)."""

    box: Box
    landmarks: np.ndarray | None


def people(
    path: PathLike, found: Detections, unchanged: bool = True, kept: Path | None = None
) -> list[Track]:
    """The tracks of the people in a file, those of one person in several shots merged.

    The largest first. unchanged: whether the boxes are in the pixels of the file's own frames,
    which are compared where a person may have come back. kept: where the result of it is kept, see
    `kept_people`.
    Raises LipsyncError when no frame has a face.
    """
    linked = association.link(found)
    if not linked:
        raise LipsyncError(
            f"{path}: no face in any of its {found.frames} frames; turn it with --rotate, search "
            "larger frames with --long_side, or give its place with --box TOP BOTTOM LEFT RIGHT"
        )
    if unchanged:
        linked = kept_people.merged_tracks(path, linked, found.cuts, kept)
    return sorted(linked, key=lambda track: -float(area(track.boxes).sum()))


def check(choice: str) -> None:
    """Raise LipsyncError unless `choice` can name a face."""
    if not CHOICE.fullmatch(choice):
        raise LipsyncError(f"face_select {choice!r}: wanted {WANTED}")
    kind, _, value = choice.partition(" ")
    if kind == "reference" and not Path(value).is_file():
        raise LipsyncError(f"face_select {choice!r}: no such picture; check the name")


@dataclass(frozen=True)
class FaceChooser:
    """Chooses among the faces found in a file.

    unchanged: whether `found` is in the pixels of the file's own frames. device, models: for the
    networks that some choices need. kept: as `people` takes it.
    """

    path: Path
    found: Detections
    settings: FaceSettings
    unchanged: bool = True
    device: str = "auto"
    models: PathLike = "models"
    kept: Path | None = None

    @functools.cached_property
    def people(self) -> list[Track]:
        """`people` of the file."""
        return people(self.path, self.found, self.unchanged, self.kept)

    def face_path(self, choice: str) -> FacePath:
        """The path of the face that `choice` names.

        Raises LipsyncError when it is not known, or there is no such face.
        """
        return face_path(self.tracks(choice), self.settings.track, self.settings.crop, self.found)

    def tracks(self, choice: str) -> list[Track]:
        """The tracks of that face; they share no frame."""
        check(choice)
        kind, _, value = choice.partition(" ")
        if kind == "everyone":
            return _not_together(self.people)
        if kind == "index":
            if int(value) > len(self.people):
                raise LipsyncError(f"face_select {choice!r}: {len(self.people)} faces were found")
            return [self.people[int(value) - 1]]
        if kind == "nearest":
            return [self._nearest(*map(float, value.split(",")))]
        if kind in ("reference", "speaking") and not self.unchanged:
            raise LipsyncError(
                f"face_select {choice!r}: not with resize_factor, rotate or crop; choose by index"
            )
        if kind == "reference":
            return [self._like(Path(value))]
        if kind == "speaking":
            return [self._speaking()]
        return self.people[:1]

    def _nearest(self, x: float, y: float) -> Track:
        width, height = self.found.width, self.found.height
        if max(x, y) > 1:
            x, y = x / width, y / height
        return tracks.nearest_track(self.people, f"{x},{y}", width, height)

    def _like(self, picture: Path) -> Track:
        """The person that looks most like the largest face in a picture."""
        shown = people(picture, find_faces(picture, self.settings, self.device, self.models))
        distances = reidentification.distances(picture, shown[0], self.path, self.people)
        return self.people[int(np.argmin(distances))]

    def _speaking(self) -> Track:
        """The person whose lips are in sync with the video's own audio."""
        from lipsync_core.evaluation import active_speaker
        from lipsync_core.pretrained import active_speaker_weights

        weights = active_speaker_weights(self.settings.sync_model, self.models)
        scorer = active_speaker.load_scorer(Path(weights), self.device)
        _, pcm = file_features(self.path)
        crop = self.settings.crop
        spec = CropSpec(crop.mode, crop.pads, crop.margin)
        scores = active_speaker.score_tracks(self.path, pcm, self.people, scorer, spec)
        best, _ = active_speaker.select_speaker(scores)
        return self.people[best]


def _not_together(tracks_of_people: Sequence[Track]) -> list[Track]:
    chosen: list[Track] = []
    taken: set[int] = set()
    for track in tracks_of_people:
        frames = set(track.frames.tolist())
        if not frames & taken:
            chosen.append(track)
            taken |= frames
    return chosen


@dataclass(frozen=True)
class FacePath:
    """Where one face is at any time.

    boxes: float32 (n, 4) as they are cropped, at 25 frames a second, NaN where there is no face;
    landmarks: float32 (n, 10), NaN without any; cuts: first frames of further shots; size: width
    and height of the frames in pixels. A single box that stays is `constant`.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    cuts: tuple[int, ...]
    size: tuple[int, int]
    constant: bool = False

    def shot(self, seconds: float) -> int:
        """Number of the shot at a time on the clock of the file."""
        return bisect.bisect_right(self.cuts, int(max(0.0, seconds * FPS) + 0.5))

    def at(self, seconds: float) -> Face | None:
        """The face at a time on the clock of the file, or None."""
        place = 0.0 if self.constant else max(0.0, seconds * FPS)
        if place > len(self.boxes):
            return None
        # The last of the 25 frames a second may end before the last of the source begins.
        nearest = min(int(place + 0.5), len(self.boxes) - 1)
        low = min(int(place + NEAR), nearest)
        high = min(low + 1, len(self.boxes) - 1)
        share = np.float32(min(max(0.0, place - low), high - low))
        if share < NEAR or any(low < cut <= high for cut in self.cuts):
            low = high = nearest
        box = (1 - share) * self.boxes[low] + share * self.boxes[high]
        points = (1 - share) * self.landmarks[low] + share * self.landmarks[high]
        if np.isnan(box).any():
            box, points = self.boxes[nearest], self.landmarks[nearest]
        if np.isnan(box).any():
            return None
        x1, y1, x2, y2 = clip_box(box, self.size[::-1])
        if min(x2 - x1, y2 - y1) < 2:
            return None
        return Face((x1, y1, x2, y2), None if np.isnan(points).any() else points)


def face_path(
    chosen: Sequence[Track], track: TrackConfig, crop: CropConfig, found: Detections
) -> FacePath:
    """The path of a face, by `chosen` tracks that share no frame.

    track, crop: as in preparation: gaps are filled, boxes smoothed, pads and margin added.
    """
    spec = CropSpec(crop.mode, crop.pads, crop.margin)
    boxes = np.full((found.frames, 4), np.nan, np.float32)
    landmarks = np.full((found.frames, 10), np.nan, np.float32)
    for each in reversed(chosen):
        each = tracks.fill_and_smooth(each, track.max_gap, track.smooth)
        boxes[each.frames] = cropped_boxes(each, spec)
        if each.landmarks is not None:
            landmarks[each.frames] = each.landmarks
    return FacePath(boxes, landmarks, found.cuts, (found.width, found.height))


def user_path(sides: Sequence[int], size: tuple[int, int], file: PathLike) -> FacePath:
    """A face that stays in the box (top, bottom, left, right) of the user.

    size: width and height of the frames. Raises LipsyncError when it lies outside of them.
    """
    top, bottom, left, right = sides
    if not (0 <= top < bottom - 1 and 0 <= left < right - 1):
        raise LipsyncError(
            f"box {list(sides)}: wanted top < bottom and left < right, in pixels (order: top "
            "bottom left right)"
        )
    box = left, top, right, bottom
    x1, y1, x2, y2 = clip_box(box, size[::-1])
    if min(x2 - x1, y2 - y1) < 2:
        place = f"the {size[0]}x{size[1]} frame of {file}"
        raise LipsyncError(f"box {list(sides)}: outside of {place}")
    landmarks = np.full((1, 10), np.nan, np.float32)
    return FacePath(np.array([box], np.float32), landmarks, (), size, constant=True)
