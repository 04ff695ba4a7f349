"""The first frame of a face file, with the faces on it, among which a visitor chooses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_core.errors import ClipError, Reason
from lipsync_core.runtime.files import PathLike, atomic_path

LONG_SIDE = 1280  # pixels of the picture that is shown
LARGEST = "largest"  # as `face_select` of a dubbing
# BGR. The chosen face is thick and yellow, the others thin and white; both have a black rim, so
# that they are seen on any picture and without colors.
CHOSEN, OTHER, RIM = (0, 220, 255), (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Preview:
    """picture: uint8 (H, W, 3) BGR. boxes: float32 (n, 4), the faces on it: x1, y1, x2, y2 as
    shares of width and height, within 0 and 1, the largest first."""

    picture: np.ndarray
    boxes: np.ndarray

    def nearest(self, x: float, y: float) -> int | None:
        """Number of the face whose box is nearest to a place (shares); None without faces."""
        if not len(self.boxes):
            return None
        outside = np.maximum(self.boxes[:, :2] - (x, y), (x, y) - self.boxes[:, 2:]).clip(0)
        height, width = self.picture.shape[:2]
        return int(np.argmin(np.hypot(outside[:, 0] * width, outside[:, 1] * height)))

    def face_select(self, face: int) -> str:
        """The option of a dubbing that chooses the face of this number."""
        x1, y1, x2, y2 = self.boxes[face]
        return f"nearest {(x1 + x2) / 2:.4f},{(y1 + y2) / 2:.4f}"

    def drawn(self, chosen: int | None) -> np.ndarray:
        """The picture with numbered boxes, uint8 (H, W, 3) BGR."""
        import cv2

        canvas = self.picture.copy()
        height, width = canvas.shape[:2]
        line = max(2, round(max(height, width) / 400))
        order = sorted(range(len(self.boxes)), key=lambda face: face == chosen)
        for face in order:
            x1, y1, x2, y2 = np.rint(self.boxes[face] * (width, height, width, height)).astype(int)
            color, thick = (CHOSEN, 2 * line) if face == chosen else (OTHER, line)
            for shade, extra in ((RIM, line), (color, 0)):
                cv2.rectangle(canvas, (x1, y1), (x2, y2), shade, thick + extra, cv2.LINE_AA)
                place = (x1 + 3 * line, y1 + 15 * line)
                text = str(face + 1), place, cv2.FONT_HERSHEY_SIMPLEX, line / 2
                cv2.putText(canvas, *text, shade, thick + 2 * extra, cv2.LINE_AA)
        return canvas


def make_preview(
    path: PathLike,
    checkpoint: PathLike,
    device: str,
    models: PathLike,
    detector: str | None = None,
) -> Preview:
    """The first frame of a video or picture, with its faces found as a dubbing finds them.

    The arguments are those of `dubbing.dub.dub`.

    Raises ClipError when the file cannot be read.
    """
    from lipsync_core.config import DubOptions
    from lipsync_core.dubbing.faces import FaceSettings, find_faces

    settings = FaceSettings.of_checkpoint(checkpoint).changed(DubOptions(), detector)
    found = find_faces(path, settings, device, models, static=True)
    first = found.faces[found.faces["frame"] == 0]
    size = (found.width, found.height, found.width, found.height)
    boxes = first[["x1", "y1", "x2", "y2"]].to_numpy(np.float32) / np.float32(size)
    boxes = boxes.clip(0, 1)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Preview(_first_frame(path), boxes[np.argsort(-area, kind="stable")])


def _first_frame(path: PathLike) -> np.ndarray:
    import cv2

    from lipsync_core.media.video import is_image, read_frames, read_image

    if not is_image(path):
        with contextlib.closing(read_frames(path, long_side=LONG_SIDE)) as frames:
            return next(frames)
    picture = read_image(path)
    if picture is None:
        raise ClipError(Reason.UNREADABLE, f"{path}: this picture cannot be decoded")
    scale = min(1.0, LONG_SIDE / max(picture.shape[:2]))
    size = [max(2, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W, 3) BGR as a JPEG, atomically."""
    import cv2

    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
